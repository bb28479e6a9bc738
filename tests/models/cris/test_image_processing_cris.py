# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's image processors: the authors' warp there and back, in both backends."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg import CrisImageProcessor, CrisImageProcessorPil
from hfseg.metrics import ReferringSegmentation

SIZE = {"height": 96, "width": 96}


@pytest.mark.parametrize("processor_class", [CrisImageProcessor, CrisImageProcessorPil])
def test_images_and_masks_are_the_authors(case, processor_class):
    images = [case.inputs[f"image_{index}"].numpy() for index in range(3)]
    masks = [case.inputs[f"mask_{index}"] for index in range(3)]
    batch = processor_class(size=SIZE)(images, masks, return_tensors="pt")
    # One gray level, as OpenCV rounds.
    torch.testing.assert_close(batch["pixel_values"], case.outputs["pixel_values.cv5"], atol=0.016, rtol=0)
    assert (batch["pixel_values"] - case.outputs["pixel_values.cv5"]).abs().mean() < 5e-4
    torch.testing.assert_close(batch["mask_labels"], case.outputs["train_mask.cv5"].float(), atol=1.1 / 255, rtol=0)


def test_masks_come_back_as_the_authors(case, processor):
    every, first = ReferringSegmentation(), ReferringSegmentation()
    start = 0
    for index, sentences in enumerate(case.config["sentences"]):
        logits = case.inputs["logits"][start : start + len(sentences), 0][None]
        size = tuple(case.inputs[f"mask_{index}"].shape)
        outputs = SimpleNamespace(logits=logits)
        (maps,) = processor.post_process_referring_segmentation(outputs, [size], return_probabilities=True)
        (masks,) = processor.post_process_referring_segmentation(outputs, [size])
        for position, (map_, mask) in enumerate(zip(maps, masks)):
            expected = case.outputs[f"prob_back_{start + position}.cv5"].float()
            torch.testing.assert_close(map_, expected, atol=1e-5, rtol=0)
            for metric in (every, first) if position == 0 else (every,):
                metric.add(prediction=mask, reference=case.inputs[f"mask_{index}"])
        start += len(sentences)
    for metric, prefix in ((every, ""), (first, "val_")):
        result = metric.compute()
        assert result["miou"] == pytest.approx(100 * case.outputs[f"{prefix}mean_iou.cv5"].item(), abs=1e-4)
        precisions = [result[f"precision@{limit / 100}"] / 100 for limit in (50, 60, 70, 80, 90)]
        expected = case.outputs[f"{prefix}prec.cv5"].double()
        torch.testing.assert_close(torch.tensor(precisions).double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 3000)])
def test_extreme_sizes_come_back(processor, size):
    image = np.full((*size, 3), 90, np.uint8)
    assert processor([image], "a dog", return_tensors="pt")["pixel_values"].shape == (1, 3, 96, 96)
    outputs = SimpleNamespace(logits=torch.full((1, 1, 24, 24), 9.0))
    (mask,) = processor.post_process_referring_segmentation(outputs, [size])
    assert mask.shape == (1, *size) and mask.float().mean() > 0.9


@pytest.mark.parametrize("mode", ["P", "I;16", "CMYK", "RGBA", "LA", "1", "L"])
def test_every_mode_is_read(processor, mode):
    image = Image.new("L", (30, 20), 128).convert("RGB").convert(mode if mode != "I;16" else "I")
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 30), 128 * 257, np.uint16))
    values = processor([image], "a dog", return_tensors="pt")["pixel_values"]
    assert torch.isfinite(values).all() and values.shape == (1, 3, 96, 96)


def test_images_without_pixels():
    with pytest.raises(ValueError, match="no pixels"):
        CrisImageProcessor()(np.zeros((0, 5, 3), np.uint8))
