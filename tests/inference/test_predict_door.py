# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.predict`: images in any form, one or several, by any way to name a model."""

import numpy as np
import pytest

import hfseg
from hfseg.inference.predictor import Predictor
from tiny_zoo import image as photo
from tiny_zoo import model_folder, volume_file


def test_an_image_in_any_form_gives_the_same(tmp_path):
    folder, image = model_folder("proscale", tmp_path), photo()
    image.save(tmp_path / "a.png")
    expected = hfseg.predict(folder, image).entries()
    assert expected
    predictor = Predictor(folder)
    several = hfseg.predict(predictor, [np.asarray(image), str(tmp_path / "a.png"), tmp_path / "a.png"])
    assert [prediction.entries() for prediction in several] == [expected] * 3
    assert hfseg.predict(hfseg.load(folder), image).entries() == expected
    with pytest.raises(ValueError, match="must be a path, a PIL image or an array; got dict"):
        hfseg.predict(predictor, {})


def test_prompts_and_options_reach_the_model(tmp_path):
    image = photo()
    found = hfseg.predict(model_folder("cris", tmp_path), image, text="the red star")
    assert found.names == {0: "the red star"}
    boxes = hfseg.predict(model_folder("unpairseg", tmp_path), image, boxes=[(3, 3, 40, 40)])
    assert boxes.names == {0: "box 1"}
    with pytest.raises(ValueError, match="which needs text"):
        hfseg.predict(model_folder("cris", tmp_path), image)
    with pytest.raises(ValueError, match="does not take text"):
        hfseg.predict(model_folder("vpnext", tmp_path), image, text="x")


def test_a_volume(tmp_path):
    pytest.importorskip("nibabel")
    file = volume_file(tmp_path / "scan.nii.gz")
    found = hfseg.predict(model_folder("meddensevit", tmp_path), file)
    assert found.segmentation.shape == (12, 14, 6) and set(found.milliliters_per_class) >= {"liver"}
