# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train --data FOLDER` without a recipe: choices follow from the data, and the user's word comes last."""

import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from toy import ToyDataset, ToyModel, collate, toy_arguments

import hfseg
from data.layout_folders import CLASS_MAPS, VOLUMES, coco, squares
from hfseg.commands.train import main
from hfseg.data.facts import Facts, facts_of
from hfseg.training import choices
from hfseg.training import train as run_loop
from hfseg.training.arguments import load_recipe
from hfseg.training.choices import Cost, choose, length_changes, object_changes, object_scale, short_side
from hfseg.training.evaluation import learns_nothing

CELLS = Facts("objects", 100, 20, ("cell",), height=256, width=320, objects=(40, 90), sides=(8.0, 13.0, 40.0))
QUICK = [
    "model.backbone=null", "model.config.backbone_config.depths=[1,1,1,1]", "model.config.decoder_layers=1",
    "model.config.train_num_points=64", "data.batch_size=2", "run.max_steps=2",
]  # fmt: skip


def as_mapping(changes):
    return {name: yaml.safe_load(value) for name, value in (text.split("=", 1) for text in changes)}


def test_small_objects_get_pixels_and_large_ones_no_more_than_needed():
    changes = as_mapping(object_changes(CELLS, accelerated=False))
    side = changes["model.processor.size"]["shortest_edge"]
    assert side == 384 and 13 * side / 256 >= 19  # 20 wanted, in steps of 32
    assert object_scale(CELLS) == 20 / 13
    large = replace(CELLS, height=1080, width=1920, sides=(60.0, 200.0, 500.0))
    assert short_side(large, accelerated=False) == 192  # the small ones decide: 11 of 60 pixels
    tiny = replace(CELLS, height=2000, width=2000, sides=(5.0, 9.0, 12.0))
    assert short_side(tiny, False) == 384 and short_side(tiny, True) == 1024
    assert "--tile" in choices.object_lines(tiny, False)[0] and "--tile" not in choices.object_lines(large, False)[0]


@pytest.mark.parametrize(("height", "side", "said"), [(64, 128, "enlarged"), (160, 160, "as they are"),
                                                     (900, 256, "a CPU does in minutes")])  # fmt: skip
def test_a_class_per_pixel_keeps_the_images_as_far_as_it_can(height, side, said):
    facts = Facts("classes", 10, 2, ("a", "b"), height=height, width=height)
    changes, line = as_mapping(choices.class_changes(facts, False)), choices.class_lines(facts, False)[0]
    assert changes["model.processor.size"]["shortest_edge"] == side and said in line
    crop = changes["data.transforms"]["crop_size"]
    assert crop[0] == crop[1] <= side and min(changes["data.transforms"]["short_sides"]) <= side
    wide = as_mapping(choices.class_changes(replace(facts, width=2 * height), False))["data.transforms"]["crop_size"]
    assert wide[1] > wide[0]


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("facts", [
    CELLS, replace(CELLS, height=320, width=256), replace(CELLS, height=480, width=640, sides=(15.0, 60.0, 200.0)),
    replace(CELLS, objects=(900, 3000)), replace(CELLS, objects=(1, 1), stuff=12), replace(CELLS, width=2000),
])  # fmt: skip
def test_crops_and_queries_suit_whole_images(facts, accelerated):
    changes = as_mapping(object_changes(facts, accelerated))
    side, transforms = changes["model.processor.size"]["shortest_edge"], changes["data.transforms"]
    crop, ratio = transforms["crop_size"][0], max(facts.height, facts.width) / min(facts.height, facts.width)
    assert crop % 32 == 0 and 192 <= crop <= max(side, 192)
    small, large = (share * crop / (side * min(ratio, 2)) for share in transforms["scale_range"])
    assert small == pytest.approx(0.8, abs=0.1) and large == pytest.approx(
        1.3, abs=0.15
    )  # around the size at prediction
    queries, learned = changes["model.config.num_queries"], changes["model.config.num_learned_queries"]
    assert learned >= 2 * facts.stuff and queries - learned >= 50
    assert changes["model.config.max_queries"] - learned >= min(2 * facts.objects[1], 1000)
    arguments = load_recipe("proscale-tiny-instances", object_changes(facts, accelerated))
    assert arguments.model.config["max_queries"] >= arguments.model.config["num_queries"]


