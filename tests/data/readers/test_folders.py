# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Readers of local datasets: every layout comes back as written, and every fault is named with its file and fix."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.readers.folders import list_splits, load_folder
from hfseg.data.synthetic.shapes import CATEGORIES
from hfseg.training.quickstart import tiny_recipe
from scene_folders import expected_map, save, scene


def test_semantic_folder(semantic):
    train, validation = load_folder(semantic, "train"), load_folder(semantic, "validation")
    assert (len(train), len(validation), len(load_folder(semantic))) == (4, 2, 6)
    assert list_splits(semantic) == ["train", "val"] and train.kind == "semantic"
    assert train.id2label == {k: c["name"] for k, c in enumerate(CATEGORIES)} and train.ignore_index == 10
    assert train.stuff_class_ids == tuple(range(10)) and validation.names == ["s4", "s5"]
    for position, index in enumerate(range(4)):
        np.testing.assert_array_equal(train[position]["segmentation_map"], expected_map(index))
        if index % 3 != 2:
            np.testing.assert_array_equal(train[position]["image"], scene(index).image)
    assert "folder train" in repr(train) and pickle.loads(pickle.dumps(train))[0]["image_id"] == "s0"
    loader = torch.utils.data.DataLoader(train, 2, collate_fn=UniversalCollator(10, num_labels=10), num_workers=1)
    batches = list(loader)
    assert len(batches) == 2 and batches[0]["pixel_values"].shape == (2, 3, 32, 64)


# ---------------------------------------------------------------------------------------------------------------------
# Faults
# ---------------------------------------------------------------------------------------------------------------------


def fails(error, words, *arguments, **options):
    with pytest.raises(error) as caught:
        load_folder(*arguments, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message


def test_nothing_there(tmp_path):
    fails(FileNotFoundError, ["nowhere", "does not exist", "images/<split>/"], tmp_path / "nowhere")
    fails(ValueError, ["nothing", "labels/", "annotations/*.json"], tmp_path)
    (tmp_path / "readme.md").write_text("x")
    fails(ValueError, ["readme.md", "images/<split>/"], tmp_path)
    fails(ValueError, ["readme.md", "not a COCO json"], tmp_path / "readme.md")


def test_label_of_another_size(semantic):
    save(semantic / "labels/train/s2.png", np.zeros((5, 6), np.uint8))
    fails(ValueError, ["s2.png", "(5, 6)", "(32, 40)", "nearest"], semantic, "train")


def test_truncated_and_false_images(semantic):
    file = semantic / "images/train/s0.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"s0.png. is truncated or damaged"):
        load_folder(semantic, "train")[0]
    file.write_bytes(b"not an image")
    fails(ValueError, ["s0.png", "not an image"], semantic, "train")


def test_decompression_bomb(semantic, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"s0.png. is larger than the limit"):
        load_folder(semantic, "train")[0]


def test_a_folder_can_stretch_the_contrast(tmp_path):
    write_image = Image.fromarray(np.full((8, 8, 3), 3, dtype=np.uint8))
    write_image.putpixel((0, 0), (9, 9, 9))
    for kind in ("images", "instances"):
        (tmp_path / kind / "train").mkdir(parents=True)
    write_image.save(tmp_path / "images/train/a.png")
    Image.fromarray(np.eye(8, dtype=np.uint16)).save(tmp_path / "instances/train/a.png")
    assert load_folder(tmp_path, "train")[0]["image"].max() == 9
    image = load_folder(tmp_path, "train", stretch_contrast=True)[0]["image"]
    assert image.max() == 255 and image.min() == 0
    assert tiny_recipe("proscale", str(tmp_path)) == "proscale-tiny-instances"
    assert tiny_recipe("proscale", None) == "proscale-tiny-shapes"
