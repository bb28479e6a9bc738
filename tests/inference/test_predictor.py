# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The predictor: prompts that fit the image, folders that hold a model, and what a prediction offers."""

import numpy as np
import pytest
from PIL import Image

from hfseg.inference.predictor import Options, Prediction, Predictor, Prompts, _check_places, find_task
from hfseg.results.segmentation_result import SegmentationResult
from tiny_zoo import image, model_folder


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def test_places_outside_the_image():
    with pytest.raises(ValueError, match=r"\(100, 5\) is not in the image of 90 x 60"):
        _check_places(Prompts(points=[(100, 5)]), (90, 60))
    with pytest.raises(ValueError, match="x0 < x1"):
        _check_places(Prompts(boxes=[(50, 5, 10, 20)]), (90, 60))


def test_folders_that_hold_no_model_of_ours(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither config"):
        find_task(tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(ValueError, match="is damaged"):
        find_task(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="'bert'; the zoo has proscale"):
        find_task(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vpnext", "architectures": ["VPNeXtModel"]}')
    with pytest.raises(ValueError, match="VPNeXtModel, which makes no masks; VPNeXtForSemanticSegmentation does"):
        find_task(tmp_path)


def test_a_prediction_does_what_its_result_does(zoo, tmp_path):
    predictor = Predictor(model_folder("proscale", zoo), progress=False)
    prediction = predictor(image(), options=Options(subtask="instance", threshold=0.0))
    assert len(prediction) == len(prediction.result) == len(prediction.result.segments) > 0
    assert prediction.plot().size == image().size
    with Image.open(prediction.save(tmp_path / "x.png")) as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(prediction.overlay()))
    assert prediction.to_coco(1) == prediction.result.to_coco(1)
    first, entry = prediction.segments[0], prediction.entries()[0]
    assert (first.label, first.score, first.area) == (entry["label"], entry["score"], entry["area"])
    assert Prediction(image(), None).segments == []
    assert {segment.label for segment in prediction.segments} <= set(predictor.labels.values())
    assert all("label" in info for info in prediction.result.segments_info)
    with pytest.raises(AttributeError, match="no attribute 'plott'"):
        prediction.plott()
    with pytest.raises(AttributeError, match=r"use \.answer"):
        Prediction(image(), None).plot()


def test_segments_are_listed_once(zoo, monkeypatch):
    prediction = Predictor(model_folder("proscale", zoo), progress=False)(image())
    calls = []
    plain = SegmentationResult.to_coco
    monkeypatch.setattr(
        SegmentationResult, "to_coco", lambda *args, **kwargs: calls.append(1) or plain(*args, **kwargs)
    )
    assert prediction.entries() == prediction.entries() and calls == [1]
    prediction.result = SegmentationResult(prediction.result.segmentation, [])
    assert prediction.entries() == [] == prediction.segments
