# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The Pillow backend: its resize is Pillow's, its numbers are by hand."""

import numpy as np
from PIL import Image

from hfseg.processing.pil_backend import SemanticImageProcessorPil, UniversalImageProcessorPil


def test_resizing_is_pillows_and_images_of_the_size_stay():
    processor = UniversalImageProcessorPil()
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 31), dtype=np.uint8)
    small, same = processor.resize_images([image, image], [(10, 12), (20, 31)], Image.Resampling.BILINEAR, None)
    expected = Image.fromarray(image.transpose(1, 2, 0)).resize((12, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small.transpose(1, 2, 0), np.asarray(expected))
    assert same is image


def test_pixels_are_rescaled_then_normalized():
    processor = UniversalImageProcessorPil()
    image = np.full((3, 2, 2), 51, dtype=np.uint8)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 0.1]
    (found,) = processor.normalize_images([image], True, 1 / 255, True, mean, std)
    np.testing.assert_allclose(found[:, 0, 0], [(0.2 - m) / s for m, s in zip(mean, std)], rtol=1e-5, atol=1e-6)
    (found,) = processor.normalize_images([image], True, 1 / 255, False, mean, std)
    np.testing.assert_allclose(found[:, 0, 0], [0.2] * 3, rtol=1e-5)
    (found,) = processor.normalize_images([image], False, 1 / 255, False, mean, std)
    assert found is image
    canvas = processor.filled(image, (3, 4, 5), 7)
    assert canvas.shape == (3, 4, 5) and canvas.dtype == np.uint8 and (canvas == 7).all()


def test_both_processors_pad_with_zeros_after_normalization():
    for processor_class in (UniversalImageProcessorPil, SemanticImageProcessorPil):
        processor = processor_class(do_resize=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        values = processor(np.zeros((30, 34, 3), np.uint8), return_tensors="np")["pixel_values"]
        assert (values[0, :, :30, :34] == -1).all()
        assert not values[0, :, 30:].any() and not values[0, :, :, 34:].any()
