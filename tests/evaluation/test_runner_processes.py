# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes share the samples of `hfseg.evaluate`, whatever the task, and of `hfseg predict`: as one process."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from run_doors import through_all_doors

import oracle
from forked_launch import forked_launch
from hfseg import tasks
from hfseg.data.synthetic.shapes import render_scene
from tiny_zoo import NAMES, labeled_volumes, model_folder

SCENES = "shapes:num_scenes=3,image_size=48x64"
# Task: model, dataset, options. An odd number of samples: the processes' shares differ.
CASES = {
    "semantic": ("vpnext-tiny-shapes", "shapes:num_scenes=5", {}),
    "universal": ("unisegformer-tiny-shapes", "shapes:num_scenes=5", {}),
    "object-detection": ("proscale_boxes", "segments", {}),
    "open-vocabulary": ("unpairseg", SCENES, {}),
    "referring": ("cris", SCENES, {}),
    "mask-generation": ("unpairseg_masks", SCENES, {"points_per_side": 2}),
    "medical": ("meddensevit", "volumes", {"measures": ["dice", "surface_distance", "froc"]}),
    "in-context": (
        "lavin_dit",
        "shapes:num_scenes=3",
        {"task": "foreground_segmentation", "num_inference_steps": 1, "num_examples": 1},
    ),
}


def contents(folder: Path) -> dict[str, object]:
    """Files by name; the `info` of JSON, with time and command, is left out."""
    found: dict[str, object] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".json":
            found[name] = {k: v for k, v in json.loads(file.read_text()).items() if k != "info"}
        else:
            found[name] = file.read_bytes()
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> SimpleNamespace:
    """Folders of what one process and two left: all tasks in one launch."""
    root = tmp_path_factory.mktemp("runs")
    images = root / "images"
    images.mkdir()
    for number in range(5):
        Image.fromarray(render_scene(number, image_size=(64, 64), split="test").image).save(images / f"{number}.png")
    cases = {}
    for task, (model, dataset, options) in CASES.items():
        if model not in tasks.shipped_checkpoints():
            model = str(model_folder(model, root / "models"))
        if dataset == "volumes":
            dataset = str(labeled_volumes(root / "volumes", 3))
        elif dataset == "segments":
            dataset = str(
                oracle.write_panoptic(
                    root / "scenes", [(64, 96), (96, 64), (64, 64)], names=list(NAMES["id2label"].values())
                )
            )
        cases[task] = (model, dataset, options)
    for name, ranks in (("one", 1), ("two", 2)):  # with one thread each, so that sums are equal
        work = partial(through_all_doors, cases, images, root / name)
        done = forked_launch(lambda rank, work=work: work(), root, ranks, seconds=300)
        assert [one.code for one in done] == [0] * ranks, [one.err[-3000:] for one in done]
    return SimpleNamespace(one=root / "one", two=root / "two")


def test_the_cases_are_the_tasks_that_can_be_evaluated():
    assert set(CASES) == {name for name, row in tasks.TASKS.items() if row.evaluator}


@pytest.mark.parametrize("task", CASES)
def test_two_processes_measure_what_one_measures(task, runs):
    one, two = (json.loads((folder / task / "metrics.json").read_text()) for folder in (runs.one, runs.two))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["number_of_images"] == two["number_of_images"] >= 3
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-9, nan_ok=True)
    if task != "object-detection":  # boxes of a detector that was not trained meet nothing
        assert any(isinstance(value, float) and value > 0 for value in one["metrics"].values())
    names = [sorted(path.name for path in (folder / task).rglob("*")) for folder in (runs.one, runs.two)]
    assert names[0] == names[1] and any(name.endswith(".png") for name in names[0])


def test_two_processes_predict_what_one_predicts(runs):
    one, two = (contents(folder / "predict") for folder in (runs.one, runs.two))
    assert len(one) == 15 and one == two
