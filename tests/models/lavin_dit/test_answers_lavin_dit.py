# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Errors of generated images: by hand for a pipeline that is told the answers, and by the recipe of combinations."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hfseg.commands.train import main as train
from hfseg.data.readers.in_context import COMBINATIONS, HELD_OUT_COMBINATIONS, INPUTS, InContextDataset, ShapesSource
from hfseg.models.lavin_dit.answers_lavin_dit import answer_errors, other_task
from hfseg.training import load_recipe

TASKS = ("color_to_depth", "color_to_foreground", "gray_to_depth", "gray_to_foreground")


@pytest.fixture(scope="module")
def data():
    source = ShapesSource(split="test", num_scenes=6, image_size=(32, 32), in_memory=True)
    return InContextDataset(list(TASKS), source=source, num_examples=1)


class Follows:
    """A pipeline that reads its example: it answers with the target if that has the example's format, else in gray."""

    def __init__(self, data):
        self.answers = {}
        for task in data.tasks:
            for index in range(3):
                item = data.draw(task, index)
                key = (item["query"].tobytes(), item["examples"][0][1].tobytes())
                self.answers[key] = item["target"]

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, query, examples, num_inference_steps, guidance_scale, generator):
        target = self.answers.get((query.tobytes(), examples[0][1].tobytes()))
        shown = np.full_like(query, 128) if target is None else target
        return SimpleNamespace(images=[Image.fromarray(shown)])


def test_errors_of_a_pipeline_that_reads_its_examples(data):
    numbers = answer_errors(Follows(data), data, {"color_to_depth", "color_to_foreground", "gray_to_depth"}, 3, 2)
    assert numbers["trained_error"] == numbers["held_out_error"] == numbers["error_gray_to_foreground"] == 0
    # Held out is gray_to_foreground alone; the other examples are those of gray_to_depth, so that depth is the answer.
    task = next(task for task in data.tasks if task.name == "gray_to_foreground")
    items = [data.draw(task, index) for index in range(3)]
    depth = [data.draw(COMBINATIONS["gray_to_depth"], index)["target"].astype(float) for index in range(3)]
    other = [np.abs(answer - item["target"]).mean() / 2.55 for answer, item in zip(depth, items)]
    copied = [np.abs(i["examples"][0][1].astype(float) - i["target"]).mean() / 2.55 for i in items]
    assert numbers["held_out_error_other_examples"] == pytest.approx(np.mean(other))
    assert numbers["held_out_error_copied"] == pytest.approx(np.mean(copied))
    assert other_task(data.tasks, "gray_to_foreground", {"color_to_depth", "gray_to_depth"}).name == "gray_to_depth"
    assert other_task(data.tasks, "gray_to_foreground", {"color_to_depth"}).name == "color_to_depth"


def test_a_quarter_of_the_combinations_is_held_out():
    assert len(COMBINATIONS) == 24 and len(HELD_OUT_COMBINATIONS) == 6
    assert {name.partition("_to_")[0] for name in HELD_OUT_COMBINATIONS} == set(INPUTS)
    assert len({name.partition("_to_")[2] for name in HELD_OUT_COMBINATIONS}) == 6
    recipe = load_recipe("lavin-dit-tiny-combinations")
    assert set(recipe.data.train["tasks"]) == set(COMBINATIONS) - set(HELD_OUT_COMBINATIONS)
    assert set(recipe.data.validation["tasks"]) == set(COMBINATIONS)


def test_inputs_change_and_targets_do_not():
    source = ShapesSource(num_scenes=4, image_size=(32, 32), in_memory=True)
    data = InContextDataset(list(COMBINATIONS), source=source, num_examples=1)
    for wanted in ("depth", "recolored", "box"):
        items = {given: data.draw(COMBINATIONS[f"{given}_to_{wanted}"], 1) for given in INPUTS}
        color = items["color"]
        assert all(np.array_equal(item["target"], color["target"]) for item in items.values())
        assert np.array_equal(items["inverted"]["query"], 255 - color["query"])
        assert len({item["query"].tobytes() for item in items.values()}) == len(INPUTS)
    assert (items["gray"]["query"].std(-1) == 0).all()


def test_a_run_reports_trained_and_held_out_apart(tmp_path):
    changes = [
        "data.train.num_scenes=8", "data.validation.num_scenes=4", "data.train.in_memory=false", "run.max_steps=1",
        "run.evaluation={answers: 1, steps: 1}", "model.config.fit_images=8", "run.ema_decay=null", "data.batch_size=2",
        "data.train.tasks=[color_to_depth, gray_to_foreground]", "run.mixed_precision=no", "schedule.warmup_steps=0",
        "data.validation.tasks=[color_to_depth, gray_to_foreground, gray_to_depth]",
        "model.config.transformer.num_layers=1",
    ]  # fmt: skip
    train(["--recipe", "lavin-dit-tiny-combinations", *changes, "--output_dir", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    errors = [metrics[f"error_{name}"] for name in ("color_to_depth", "gray_to_foreground")]
    assert metrics["trained_error"] == pytest.approx(np.mean(errors))
    assert metrics["held_out_error"] == metrics["error_gray_to_depth"] > 0
    assert metrics["held_out_error_other_examples"] > 0 and "loss" in metrics