def test_volumes_keep_their_pixels_and_modality():
    facts = Facts("volumes", 10, 2, ("background", "liver"), height=36, width=50, modality="CT")
    changes = as_mapping(choices.volume_changes(facts, False))
    assert changes["data.collator.size"] == [40, 56] and changes["model.processor"]["input_mode"] == "windows"
    height, width = choices.volume_size(replace(facts, height=512, width=400), False)
    assert (height, width) == (160, 128) and choices.volume_size(replace(facts, height=512, width=512), True) == (
        320,
        320,
    )


def length(cost, *overrides, facts=CELLS):
    given = {text.partition("=")[0] for text in overrides}
    changes, line = length_changes(facts, cost, load_recipe("proscale-tiny-instances", overrides), given, False)
    return as_mapping(changes), line


def test_length_follows_the_images_and_the_time():
    free, said = length(Cost(1, 400))
    assert free["run.max_steps"] == 1600 and "minutes" not in said
    assert length(Cost(1, 20))[0]["run.max_steps"] == 400 and length(Cost(1, 10**7))[0]["run.max_steps"] == 30_000
    assert length(Cost(1, 10**6))[0]["optimizer.learning_rate"] < free["optimizer.learning_rate"] <= 1.5e-3
    timed, said = length(Cost(1, 400, seconds=1.0, image_seconds=0.5))
    assert timed["run.max_steps"] * 1.0 + 10 * 20 * 0.5 == pytest.approx(15 * 60, abs=10)
    assert "about 15 minutes" in said and "run.max_steps=1600" in said
    short, _ = length(Cost(1, 400, seconds=1.0), "run.max_seconds=300")
    assert short["run.max_steps"] == 300
    given, said = length(Cost(1, 400, seconds=1.0), "run.max_steps=5000")
    assert given["schedule.warmup_steps"] == 250 and given["run.evaluate_every"] == 500 and "5,000 updates" in said
    assert "run.max_steps" not in length(Cost(1, 400), "run.epochs=3", "run.max_steps=null")[0]


def test_the_batch_fits_into_memory(monkeypatch):
    monkeypatch.setattr(choices, "free_memory", lambda accelerated: 10 * 2**30)
    assert length(Cost(2**20, 400))[0]["data.batch_size"] == 8
    tight, said = length(Cost(3 * 2**29, 400))  # 1.5 of 10 GiB each, four tenths may be used
    assert (tight["data.batch_size"], tight["run.gradient_accumulation_steps"]) == (2, 4) and "parts of 2" in said
    monkeypatch.setenv("WORLD_SIZE", "4")  # the update stays as it is
    shared, said = length(Cost(3 * 2**29, 400))
    assert (shared["data.batch_size"], shared["run.gradient_accumulation_steps"]) == (2, 1) and "8 images;" in said
    monkeypatch.delenv("WORLD_SIZE")
    given, _ = length(Cost(3 * 2**29, 400), "data.batch_size=6")
    assert (given["data.batch_size"], given["run.gradient_accumulation_steps"]) == (6, 1)


def test_the_users_word_comes_last(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "measured_cost", lambda arguments, size, timed: Cost(1, 8))
    squares(tmp_path / "data", [3] * 10, side=8)
    said = ["run.max_steps=7", "optimizer.learning_rate=1e-4"]
    choice = choose(str(tmp_path / "data"), said)
    assert not {"run.max_steps", "optimizer.learning_rate"} & set(as_mapping(choice.changes))
    assert len(choice.lines) == 5 and "8 images" in choice.lines[0]
    epochs = choose(str(tmp_path / "data"), ["run.epochs=3"])
    assert load_recipe(epochs.recipe, [*epochs.changes, "run.epochs=3"]).run.max_steps is None
    started = choose(str(tmp_path / "data"), ["model.pretrained=proscale-tiny-nuclei"])
    assert not [name for name in as_mapping(started.changes) if name.startswith("model.")]
    assert "starts from proscale-tiny-nuclei" in started.lines[1]


