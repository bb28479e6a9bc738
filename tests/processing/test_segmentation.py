# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One way from images to a batch: backends give hooks only, settings are declared once, padding and targets fit."""

import numpy as np
import pytest
import torch

from hfseg import auto
from hfseg.processing.pil_backend import SemanticImageProcessorPil, UniversalImageProcessorPil
from hfseg.processing.segmentation import SegmentationProcessing, place, sizes_of
from hfseg.processing.torchvision_backend import SemanticImageProcessor, UniversalImageProcessor

TWINS = [(UniversalImageProcessor, UniversalImageProcessorPil), (SemanticImageProcessor, SemanticImageProcessorPil)]


@pytest.mark.parametrize("row", [row for row in auto.ARCHITECTURES if row.config], ids=lambda row: row.model_type)
def test_twins_share_all_that_touches_no_pixel(row):
    one, other = (auto.load(row.image_processors[backend]) for backend in ("torchvision", "pil"))
    assert other.__name__ == f"{one.__name__}Pil"
    assert one.valid_kwargs is other.valid_kwargs
    assert issubclass(one, SegmentationProcessing) and issubclass(other, SegmentationProcessing)
    for method in ("_preprocess", "preprocess", "process_image", "make_targets", "pad_images", "scale_images"):
        assert getattr(one, method) is getattr(other, method), method


@pytest.mark.parametrize("twins", TWINS, ids=("universal", "semantic"))
@pytest.mark.parametrize("do_pad", [True, False])
def test_images_lie_at_the_top_left_of_zeros(twins, do_pad):
    images = [np.full((20, 30, 3), 200, dtype=np.uint8), np.full((40, 25, 3), 90, dtype=np.uint8)]
    for cls in twins:
        processor = cls(do_resize=False, do_pad=do_pad, size_divisor=16)
        values = processor(images, return_tensors="pt" if do_pad else None)["pixel_values"]
        if not do_pad:
            assert sizes_of(values) == [(20, 30), (40, 25)]
            continue
        assert values.shape == (2, 3, 48, 32)
        assert (
            (values[0, :, 20:] == 0).all() and (values[0, :, :, 30:] == 0).all() and (values[0, :, :20, :30] != 0).all()
        )


@pytest.mark.parametrize("twins", TWINS, ids=("universal", "semantic"))
def test_targets_follow_their_images(twins):
    image, class_map = np.zeros((20, 30, 3), dtype=np.uint8), np.ones((20, 30), dtype=np.uint8)
    for cls in twins:
        batch = cls(do_resize=False, size_divisor=16)(image, class_map, return_tensors="pt")
        if "labels" in batch:
            assert batch["labels"].shape == (1, 32, 32) and (batch["labels"][0, :20, :30] == 1).all()
            assert (batch["labels"][0, 20:] == 255).all()
        else:
            assert batch["mask_labels"][0].sum() == 600 and batch["class_labels"][0].tolist() == [1]
        with pytest.raises(ValueError, match="The list of images is empty"):
            cls()([])


def test_place_returns_the_canvas():
    canvas = torch.zeros(2, 1, 3, 4)
    assert place([torch.ones(1, 2, 2), torch.ones(1, 1, 4)], canvas) is canvas
    assert canvas.sum((1, 2, 3)).tolist() == [4, 4] and canvas[0, 0, 2].sum() == 0


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
def test_views_and_orders_of_bytes(backend):
    """Flipped views, as augmentations give them, and big-endian pixels are the same image."""
    from hfseg import VPNeXtImageProcessor, VPNeXtImageProcessorPil

    processor = (VPNeXtImageProcessor if backend == "torchvision" else VPNeXtImageProcessorPil)(do_resize=False)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    labels = pixels[..., 0] % 3
    expected = processor(pixels[:, ::-1].copy(), labels[:, ::-1].copy(), return_tensors="pt")
    for image, classes in (
        (pixels[:, ::-1], labels[:, ::-1]),
        (pixels[:, ::-1].astype(">f8"), labels[:, ::-1].astype(">u2")),
    ):
        batch = processor(image, classes, return_tensors="pt")
        torch.testing.assert_close(batch["pixel_values"], expected["pixel_values"])
        assert torch.equal(batch["labels"], expected["labels"])


@pytest.mark.parametrize("row", [row for row in auto.ARCHITECTURES if row.config], ids=lambda row: row.model_type)
@pytest.mark.parametrize("pil", [False, True], ids=["torchvision", "pil"])
def test_values_that_are_not_scaled_by_255_are_refused(row, pil):
    """Already scaled, deep, negative: each would get an answer, and another from each backend."""
    processor = auto.load(row.image_processors["pil" if pil else "torchvision"])()
    fractions = np.random.default_rng(0).random((32, 48, 3), dtype=np.float32)
    if not processor.do_rescale:  # intensities of scans are normalized by their own statistics
        assert processor(fractions, return_tensors="pt")["pixel_values"].isfinite().all()
        return
    for image in (fractions, torch.from_numpy(fractions).movedim(-1, 0)):
        with pytest.raises(ValueError, match="do_rescale=False"):
            processor(image, return_tensors="pt")
        scaled = processor(image, do_rescale=False, return_tensors="pt")["pixel_values"]
        bright = processor(image * 255, return_tensors="pt")["pixel_values"]
        assert (scaled - bright).abs().max() < 0.05  # Pillow rounds to 8 bits on the way
    for image in (-fractions * 9, fractions * 256 + 1, np.full((32, 48, 3), 40_000), np.full((32, 48, 3), -1)):
        with pytest.raises(ValueError, match="must be between 0 and 255"):
            processor(image, return_tensors="pt")
    for image in (np.zeros((32, 48, 3), np.float32), np.ones((32, 48, 3), np.float32), np.full((32, 48, 3), 255.0)):
        processor(image, return_tensors="pt")  # black is black, and white may be said in floats


@pytest.mark.parametrize("twins", TWINS, ids=("universal", "semantic"))
def test_arrays_that_are_no_images(twins):
    for cls in twins:
        processor = cls(do_resize=False, size_divisor=1)
        with pytest.raises(ValueError, match="neither 1, 3 nor 4 channels"):
            processor(np.zeros((20, 30, 2), dtype=np.uint8))
        with pytest.raises(ValueError, match="holds complex64, not numbers"):
            processor(np.zeros((20, 30, 3), dtype=np.complex64))
        mask = np.zeros((20, 30, 3), dtype=bool)
        mask[4:9, 5:20] = True
        white = processor(mask * np.uint8(255), return_tensors="pt")["pixel_values"]
        for image in (mask, torch.from_numpy(mask).movedim(-1, 0)):
            assert torch.equal(processor(image, return_tensors="pt")["pixel_values"], white)
