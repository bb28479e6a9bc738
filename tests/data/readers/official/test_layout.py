# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Faults of official folders: each is named with its file, what was expected and what was found."""

import shutil

import numpy as np
import pytest

from small_ade20k import NAMES, SIZE, load, save


@pytest.fixture
def ade20k(tmp_path):
    for k, name in enumerate(NAMES):
        save(tmp_path / f"images/training/{name}.jpg", np.full((*SIZE, 3), 40 * k))
        save(tmp_path / f"annotations/training/{name}.png", np.full(SIZE, k))
    return tmp_path


def test_missing_folders_are_all_named_with_what_is_there(ade20k):
    shutil.rmtree(ade20k / "images")
    shutil.rmtree(ade20k / "annotations")
    (ade20k / "sceneCategories.txt").touch()
    with pytest.raises(FileNotFoundError) as caught:
        load(ade20k)
    for part in ("images/training (images)", "annotations/training (class maps)", "holds sceneCategories.txt"):
        assert part in str(caught.value)


def test_missing_labels_are_counted(ade20k):
    for name in NAMES[:2]:
        (ade20k / f"annotations/training/{name}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 6 labels of ADE20K train are missing, 4 were found: .*00000000"):
        load(ade20k)


def test_no_usable_sample(ade20k):
    for name in NAMES:
        (ade20k / f"images/training/{name}.jpg").unlink()
    with pytest.raises(ValueError, match=r"holds no image.*0 usable samples"):
        load(ade20k)


def test_size_mismatch(ade20k):
    save(ade20k / f"annotations/training/{NAMES[3]}.png", np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"00000003\.png has size \(4, 5\) \(height, width\) but its image .*\(4, 6\)"):
        load(ade20k)


def test_class_outside_the_table(ade20k):
    save(ade20k / f"annotations/training/{NAMES[3]}.png", np.full(SIZE, 151))
    with pytest.raises(
        ValueError, match=r"00000003\.png holds the label value\(s\) \[151\]; must be one of the 150 classes"
    ):
        load(ade20k)[3]
