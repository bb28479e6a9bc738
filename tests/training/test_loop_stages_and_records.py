# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs of several stages, and what a run leaves for people: its card, its curves and images."""

import json
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from toy import ToyDataset, ToyModel, collate, toy_arguments

from hfseg.commands.train import main
from hfseg.training import runner, train
from hfseg.training.arguments import load_recipe

SMALL = ["data.train.num_scenes=8", "data.validation.num_scenes=2", "data.batch_size=2", "data.num_workers=0"]
SMALL += ["schedule.warmup_steps=0", "run.log_every=1"]
STAGES = """
base: proscale-tiny-shapes
data: {batch_size: 2, num_workers: 0, train: {num_scenes: 8}, validation: null}
schedule: {warmup_steps: 0}
stages:
  - {name: small, run: {max_steps: 2}, data: {train: {image_size: [64, 64]}}}
  - {name: large, run: {max_steps: 3}, optimizer: {learning_rate: 1e-4}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run with a tracker, and the run resumed for two more updates."""
    folder = tmp_path_factory.mktemp("records") / "tiny"
    options = [*SMALL, "run.trackers=[tensorboard]", "run.log_images=2", "run.save_every=1"]
    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(folder), *options, "run.max_steps=2"])
    first = json.loads((folder / "checkpoint-2/trainer_state.json").read_text())["tracker_run"]
    resume = ["--resume_from_checkpoint", "latest", "run.max_steps=4"]
    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(folder), *options, *resume])
    assert first == json.loads((folder / "checkpoint-4/trainer_state.json").read_text())["tracker_run"] != ""
    return folder


def test_curves_and_images_reach_tensorboard(trained):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    steps: dict[str, set] = {}
    for file in (trained / "hfseg").rglob("events.out*"):
        log = events.EventAccumulator(str(file))
        log.Reload()
        for tag in log.Tags()["scalars"]:
            steps.setdefault(tag, set()).update(event.step for event in log.Scalars(tag))
        for tag in log.Tags()["images"]:
            steps.setdefault(tag, set()).update(event.step for event in log.Images(tag))
    assert steps["train/loss"] == {1, 2, 3, 4} and steps["eval/pq"] == {2, 4}
    assert steps["eval/sample_0"] == steps["eval/sample_1"] == {2, 4} and "eval/sample_2" not in steps


def test_the_card_is_filled_and_valid(trained):
    card = ModelCard.load(trained / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "image-segmentation")
    numbers = json.loads((trained / "metrics.json").read_text())["metrics"]
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == pytest.approx(
        numbers, abs=1e-4
    )
    assert card.data.model_name == "tiny" and {"proscale", "universal"} <= set(card.data.tags)
    for part in (
        "8 training samples, 2 held out",
        "--recipe proscale-tiny-shapes",
        "4 updates of 2 samples",
        "| pq | ",
        "sum of matched IoUs",
        f"torch {torch.__version__.partition(chr(43))[0]}",
        "circle, square",
        "from scratch",
    ):
        assert part in card.text, part
    assert "{{" not in card.text


def test_the_card_shows_two_held_out_samples(trained):
    image = Image.open(trained / "examples.png")
    assert "](examples.png)" in (trained / "README.md").read_text() and image.width <= 1000
    assert 2 * image.width / 3 < image.height < image.width  # two rows of image, ground truth and prediction


def test_card_images_are_drawn_with_the_final_weights_or_not_at_all(tmp_path):
    """With the averaged weights that are saved, not with those of the last update."""
    seen = []

    def draw(model, count):
        seen.append((count, model.training, {name: value.clone() for name, value in model.state_dict().items()}))
        return [Image.new("RGB", (30, 20), "red")] * count

    def run(name, **options):
        arguments = toy_arguments(run={"max_steps": 3, "ema_decay": 0.5, **options})
        train(ToyModel(), ToyDataset(6), collate, arguments, output_dir=tmp_path / name, overlay_fn=draw)
        return tmp_path / name

    folder = run("drawn", card_images=3)
    ((count, training, weights),) = seen
    assert (count, training) == (3, False) and (folder / "examples.png").is_file()
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in saved.items())
    assert not (run("plain", card_images=0) / "examples.png").exists() and len(seen) == 1


