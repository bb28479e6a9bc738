# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images beside label maps: colors, splits by lists and by a share, instance maps, turned images."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import load_folder
from scene_folders import SIZE, expected_map, save, scene


def test_color_labels_are_read_through_the_palette(semantic):
    palette = [[k * 20, 255 - k, k] for k in range(11)]
    content = json.loads((semantic / "classes.json").read_text()) | {"palette_rgb": palette}
    (semantic / "classes.json").write_text(json.dumps(content))
    save(semantic / "labels/train/s0.png", np.array(palette, np.uint8)[expected_map(0)])
    np.testing.assert_array_equal(load_folder(semantic, "train")[0]["segmentation_map"], expected_map(0))
    save(semantic / "labels/train/s0.png", np.full((*SIZE, 3), 7, np.uint8))
    with pytest.raises(ValueError, match=r"s0.png.*\(7, 7, 7\).*palette_rgb"):
        load_folder(semantic, "train")[0]


@pytest.fixture
def flat(tmp_path):
    for index in range(10):
        save(tmp_path / "images" / f"s{index}.png", scene(index).image)
        save(tmp_path / "masks" / f"s{index}.png", scene(index).semantic_map().astype(np.uint8))
    return tmp_path


def test_flat_folder_is_divided_by_name_and_seed(flat):
    train, validation = load_folder(flat, "train"), load_folder(flat, "val")
    assert len(train) == 8 and len(validation) == 2 and not set(train.names) & set(validation.names)
    assert "20%" in train.split_note and "seed 0" in train.split_note
    assert load_folder(flat, "validation").names == validation.names
    others = {tuple(load_folder(flat, "val", seed=seed).names) for seed in range(8)}
    assert len(others) > 4
    assert len(load_folder(flat, "val", validation_fraction=0.5)) == 5 and len(load_folder(flat)) == 10
    with pytest.raises(ValueError, match=r"'test'.*only train and validation"):
        load_folder(flat, "test")


def test_split_lists(flat):
    (flat / "train.txt").write_text("s3\ns1.png\n\n")
    (flat / "val.txt").write_text("s9\n")
    assert load_folder(flat, "train").names == ["s3", "s1"] and load_folder(flat, "validation").names == ["s9"]
    (flat / "val.txt").write_text("s9\nmissing\n")
    with pytest.raises(ValueError, match=r"val.txt.*missing"):
        load_folder(flat, "val")


def test_instance_folder(tmp_path):
    ids = np.zeros(SIZE, np.uint16)
    ids[2:6, 3:9], ids[10:20, 10:12] = 7, 40000
    rgba = np.dstack([scene(0).image, np.full(SIZE, 255, np.uint8)])
    save(tmp_path / "images/train/a.png", rgba)
    save(tmp_path / "instances/train/a.png", ids)
    dataset = load_folder(tmp_path, "train")
    assert (dataset.kind, dataset.id2label, dataset.stuff_class_ids) == ("instance", {0: "object"}, ())
    example = dataset[0]
    np.testing.assert_array_equal(example["segmentation"], ids)
    np.testing.assert_array_equal(example["image"], scene(0).image)
    assert example["segments_info"] == [
        {"id": 7, "category_id": 0, "iscrowd": 0, "area": 24, "bbox": [3, 2, 6, 4]},
        {"id": 40000, "category_id": 0, "iscrowd": 0, "area": 20, "bbox": [10, 10, 2, 10]},
    ]
    (tmp_path / "classes.json").write_text('["nucleus"]')
    assert load_folder(tmp_path).id2label == {0: "nucleus"}
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with pytest.raises(ValueError, match=r"classes.json names 2 classes"):
        load_folder(tmp_path)


def test_exif_rotated_images_are_upright_unless_the_label_says_otherwise(tmp_path):
    upright = scene(0).image
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    stored = np.ascontiguousarray(np.rot90(upright))
    label = scene(0).semantic_map().astype(np.uint8)
    save(tmp_path / "images/turned.png", stored, exif=exif)
    save(tmp_path / "labels/turned.png", label)
    np.testing.assert_array_equal(load_folder(tmp_path)[0]["image"], upright)
    save(tmp_path / "labels/turned.png", np.ascontiguousarray(np.rot90(label)))
    np.testing.assert_array_equal(load_folder(tmp_path)[0]["image"], stored)


def fails(error, words, *arguments, **options):
    with pytest.raises(error) as caught:
        load_folder(*arguments, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message


def test_labels_without_images_and_images_without_labels(semantic, tmp_path):
    (semantic / "labels/train/s1.png").unlink()
    fails(ValueError, ["1 of 4", "s1", "labels/train"], semantic, "train")
    assert len(load_folder(semantic, "val")) == 2
    for file in (semantic / "images/val").iterdir():
        file.unlink()
    fails(ValueError, ["images/val", "no image", ".jpg"], semantic, "val")
    fails(ValueError, ["'test'", "train, val"], semantic, "test")


def test_missing_image_or_label_folder(tmp_path):
    (tmp_path / "labels").mkdir()
    fails(FileNotFoundError, ["images", "does not exist"], tmp_path)
    save(tmp_path / "images/train/a.png", scene(0).image)
    fails(FileNotFoundError, ["labels/train", "1 images"], tmp_path, "train")


def test_two_images_of_one_name(semantic):
    save(semantic / "images/train/s2.png", scene(2).image)
    fails(ValueError, ["s2.jpg", "s2.png", "same name"], semantic, "train")


def test_color_label_without_palette(semantic):
    color = np.zeros((*SIZE, 3), np.uint8)
    color[1, 2] = (255, 0, 0)
    save(semantic / "labels/train/s0.png", color)
    with pytest.raises(ValueError, match=r"s0.png is a color image"):
        load_folder(semantic, "train")[0]
