# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE's image processors: the authors' resize and padding, targets as id maps, post-processing of outputs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hfseg.models.proscale.image_processing_pil_proscale import ProScaleImageProcessorPil
from proscale_inputs import BACKENDS, FIXTURES, backends, photo


@pytest.fixture(scope="module")
def golden():
    return load_file(FIXTURES / "resize.safetensors")


# ---------------------------------------------------------------------------------------------- images
@backends
@pytest.mark.parametrize(("shortest", "longest"), [(40, 60), (96, 110), (96, 160)])
def test_resize_equals_the_authors(golden, processor_class, shortest, longest):
    processor = processor_class(size={"shortest_edge": shortest, "longest_edge": longest})
    batch = processor(
        golden["resize_raw"].numpy(), do_rescale=False, do_normalize=False, size_divisor=1, return_tensors="pt"
    )
    difference = (batch["pixel_values"][0].permute(1, 2, 0).int() - golden[f"resize_{shortest}_{longest}"].int()).abs()
    if processor_class is ProScaleImageProcessorPil:
        assert difference.max() == 0
    else:
        assert difference.max() <= 1 and (difference > 0).float().mean() < 0.02


@backends
def test_normalization_and_padding_equal_the_authors(golden, processor_class):
    images = [golden["image_0"].numpy(), golden["image_1"].numpy()]
    batch = processor_class()(images, do_resize=False, return_tensors="pt")
    assert set(batch) == {"pixel_values"}
    torch.testing.assert_close(batch["pixel_values"], golden["pixel_values"], atol=2e-6, rtol=1e-5)


def test_backends_agree_and_give_the_same_keys():
    images = [Image.fromarray(photo(50, 70)), Image.fromarray(photo(90, 40))]
    maps = [np.arange(50 * 70).reshape(50, 70) % 5, np.full((90, 40), 255)]
    first, second = (
        cls(size={"shortest_edge": 64, "longest_edge": 100})(images, maps, return_tensors="pt") for cls in BACKENDS
    )
    assert set(first) == set(second) == {"pixel_values", "mask_labels", "class_labels"}
    assert first["pixel_values"].shape == second["pixel_values"].shape == (2, 3, 128, 96)
    assert (first["pixel_values"] - second["pixel_values"]).abs().max() <= 1.01 / 255 / 0.224
    for name in ("mask_labels", "class_labels"):
        for one, other in zip(first[name], second[name]):
            assert torch.equal(one, other) and one.dtype == other.dtype


@backends
@pytest.mark.parametrize("tensor_type", [None, "pt", "np"])
def test_batches_of_different_sizes_in_every_form(processor_class, tensor_type):
    images = [photo(20, 30), photo(33, 20)]
    batch = processor_class(size={"shortest_edge": 20, "longest_edge": 40})(images, return_tensors=tensor_type)
    assert tuple(batch["pixel_values"].shape) == (2, 3, 64, 32)
    assert not batch["pixel_values"][0, :, 20:].any()


@backends
def test_without_padding_images_stay_apart(processor_class):
    values = processor_class(size={"shortest_edge": 20, "longest_edge": 40})(
        [photo(20, 30), photo(40, 20)], do_pad=False
    )["pixel_values"]
    assert [tuple(value.shape) for value in values] == [(3, 20, 30), (3, 40, 20)]


@backends
def test_fixed_pad_size(processor_class):
    processor = processor_class(do_resize=False)
    batch = processor(photo(20, 30), pad_size={"height": 48, "width": 40}, return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 48, 40)
    with pytest.raises(ValueError, match="smaller than the resized batch of 20 x 30"):
        processor(photo(20, 30), pad_size={"height": 8, "width": 40})


@backends
def test_save_and_load_keep_everything(processor_class, tmp_path):
    processor = processor_class(label_ids_to_fuse=[3, 4], threshold=0.35, ignore_index=0, do_reduce_labels=True)
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "ProScaleImageProcessor"
    assert saved["label_ids_to_fuse"] == [3, 4] and saved["threshold"] == 0.35
    loaded = processor_class.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict() and loaded.ignore_index == 0 and loaded.do_reduce_labels is True


# ---------------------------------------------------------------------------------------------- targets


# ---------------------------------------------------------------------------------------------- outputs
