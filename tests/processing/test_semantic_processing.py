# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Semantic processing: labels that are reduced, images that do not fit, and logits back in the image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hfseg import VPNeXtImageProcessor, VPNeXtImageProcessorPil

BACKENDS = [VPNeXtImageProcessor, VPNeXtImageProcessorPil]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draws a smooth image."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("processor_class", BACKENDS)
def test_reduced_labels(processor_class):
    """Pascal Context: 0 is background, 1..59 are the classes; 255 stays."""
    labels = np.array([[0, 1], [59, 255]], dtype=np.uint8)
    processor = processor_class(do_resize=False, do_pad=False, do_reduce_labels=True, num_labels=59)
    actual = processor(photo(2, 2), labels, return_tensors="np")["labels"][0]
    assert actual.tolist() == [[255, 0], [58, 255]]
    with pytest.raises(ValueError, match=r"holds the class ids \[59\]; must be one of 0..58, and 255"):
        processor(photo(2, 2), labels + (labels == 59))


@pytest.mark.parametrize("processor_class", BACKENDS)
def test_images_that_do_not_fit(processor_class):
    processor = processor_class()
    with pytest.raises(ValueError, match="list of images is empty"):
        processor([])
    with pytest.raises(ValueError, match="no pixels"):
        processor(np.zeros((0, 4, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"2 x 2 pixels .* its image 4 x 4"):
        processor(photo(4, 4), np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match="Got 1 segmentation maps for 2 images"):
        processor([photo(4, 4)] * 2, [np.zeros((4, 4), dtype=np.uint8)])
    with pytest.raises(ValueError, match="ids must be integers"):
        processor(photo(4, 4), np.zeros((4, 4), dtype=np.float32))


def test_logits_come_back_to_the_image():
    """Padding is cut off where it was added: a map that marks it never reaches the image."""
    processor = VPNeXtImageProcessor(size={"shortest_edge": 40})
    inside = torch.zeros(1, 1, 48, 64)
    inside[..., :40, :60] = 1
    # Class 0 is padding; upsampling blurs the border between the two, so that it wins by a little only outside.
    logits = F.avg_pool2d(torch.cat((1 - inside, inside), dim=1), 4) * torch.tensor([1.0, 3.0])[:, None, None]
    outputs = SimpleNamespace(logits=logits)
    labels = processor.post_process_semantic_segmentation(outputs, target_sizes=[(50, 75)])[0]
    assert labels.shape == (50, 75) and labels.dtype == torch.int64 and (labels == 1).all()
    assert processor.post_process_semantic_segmentation(outputs)[0].shape == (12, 16)
    scored = processor.post_process_semantic_segmentation(outputs, [(50, 75)], return_segmentation_scores=True)[0]
    assert scored["segmentation_scores"].shape == (2, 50, 75)
    with pytest.raises(ValueError, match="2 entries for a batch of 1"):
        processor.post_process_semantic_segmentation(outputs, target_sizes=[(50, 75)] * 2)
    # One image of a batch that a larger one made wider: its own size does not tell, so it is said.
    wide = SimpleNamespace(logits=F.pad(logits, (0, 8)))
    places = {"target_sizes": [(50, 75)], "image_sizes": [(40, 60)], "padded_size": (48, 96)}
    assert (processor.post_process_semantic_segmentation(wide, **places)[0] == 1).all()
