# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Open Images V7: masks per object, and which classes were looked for."""

import csv

import numpy as np
import pytest

from hfseg.data import load_official
from hfseg.data.collators.collation import UniversalCollator
from official_files import by_class, label, photo, write


@pytest.fixture
def open_images(tmp_path):
    photo(tmp_path / "validation/abc.jpg", (8, 12))
    first, second = np.zeros((4, 6)), np.zeros((4, 6))
    first[:, :4], second[1, 1] = 255, 255
    label(tmp_path / "validation-masks/a/abc_m01_1.png", first)
    label(tmp_path / "validation-masks/a/abc_m02_2.png", second)
    columns = ["MaskPath", "ImageID", "LabelName", "BoxID"]
    table = [columns, ["abc_m02_2.png", "abc", "/m/02", "2"], ["abc_m01_1.png", "abc", "/m/01", "1"]]
    table.append(["gone_m01_1.png", "gone", "/m/01", "1"])
    with (tmp_path / "validation-annotations-object-segmentation.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    write(tmp_path / "class-descriptions-boxable.csv", "/m/01,Cat\n/m/02,Dog\n/m/03,Box\n")
    write(tmp_path / "classes-segmentation.txt", "/m/02\n/m/01\n")
    return tmp_path


def test_open_images(open_images, caplog):
    dataset = load_official("open_images", open_images, "validation")
    assert dataset.names == ["abc"] and dataset.id2label == {0: "Dog", 1: "Cat"}
    assert "1 images" in caplog.text
    expected = np.zeros((8, 12), dtype=int)  # masks have half the image's size
    expected[:, :8], expected[2:4, 2:4] = 1, 2
    item = dataset[0]
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert by_class(item) == {1: 1, 2: 0}


def test_open_images_knows_which_classes_were_looked_for(open_images):
    assert "verified_classes" not in load_official("open_images", open_images, "validation")[0]
    write(open_images / "classes-segmentation.txt", "/m/02\n/m/01\n/m/03\n/m/04\n")
    write(open_images / "class-descriptions-boxable.csv", "/m/01,Cat\n/m/02,Dog\n/m/03,Box\n/m/04,Hat\n")
    # A class that was looked for and is not there counts like one that is there; labels of boxes alone do not matter.
    rows = "ImageID,Source,LabelName,Confidence\nabc,verification,/m/03,0\nabc,verification,/m/99,1\n"
    write(open_images / "validation-annotations-human-imagelabels-boxable.csv", rows)
    dataset = load_official("open_images", open_images, "validation")
    assert dataset[0]["verified_classes"] == [0, 1, 2]
    batch = UniversalCollator(num_labels=4)([dataset[0]])
    assert batch["known_classes"].tolist() == [[True, True, True, False]]


def test_open_images_mask_of_another_image(open_images):
    label(open_images / "validation-masks/a/abc_m01_1.png", np.zeros((6, 4)))
    with pytest.raises(ValueError, match=r"abc_m01_1\.png has size \(6, 4\).* does not fit its image .*abc\.jpg"):
        load_official("open_images", open_images, "validation")[0]
    (open_images / "validation-masks/a/abc_m01_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 masks of images .*: abc_m01_1\.png; unpack all"):
        load_official("open_images", open_images, "validation")
    (open_images / "validation/abc.jpg").unlink()
    with pytest.raises(ValueError, match="0 usable samples"):
        load_official("open_images", open_images, "validation")