def test_stages_start_from_each_other_and_resume(tmp_path, capsys):
    recipe = tmp_path / "stages.yaml"
    recipe.write_text(STAGES)
    folder = tmp_path / "out"
    main(["--recipe", str(recipe), "--output_dir", str(folder)])
    first = json.loads((folder / "stage-1-small/training_args.json").read_text())
    second = json.loads((folder / "training_args.json").read_text())
    assert first["data"]["train"]["image_size"] == [64, 64] and first["run"]["max_steps"] == 2
    assert second["data"]["train"]["image_size"] == [96, 96] and second["run"]["max_steps"] == 3
    assert second["model"]["pretrained"] == str(folder / "stage-1-small")
    # with a rate that moves no bit the second stage returns what it started from (but for running statistics)
    still = tmp_path / "still"
    (tmp_path / "still.yaml").write_text(STAGES.replace("1e-4", "1.0e-30"))
    main(["--recipe", str(tmp_path / "still.yaml"), "--output_dir", str(still)])
    one, two = (load_file(place / "model.safetensors") for place in (still / "stage-1-small", still))
    moved = [name for name in one if not torch.allclose(one[name], two[name], rtol=0, atol=1e-25)]
    assert one.keys() == two.keys() and moved and all("running" in n or "num_batches" in n for n in moved)
    capsys.readouterr()
    main(["--recipe", str(recipe), "--output_dir", str(folder), "--resume_from_checkpoint", "latest"])
    shown = capsys.readouterr().out
    assert "stage-1-small is complete" in shown and "at step 3 of 3" in shown
    main(["--recipe", str(recipe), "--dry_run"])
    assert "# stage large, from the output of the stage before" in capsys.readouterr().out


def test_only_the_first_stage_takes_a_backbone(tmp_path, monkeypatch):
    """The others start from what it has become; naming both would be refused when the first stage is over."""
    # A stage with a recipe of its own gets the command line's changes too.
    (tmp_path / "stages.yaml").write_text(STAGES.replace("name: large,", "name: large, base: proscale-tiny-shapes,"))
    begun = []
    monkeypatch.setattr(runner, "run_stage", lambda stage, *rest: begun.append(stage.model))
    stages = load_recipe(tmp_path / "stages.yaml", ["model.backbone=weights"]).stage_arguments()
    quiet = SimpleNamespace(print=lambda text: None, free_memory=lambda: None)
    runner.run_stages(stages, tmp_path / "out", quiet, None, "command")
    assert [model.backbone for model in begun] == ["weights", None]
    assert [model.pretrained for model in begun] == [None, str(tmp_path / "out/stage-1-small")]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"run": {"max_steps": 1}}], "has the name None"),
        ([{"name": "a"}, {"name": "a"}], "the name a appears twice"),
        (
            [{"name": "a", "run": {"max_stepz": 1}}],
            r"stages: a: Unknown key run.max_stepz .*Did you mean run.max_steps",
        ),
        ([{"name": "a", "base": "nowhere"}], "stages: a: No recipe or file 'nowhere'"),
        ([{"name": "a", "run": {"mixed_precision": "bf16"}}], "changes run.mixed_precision, which all stages"),
        ([{"name": "a", "stages": [{"name": "b"}]}], "a has stages itself"),
    ],
)
def test_stages_that_do_not_fit(stages, message):
    with pytest.raises(ValueError, match=message):
        toy_arguments(stages=stages)


def test_one_accelerator_trains_one_model_after_the_other(tmp_path):
    """What stages do: the same accelerator trains one model after the other."""
    from hfseg.training.loop import create_accelerator

    arguments = toy_arguments(run={"max_steps": 3})
    accelerator = create_accelerator(arguments.run, tmp_path)
    for name in ("one", "two"):
        torch.manual_seed(0)
        train(ToyModel(), ToyDataset(), collate, arguments, output_dir=tmp_path / name, accelerator=accelerator)
        accelerator.free_memory()
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
