# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`scripts/benchmark.py variants`: every run has its own seed and changes, finished runs are read, tables add up."""

import json

import pytest

from benchmarks import main
from benchmarks.variants import parse_variants, summary

SMALL = [
    "run.max_steps=2",
    "data.train={split: train, num_scenes: 16, image_size: [64, 64]}",
    "data.validation={split: validation, num_scenes: 2, image_size: [64, 64]}",
    "data.batch_size=2",
    "data.num_workers=0",
    "schedule.warmup_steps=1",
]


def test_variants_are_names_and_changes():
    assert parse_variants(["progressive", "full: a.b=c d.e=[1,2]"]) == {
        "progressive": [],
        "full": ["a.b=c", "d.e=[1,2]"],
    }


@pytest.mark.parametrize(("text", "said"), [([": a.b=c"], "name of its own"), (["x", "x: a.b=c"], "name of its own"),
                                            (["x: full"], "'full' is not section.key=value")])  # fmt: skip
def test_what_is_no_variant_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_variants(text)


def test_means_deviations_and_differences_are_seed_by_seed():
    runs = [
        {"variant": name, "seed": seed, "pq": pq, "CPU minutes": minutes}
        for name, seed, pq, minutes in (("a", 0, 10.0, 1.0), ("a", 1, 14.0, 3.0), ("b", 1, 15.0, 5.0))
    ]
    first, second = summary(runs)
    assert (first["pq"], first["seeds"], first["CPU minutes"]) == (12.0, 2, 2.0)
    assert first["pq deviation"] == pytest.approx(8**0.5)
    assert "pq difference" not in first
    assert (second["pq"], second["pq deviation"], second["pq difference"]) == (15.0, None, 1.0)


def test_runs_stay_and_are_read(tmp_path, capsys):
    command = ["variants", "--recipe", "proscale-tiny-shapes", "--seeds", "0", "1", "--metrics", "pq", "mean_iou",
               "--variants", "progressive", "all scales: model.config.encoder=full model.config.encoder_layers=1",
               "--keep", str(tmp_path / "runs"), "--overrides", *SMALL]  # fmt: skip
    table = tmp_path / "table.json"
    assert main([*command, "--image_size", "64", "64", "--output", str(table)]) == 0
    names = {"progressive-0", "progressive-1", "all-scales-0", "all-scales-1"}
    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == names
    configs = {name: json.loads((tmp_path / "runs" / name / "config.json").read_text()) for name in names}
    assert {name for name in names if configs[name]["encoder"] == "full"} == {"all-scales-0", "all-scales-1"}
    seeds = {name: json.loads((tmp_path / "runs" / name / "training_args.json").read_text()) for name in names}
    assert {name: seeds[name]["run"]["seed"] for name in names} == {name: int(name[-1]) for name in names}
    rows = json.loads(table.read_text())["tables"]["proscale-tiny-shapes: variants"]
    assert [row["variant"] for row in rows] == ["progressive", "all scales"]
    assert all(row["seeds"] == 2 and row["CPU milliseconds"] > 0 for row in rows)
    assert rows[1]["GFLOPs"] > rows[0]["GFLOPs"] > 0

    record = tmp_path / "runs" / "progressive-0" / "variant.json"
    record.write_text(json.dumps({"pq": 77.0, "mean_iou": 1.0, "CPU minutes": 9.0}))
    more = "{split: validation, num_scenes: 9, image_size: [64, 64]}"  # other scenes: other numbers
    again = ["--again", f"data.validation={more}"]
    assert main([*command, *again, "--output", str(table)]) == 0
    runs = json.loads(table.read_text())["tables"]["Runs"]
    assert [run["pq"] for run in runs if (run["variant"], run["seed"]) == ("progressive", 0)] == [77.0]
    assert all(0 < run["mean_iou again"] != run["mean_iou"] > 0 for run in runs)
    row = json.loads(table.read_text())["tables"]["proscale-tiny-shapes: variants"][1]
    assert row["mean_iou again"] == pytest.approx(sum(run["mean_iou again"] for run in runs[1::2]) / 2)
    capsys.readouterr()


def test_an_unknown_metric_is_named_with_those_there_are(tmp_path, capsys):
    record = tmp_path / "a-0" / "variant.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"pq": 1.0, "CPU minutes": 1.0}))
    command = ["variants", "--recipe", "proscale-tiny-shapes", "--variants", "a", "--seeds", "0"]
    assert main([*command, "--keep", str(tmp_path), "--metrics", "box_ap"]) == 1
    assert "--metrics box_ap: the evaluation measures CPU minutes, pq." in capsys.readouterr().err
