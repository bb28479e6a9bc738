# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A detector from recipe to boxes: training, the numbers of the public evaluation, prediction, by command."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForObjectDetection, pipeline

import hfseg
from hfseg.commands.main import main
from hfseg.data import ShapesDataset
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

SMALL = ["data.train.num_scenes=8", "data.validation.num_scenes=3", "data.batch_size=2", "data.num_workers=0"]
SMALL += ["schedule.warmup_steps=0", "run.max_steps=2", "model.config.decoder_layers=1", "run.log_every=1"]
RECIPE = "proscale-tiny-shapes-detection"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector")
    options = ["run.evaluate_every=2", "run.evaluation={loss: true}"]
    assert main(["train", "--recipe", RECIPE, "--output_dir", str(path), *SMALL, *options]) == 0
    return path


def test_training_measures_boxes_as_the_public_evaluation_does(folder):
    record = json.loads((folder / "metrics.json").read_text())
    assert {"box_ap", "box_ap50", "loss"} <= set(record["metrics"])
    measured = hfseg.evaluate(folder, ShapesDataset("validation", 3))
    assert measured.task == "object-detection" and measured["box_ap"] >= 0
    for name in ("box_ap", "box_ap50", "box_ap75", "box_ar_100"):
        assert record["metrics"][name] == pytest.approx(measured[name], abs=1e-6)
    model = AutoModelForObjectDetection.from_pretrained(folder)
    assert model.config.id2label[0] == "circle" and "object-detection" in (folder / "README.md").read_text()


def test_prediction_and_pipeline_find_the_same_boxes(folder, tmp_path):
    Image.fromarray(ShapesDataset("validation", 1)[0]["image"]).save(tmp_path / "scene.png")
    image = Image.open(tmp_path / "scene.png").convert("RGB")
    found = pipeline("object-detection", model=str(folder))(image, threshold=0.0)
    scores = sorted((entry["score"] for entry in found), reverse=True)
    threshold = scores[4]
    command = ["predict", str(tmp_path / "scene.png"), "--model", str(folder), "-o", str(tmp_path / "out")]
    assert main([*command, "--threshold", str(threshold - 1e-7)]) == 0
    assert list((tmp_path / "out").glob("*.png"))
    (prediction,) = hfseg.predict(folder, [tmp_path / "scene.png"], threshold=threshold - 1e-7)
    assert [segment.score for segment in prediction.segments] == pytest.approx(scores[:5], abs=1e-6)
    best = max(found, key=lambda entry: entry["score"])
    box = [best["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
    np.testing.assert_allclose(prediction.segments[0].box, box, atol=1.01)
    with pytest.raises(ValueError, match="does not take subtask; it takes threshold"):
        hfseg.predict(folder, [tmp_path / "scene.png"], subtask="panoptic")


def test_unknown_options_of_the_evaluation_are_named():
    task = build_task(load_recipe(RECIPE, ["run.evaluation={tasks: [panoptic]}"]))
    with pytest.raises(ValueError, match="takes no tasks; must be one of batch_size, loss"):
        task.evaluation_options()


def test_overlays_show_truth_and_prediction(folder):
    task, dataset = build_task(load_recipe(RECIPE)), ShapesDataset("validation", 2)
    loaded = hfseg.load(folder)
    drawn = task.overlays(loaded.model, loaded.image_processor, dataset, 1)
    assert len(drawn) == 1 and drawn[0].width > 3 * 64
    assert task.overlays(loaded.model, None, dataset, 1) == []
