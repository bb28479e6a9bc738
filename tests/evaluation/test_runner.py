# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.evaluate`: every task of the zoo by the same call; what it returns, saves and refuses."""

import json

import pytest

import hfseg
import oracle
from hfseg import tasks
from hfseg.evaluation.result import EvaluationResult
from tiny_zoo import labeled_volumes, model_folder

CLASSES = ["person", "car", "tree", "sky", "road"]
SCENES = "shapes:num_scenes=2,image_size=48x64"


@pytest.fixture(scope="module", autouse=True)
def registered():
    oracle.register()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def segments(tmp_path_factory):
    """A panoptic folder of the tiny models' classes."""
    return oracle.write_panoptic(tmp_path_factory.mktemp("data") / "scenes", [(64, 96), (96, 64)], names=CLASSES)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """NIfTI pairs with the classes of the tiny medical model."""
    pytest.importorskip("nibabel")
    return labeled_volumes(tmp_path_factory.mktemp("volumes"))


CASES = {
    "universal": ("proscale", "segments", {}, {"pq", "mean_iou", "pixel_accuracy"}),
    "object-detection": ("proscale_boxes", "segments", {}, {"box_ap", "box_ap50"}),
    "semantic": ("vpnext", "segments", {}, {"mean_iou", "mean_accuracy"}),
    "open-vocabulary": ("unpairseg", SCENES, {}, {"pq", "mean_iou"}),
    "referring": ("cris", SCENES, {}, {"oiou", "miou", "precision@0.5", "first_miou"}),
    "mask-generation": (
        "unpairseg_masks",
        "segments",
        {"points_per_side": 3},
        {"one_point_iou", "one_box_iou", "one_point_oracle_iou", "one_box_oracle_iou"},
    ),
    "medical": ("meddensevit", "volumes", {}, {"dice", "assd", "hd95", "nsd", "mean_image_iou"}),
    "in-context": (
        "lavin_dit",
        "shapes:num_scenes=3",
        {"task": "foreground_segmentation", "num_inference_steps": 2, "num_examples": 1},
        {"mean_image_iou"},
    ),
}


OLD_NAME = "pictures:x"  # spelled as given


@pytest.mark.parametrize("task", CASES)
def test_every_task_by_the_same_call(task, zoo, request, tmp_path):
    name, dataset, options, expected = CASES[task]
    specification = str(request.getfixturevalue(dataset)) if dataset in ("segments", "volumes") else dataset
    result = hfseg.evaluate(model_folder(name, zoo), specification, overlays=1, device="cpu", **options)
    assert isinstance(result, EvaluationResult) and result.task == task
    assert expected <= set(result.metrics), result.metrics
    for key in expected:
        value = result[key]
        assert value is None or (value >= 0 and (key in ("assd", "hd95") or value <= 100)), (key, value)
    assert set(result.averages) == set(result.metrics), "every number says what it averages over"
    folder = result.save(tmp_path / "out")
    record = json.loads((folder / "metrics.json").read_text())
    assert record["metrics"] == result.metrics and record["task"] == task and record["number_of_images"] > 0
    assert record["command"] and record["versions"]["torch"] and record["processes"] == 1
    page = (folder / "report.html").read_text()
    assert page == result.to_html(links=True) and "<img" in page and "<a " in page and "<a " not in result.to_html()
    assert list((folder / "overlays").glob("*.png")), "images were asked for"
    with pytest.raises(KeyError, match=sorted(expected)[0]):
        result["no such metric"]
    with pytest.raises(KeyError, match="'overall_iou' is called 'oiou' now"):
        result["overall_iou"]
    again = hfseg.evaluate(hfseg.load(model_folder(name, zoo)), specification, device="cpu", **options)
    assert again.metrics == pytest.approx(result.metrics, nan_ok=True) and not again.images


def test_the_cases_are_the_tasks_that_can_be_evaluated():
    assert set(CASES) == {name for name, row in tasks.TASKS.items() if row.evaluator}


def test_detection_of_lesions(zoo, volumes):
    result = hfseg.evaluate(model_folder("meddensevit", zoo), str(volumes), measures=("froc",), device="cpu")
    assert {"cpm", "sensitivity@0.125", "sensitivity@8"} <= set(result.metrics) and "dice" not in result.metrics
    assert 0 <= result["cpm"] <= 100 and result.record["lesions"]["num_nodules"] == 2


def test_an_open_vocabulary_folder_by_points_and_boxes(zoo):
    folder = model_folder("unpairseg", zoo)
    result = hfseg.evaluate(folder, SCENES, "mask-generation", points_per_side=2, device="cpu")
    assert result.task == "mask-generation" and result["one_box_oracle_iou"] >= result["one_box_iou"]


@pytest.mark.parametrize(
    ("name", "dataset", "options", "message"),
    [
        ("cris", SCENES, {"mode": "sliding"}, "referring models takes no mode; it takes threshold"),
        ("cris", SCENES, {"task": "panoptic"}, "whose task is referring; got 'panoptic'"),
        ("proscale", SCENES, {"num_examples": 2}, "universal models takes no num_examples"),
        ("proscale", SCENES, {"task": "depth_estimation"}, "must be one of panoptic, instance, semantic, all"),
        ("proscale", SCENES, {"limit": 0}, "limit must be 1 or more; got 0"),
        ("lavin_dit", "shapes", {}, "must be one of depth_estimation"),
        ("proscale", "shape:num_scenes=3", {}, "Did you mean shapes"),
        ("lavin_dit", OLD_NAME, {"task": "colorization", "only": ["mse"]}, "is called 'images' now"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(name, dataset, options, message, zoo):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        hfseg.evaluate(model_folder(name, zoo), dataset, device="cpu", **options)