def test_a_run_without_a_recipe_leaves_its_own(tmp_path, capsys):
    squares(tmp_path / "data", [3, 5, 8, 2, 4, 6, 3, 3, 2, 9], side=8)
    out = tmp_path / "out"
    assert main(["--data", str(tmp_path / "data"), "--output_dir", str(out), *QUICK, "run.save_every=1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[:5]] == ["data", "model", "input", "objects", "training"]
    arguments = load_recipe(out / "recipe.yaml")
    told = json.loads((out / "training_args.json").read_text())
    assert arguments.run.max_steps == told["run"]["max_steps"] == 2 and arguments.run.final_weights == "best"
    assert "pq" in json.loads((out / "metrics.json").read_text())["metrics"]
    assert str(tmp_path / "data") in (out / "README.md").read_text()

    resume = ["--output_dir", str(out), "--resume_from_checkpoint", "latest", "run.max_steps=3"]
    assert main(["--data", str(tmp_path / "data"), *resume]) == 0 and "Goes on with" in capsys.readouterr().out
    other = ["--data", str(tmp_path / "other"), *resume]
    assert main(other) == 2 and "was begun with the data" in capsys.readouterr().err
    before = (out / "recipe.yaml").read_text()
    assert main(["--data", str(tmp_path / "data"), "--output_dir", str(out), *QUICK]) == 2
    assert "of another run" in capsys.readouterr().err and (out / "recipe.yaml").read_text() == before


@pytest.mark.parametrize("fill", [CLASS_MAPS[-1], VOLUMES[-1]], ids=lambda fill: fill.__name__)
def test_other_kinds_of_data_are_trained_too(fill, tmp_path, capsys):
    pytest.importorskip("nibabel" if fill in VOLUMES else "datasets")
    fill(tmp_path / "data")
    more = ["run.max_steps=1", "data.batch_size=2", *(QUICK[:4] if fill in CLASS_MAPS else [])]
    assert main(["--data", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out"), *more]) == 0
    lines = capsys.readouterr().out
    assert ("modality: MR" if fill in VOLUMES else "classes: one per pixel") in lines
    metric = "dice" if fill in VOLUMES else "mean_iou"
    assert metric in json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]


def test_a_damaged_image_is_named_or_skipped(tmp_path, capsys):
    squares(tmp_path / "data", [3] * 10, side=8)
    facts = facts_of(str(tmp_path / "data"))
    training = hfseg.data.load_folder(tmp_path / "data", "train", hold_out=True).names
    file = tmp_path / "data/images" / f"{training[1]}.png"
    file.write_bytes(file.read_bytes()[:60])  # a header without its pixels
    assert main(["--data", str(tmp_path / "data"), "--output_dir", str(tmp_path / "no")]) == 2
    assert f"{training[1]}.png" in capsys.readouterr().err and not (tmp_path / "no").exists()
    assert facts_of(str(tmp_path / "data"), "skip").sides == facts.sides
    more = [*QUICK, "run.max_steps=1", "data.on_error=skip"]
    assert main(["--data", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out"), *more]) == 0


def test_without_data_nothing_can_be_chosen(tmp_path, capsys):
    with pytest.raises(ValueError, match="Name a recipe"):
        hfseg.train(output_dir=tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["--output_dir", str(tmp_path)])
    assert stopped.value.code == 2 and "--recipe or --data" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["--data", str(tmp_path / "empty"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "is not a dataset that can be read" in capsys.readouterr().err


def test_a_dry_run_shows_the_choice(tmp_path, capsys):
    coco(tmp_path / "data")
    assert main(["--data", str(tmp_path / "data"), "--dry_run", *QUICK]) == 0
    said = capsys.readouterr().out
    assert said.startswith("data: 3 images") and "# recipe" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("measured", "classes", "metric"), [
    ({"pq": 0.0, "mean_iou": 80.0}, 3, "pq"), ({"pq": 0.1}, 3, None), ({"mean_iou": 9.0}, 11, "mean_iou"),
    ({"mean_iou": 9.2}, 11, None), ({"mean_iou": 50.0}, 1, None), ({"dice": 0.0}, 3, "dice"), ({"loss": 0.0}, 3, None),
])  # fmt: skip
def test_what_is_no_better_than_nothing(measured, classes, metric):
    assert learns_nothing(measured, classes) == metric


def test_a_run_that_learns_nothing_says_so_once(tmp_path, capsys):
    """After a tenth of the updates, however often it is measured."""

    def told(value, folder):
        arguments = toy_arguments(run={"evaluate_every": 1, "max_steps": 30})
        torch.manual_seed(0)
        evaluate = {"evaluate_fn": lambda model: {"pq": value}}
        run_loop(ToyModel(0.2), ToyDataset(), collate, arguments, output_dir=tmp_path / folder, **evaluate)
        return re.findall(r"pq is 0 after (\d+) of 30 updates", capsys.readouterr().out)

    assert told(0.0, "nothing") == ["3"] and told(1.0, "something") == []
