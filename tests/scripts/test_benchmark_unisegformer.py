# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg benchmark` on UniSegFormer: counts that follow from the layers' sizes alone, and what a table of runs says."""

import json

import pytest
import torch

from benchmarks import unisegformer_cost
from benchmarks.universal_learning import summary, universal_learning_table
from hfseg import UniSegFormerForUniversalSegmentation


def test_parts_add_up_to_the_specified_counts():
    rows = {row["size"]: row for row in unisegformer_cost.parameter_table()}
    assert list(rows) == ["tiny", "base", "large", "xlarge"]
    for row in rows.values():
        parts = [row[part] for part in ("Swin (M)", "CLX (M)", "decoder (M)", "mask head (M)")]
        assert sum(parts) == pytest.approx(row["total (M)"])
        assert abs(row["total (M)"] - row["specified (M)"]) <= 0.051
        assert row["equal, rounded"] is (f"{row['total (M)']:.1f}" == str(row["specified (M)"]))
    assert rows["tiny"]["equal, rounded"]


def test_a_wrong_specification_is_seen(monkeypatch):
    monkeypatch.setitem(unisegformer_cost.SPECIFIED, "tiny", (48.2, 82, 188))
    assert unisegformer_cost.parameter_table()[0]["equal, rounded"] is False


def test_multiply_adds_of_layers_known_in_closed_form():
    # 5 x 5 pixels of 4 channels from 3 by 3 x 3 convolution; then 25 tokens of 4 channels to 6.
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Flatten(2), torch.nn.Unflatten(1, (1, 4)), torch.nn.Linear(25, 6)
    )
    assert unisegformer_cost.multiply_adds(net, torch.zeros(1, 3, 5, 5)) == pytest.approx(
        (25 * 4 * 3 * 9 + 4 * 25 * 6) / 1e9
    )


def test_cost_of_the_exchange_is_what_its_switch_removes(monkeypatch):
    monkeypatch.setattr(unisegformer_cost, "SIZES", {"tiny": unisegformer_cost.SIZES["tiny"]})
    small, large = unisegformer_cost.cost_table()
    assert [row["input"] for row in (small, large)] == ["640x640", "1024x1024"]
    for row, side in ((small, 640), (large, 1024)):
        # Up: N C (3C + 2 m^2), down: N C (3C + 2 (m + 4)^2) for N fine tokens of C channels, m = 8.
        fine = [((side // 4 // 2**level) ** 2, 96 * 2**level) for level in range(3)]
        expected = sum(n * c * (6 * c + 2 * 64 + 2 * 144) for n, c in fine) / 1e9
        assert row["of these exchange"] == pytest.approx(expected, rel=0.2)
        assert abs(row["GMAC"] / row["specified"] - 1) < 0.1
    # The smaller image's last level, 20 x 20, is filled up to windows of 24 x 24.
    assert 0.85 * (1024 / 640) ** 2 < large["GMAC"] / small["GMAC"] < (1024 / 640) ** 2


def test_summary_of_runs_compares_seed_by_seed():
    runs = [
        {"mode": mode, "seed": seed, "pq": pq, "CPU minutes": 1.0}
        for mode, seed, pq in (("exchange", 0, 10.0), ("exchange", 1, 14.0), ("no-exchange", 1, 13.0))
    ]
    ours, without = summary(runs, ("exchange", "no-exchange"))
    assert (ours["pq"], ours["seeds"], ours["pq vs exchange"]) == (12.0, 2, None)
    assert ours["pq deviation"] == pytest.approx(8**0.5)
    assert (without["pq vs exchange"], without["pq deviation"]) == (-1.0, None)


def test_learning_keeps_its_models(tmp_path):
    short = ["run.max_steps=1", "schedule.warmup_steps=0", "data.batch_size=1", "data.validation.num_scenes=1"]
    seen = []
    tables, _ = universal_learning_table(
        None, short, seeds=[3], keep=str(tmp_path), done=lambda so_far, notes: seen.append(len(so_far["Runs"]))
    )
    assert seen == [1, 2]
    for run, enabled in zip(tables["Runs"], (True, False)):
        folder = tmp_path / f"{run['mode']}-3"
        model = UniSegFormerForUniversalSegmentation.from_pretrained(folder)
        assert model.config.clx_enabled is enabled and (folder / "overlay.png").is_file()
        assert run["parameters (M)"] == pytest.approx(sum(p.numel() for p in model.parameters()) / 1e6)
        saved = json.loads((folder / "metrics.json").read_text())
        assert run["pq"] == pytest.approx(saved["metrics"]["pq"], abs=0.01)
    assert [run["mean gain"] is None for run in tables["Runs"]] == [False, True]
