# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pascal VOC with SBD, and Pascal Context with its 59 classes."""

import numpy as np
import pytest
from scipy.io import savemat

from hfseg.data import load_official
from hfseg.files.label_names import PASCAL_CONTEXT_59, PASCAL_CONTEXT_59_IDS, PASCAL_VOC
from official_files import SIZE, label, photo, rows_of, write


def test_voc(voc):
    dataset = load_official("pascal_voc", voc / "VOCdevkit")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 15, 20, 255))
    assert (dataset.id2label[0], dataset.id2label[15], dataset.id2label[20]) == ("background", "person", "tvmonitor")
    assert list(dataset.id2label.values()) == PASCAL_VOC
    assert load_official("pascal_voc", voc / "VOCdevkit/VOC2012", "val").names == ["2007_000033"]


def test_voc_with_sbd(voc):
    """SBD's own folders: VOC's label of an image wins, and VOC's validation images stay out."""
    sbd = voc / "VOCdevkit/VOCaug/dataset"
    for name, value in (("2007_000032", 3), ("2007_000033", 4), ("2008_000008", 5)):
        (sbd / "cls").mkdir(parents=True, exist_ok=True)
        savemat(sbd / f"cls/{name}.mat", {"GTcls": {"Segmentation": np.full(SIZE, value, np.uint8)}})
    write(sbd / "train.txt", "2007_000032\n2007_000033\n")
    write(sbd / "val.txt", "2008_000008\n")
    dataset = load_official("pascal_voc", voc / "VOCdevkit", "trainaug")
    assert dataset.names == ["2007_000032", "2008_000008"]
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 15, 20, 255))
    np.testing.assert_array_equal(dataset[1]["segmentation_map"], np.full(SIZE, 5))
    (sbd / "cls/2008_000008.mat").write_bytes(b"MATLAB 5.0 but not quite")
    with pytest.raises(ValueError, match=r"2008_000008\.mat is truncated or damaged"):
        dataset[1]


def test_voc_with_prepared_sbd(voc):
    base = voc / "VOCdevkit/VOC2012"
    label(base / "SegmentationClassAug/2008_000008.png", rows_of(5, 5, 5, 255))
    write(base / "ImageSets/Segmentation/aug.txt", "2008_000008\n")
    dataset = load_official("pascal_voc", base, "trainaug")
    assert dataset.names == ["2007_000032", "2008_000008"]
    assert dataset[1]["segmentation_map"][0, 0] == 5


def test_pascal_context(tmp_path):
    base = tmp_path / "VOC2010"
    photo(base / "JPEGImages/2008_000002.jpg")
    (base / "trainval").mkdir()
    # aeroplane, tvmonitor, an infrequent class, unlabeled
    savemat(base / "trainval/2008_000002.mat", {"LabelMap": rows_of(2, 427, 1, 0).astype(np.uint16)})
    write(base / "pascalcontext_val.txt", "2008_000002\n")
    write(base / "labels.txt", "".join(f"{k}: name {k}\n" for k in range(1, 460)))
    dataset = load_official("pascal_context_59", tmp_path, "val")
    tv = PASCAL_CONTEXT_59.index("tvmonitor")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, tv, 255, 255))
    # the converted maps number the frequent ids from 1 in ascending order
    converted = 1 + sorted(PASCAL_CONTEXT_59_IDS).index(427)
    label(base / "SegmentationClassContext/2008_000002.png", rows_of(1, converted, 0, 0))
    again = load_official("pascal_context_59", tmp_path, "val")
    np.testing.assert_array_equal(again[0]["segmentation_map"], rows_of(0, tv, 255, 255))
    assert sorted(PASCAL_CONTEXT_59) == PASCAL_CONTEXT_59 and len(again.id2label) == 59
    full = load_official("pascal_context_459", tmp_path, "val")
    np.testing.assert_array_equal(full[0]["segmentation_map"], rows_of(1, 426, 0, 65535))
    assert full.id2label[426] == "name 427" and full.ignore_index == 65535
