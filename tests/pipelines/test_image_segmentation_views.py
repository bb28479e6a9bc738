# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Test-time augmentation in `pipeline()` and `hfseg predict`: the mean over views, worked out view by view."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import hfseg
from hfseg.commands.predict import main


@pytest.fixture(scope="module")
def segmenter():
    return pipeline("image-segmentation", model=str(hfseg.checkpoint("vpnext-tiny-shapes")))


@pytest.fixture(scope="module")
def photos():
    draw = np.random.default_rng(0)
    return [
        Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for size in ((96, 96), (128, 96))
    ]


def by_hand(segmenter, image, sizes):
    """Mean of class probabilities over network inputs of these sizes and their mirror images. Shape: (H, W)."""
    total = 0
    for height, width in sizes:
        pixels = segmenter.image_processor(image, return_tensors="pt", size={"height": height, "width": width})
        for mirrored in (False, True):
            view = pixels["pixel_values"].flip(-1) if mirrored else pixels["pixel_values"]
            with torch.no_grad():
                logits = segmenter.model(pixel_values=view).logits
            full = (image.height, image.width)
            # To the size of the result by way of the network's input, as the image processor does.
            logits = torch.nn.functional.interpolate(logits, full, mode="bilinear", align_corners=False)
            scores = logits.softmax(1)[0]
            total = total + (scores.flip(-1) if mirrored else scores)
    return total.argmax(0).numpy()


def class_map(segments, names):
    found = np.full(np.asarray(segments[0]["mask"]).shape, -1)
    for segment in segments:
        found[np.asarray(segment["mask"]) > 0] = names[segment["label"]]
    return found


def test_views_are_averaged(segmenter, photos):
    image, names = photos[0], segmenter.model.config.label2id
    tta = {"scales": [1.0, 1.5], "flip": True}
    found = class_map(segmenter(image, subtask="semantic", tta=tta), names)
    assert (found == by_hand(segmenter, image, [(96, 96), (144, 144)])).mean() > 0.999
    plain = class_map(segmenter(image, subtask="semantic"), names)
    assert (found != plain).any()
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped = class_map(segmenter(mirrored, tta={"flip": True}), names)
    assert (flipped[:, ::-1] == class_map(segmenter(image, tta={"flip": True}), names)).mean() > 0.999


def test_batches_are_as_single_images(segmenter, photos):
    tta = {"scales": [0.75, 1.0]}
    single = [segmenter(image, subtask="semantic", tta=tta) for image in photos]
    together = segmenter(photos, subtask="semantic", tta=tta, batch_size=2)
    for one, other in zip(single, together):
        assert torch.equal(one.result.segmentation, other.result.segmentation)


def test_command_and_refusals(segmenter, photos, tmp_path, capsys):
    photos[1].save(tmp_path / "photo.png")
    ask = [str(tmp_path / "photo.png"), "--model", "vpnext-tiny-shapes", "--quiet", "-o", str(tmp_path / "out")]
    assert main([*ask, "--scales", "1.0", "1.25", "--flip"]) == 0
    ids = np.asarray(Image.open(tmp_path / "out/photo_ids.png"))
    assert json.loads((tmp_path / "out/photo.json").read_text())["info"]["scales"] == [1.0, 1.25]
    expected = segmenter(photos[1], tta={"scales": [1.0, 1.25], "flip": True}).result.segmentation.numpy()
    assert np.array_equal(ids, expected)
    assert main([*ask, "--scales", "-1"]) == 1
    assert "positive factors" in capsys.readouterr().err
    ask[2] = "proscale-tiny-shapes"
    assert main([*ask, "--flip"]) == 2
    assert "ask for subtask semantic" in capsys.readouterr().err
    assert main([*ask, "--flip", "--subtask", "semantic"]) == 0
    with pytest.raises(ValueError, match="takes scales and flip"):
        segmenter(photos[0], tta={"rotate": True})
    with pytest.raises(ValueError, match='subtask="semantic"'):
        segmenter(photos[0], subtask="panoptic", tta={"flip": True})
