# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation: what goes in comes out, in the model's form; wrong examples are refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.data.collators.collation import IMAGENET_MEAN, IMAGENET_STD, UniversalCollator
from hfseg.data.synthetic.shapes import ShapesDataset, load_shapes
from hfseg.data.transforms import instance_training_transforms


def decode(batch, position, height, width):
    """Image and class map (-1 = void) back from a batch."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    image = ((batch["pixel_values"][position, :, :height, :width] * std + mean) * 255).round().to(torch.uint8)
    table = torch.cat([torch.tensor([-1]), batch["class_labels"][position]])
    return image.permute(1, 2, 0).numpy(), table[batch["mask_labels"][position].long()].numpy()


def test_scenes_of_two_sizes_come_back_and_padding_is_empty():
    examples = [ShapesDataset(image_size=(48, 70))[3], ShapesDataset(image_size=(65, 40))[1]]
    batch = UniversalCollator(num_labels=10)(examples)
    assert batch["pixel_values"].shape == (2, 3, 96, 96) and batch["pixel_values"].dtype == torch.float32
    for position, example in enumerate(examples):
        height, width = example["segmentation"].shape
        image, classes = decode(batch, position, height, width)
        np.testing.assert_array_equal(image, example["image"])
        category = {s["id"]: s["category_id"] for s in example["segments_info"]}
        expected = np.vectorize(category.get)(example["segmentation"])
        np.testing.assert_array_equal(classes[:height, :width], expected)
        labels = batch["mask_labels"][position]
        assert labels.dtype == torch.int32 and batch["class_labels"][position].dtype == torch.int64
        assert labels.unique().tolist() == list(range(len(example["segments_info"]) + 1))  # 0 is the padding
        # Instances stay apart: the two maps cut the image into the same pieces.
        pairs = set(zip(labels[:height, :width].ravel().tolist(), example["segmentation"].ravel().tolist()))
        assert len(pairs) == len(example["segments_info"])
        assert (labels[height:] == 0).all() and (labels[:, width:] == 0).all()
        assert (batch["pixel_values"][position, :, height:] == 0).all()
        assert (batch["pixel_values"][position, :, :, width:] == 0).all()


def test_hugging_face_rows_give_the_same_batch():
    rows, scenes = load_shapes(num_scenes=2, image_size=(64, 64)), ShapesDataset(num_scenes=2, image_size=(64, 64))
    first = UniversalCollator()([rows[0], rows[1]])
    second = UniversalCollator()([scenes[0], scenes[1]])
    assert torch.equal(first["pixel_values"], second["pixel_values"])
    for name in ("mask_labels", "class_labels"):
        assert all(torch.equal(a, b) for a, b in zip(first[name], second[name]))


def test_semantic_map_with_class_zero_and_void():
    image = np.zeros((2, 3, 3), np.uint8)
    example = {"image": Image.fromarray(image), "segmentation_map": Image.fromarray(np.uint8([[0, 0, 4], [11, 4, 11]]))}
    batch = UniversalCollator(ignore_index=11, size_divisor=1)([example])
    assert batch["class_labels"][0].tolist() == [0, 4]
    assert batch["mask_labels"][0].tolist() == [[1, 1, 2], [0, 2, 0]]


def test_crowd_and_void_are_dropped_and_ids_may_be_large():
    example = {
        "image": np.zeros((1, 4, 3), np.uint8),
        "segmentation": np.array([[0, 16777215, 70000, 5]]),
        "segments_info": [
            {"id": 16777215, "category_id": 2, "iscrowd": 0},
            {"id": 70000, "category_id": 1, "iscrowd": 1},
            {"id": 5, "category_id": 0, "iscrowd": 0},
            {"id": 6, "category_id": 3, "iscrowd": 0},
        ],
    }
    batch = UniversalCollator(size_divisor=1)([example])
    assert batch["mask_labels"][0].tolist() == [[0, 2, 0, 1]] and batch["class_labels"][0].tolist() == [0, 2]


def test_no_segment_at_all():
    example = {"image": np.zeros((2, 2, 3), np.uint8), "segmentation_map": np.full((2, 2), 255)}
    batch = UniversalCollator()([example])
    assert batch["class_labels"][0].shape == (0,) and batch["mask_labels"][0].unique().tolist() == [0]


def test_segments_pushed_out_by_the_crop_are_dropped():
    torch.manual_seed(0)
    collator = UniversalCollator(transforms=instance_training_transforms((32, 32), (2.5, 3.0)), num_labels=10)
    dataset = ShapesDataset(image_size=(96, 96))
    dropped = 0
    for index in range(12):
        batch = collator([dataset[index]])
        assert batch["pixel_values"].shape == (1, 3, 32, 32)
        present = [k for k in batch["mask_labels"][0].unique().tolist() if k]
        assert present == list(range(1, len(batch["class_labels"][0]) + 1))
        dropped += len(dataset[index]["segments_info"]) - len(present)
    assert dropped > 0


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_image_mode(mode):
    image = Image.fromarray(np.full((3, 3, 3), 200, np.uint8)).convert(mode)
    batch = UniversalCollator(size_divisor=1)([{"image": image, "segmentation_map": np.zeros((3, 3), int)}])
    decoded, _ = decode(batch, 0, 3, 3)
    assert decoded.shape == (3, 3, 3) and (mode == "1" or abs(int(decoded[0, 0, 0]) - 200) <= 6)


def test_sixteen_bit_gray_is_scaled_not_clipped():
    image = Image.fromarray(np.uint16([[0, 32896, 65535]]))
    batch = UniversalCollator(size_divisor=1)([{"image": image, "segmentation_map": np.zeros((1, 3), int)}])
    assert decode(batch, 0, 1, 3)[0][0, :, 0].tolist() == [0, 128, 255]


IMAGE = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    "example, words",
    [
        ({"image": IMAGE}, ["example 0", "segmentation_map"]),
        ({"segmentation_map": np.zeros((2, 2), int)}, ["example 0", "'image'"]),
        ({"image": IMAGE, "segmentation_map": np.zeros((2, 3), int)}, ["(2, 2)", "(2, 3)"]),
        ({"image": IMAGE, "segmentation": np.ones((2, 2), int), "segments_info": []}, ["[1]", "segments_info"]),
        ({"image": IMAGE, "segmentation_map": np.full((2, 2), 7)}, ["[7]", "0 to 4"]),
        ({"image": IMAGE, "segmentation_map": np.zeros((2, 2))}, ["float64"]),
        ({"image": IMAGE, "segmentation_map": Image.new("RGB", (2, 2), "red")}, ["RGB (255, 0, 0)", "PNG"]),
        ({"image": np.full((2, 2, 3), np.nan), "segmentation_map": np.zeros((2, 2), int)}, ["finite"]),
        ({"image": np.zeros((2, 2, 5)), "segmentation_map": np.zeros((2, 2), int)}, ["(2, 2, 5)"]),
    ],
)
def test_errors(example, words):
    with pytest.raises(ValueError) as error:
        UniversalCollator(num_labels=5)([example])
    assert all(word in str(error.value) for word in words), str(error.value)


def test_empty_batch_and_no_image():
    with pytest.raises(ValueError, match="empty"):
        UniversalCollator()([])
    with pytest.raises(TypeError, match="str"):
        UniversalCollator()([{"image": "photo.jpg", "segmentation_map": np.zeros((2, 2), int)}])
