# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables on disk as folders: a share is held out of a table without splits, each row on one side only."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.samples import HeldOut
from hfseg.data.readers.table_folders import load_table_folder


def write_table(path, rows=10):
    """Row n has an image of gray level 10 n."""
    images = [Image.fromarray(np.full((8, 8, 3), 10 * row, np.uint8)) for row in range(rows)]
    labels = [Image.fromarray(np.full((8, 8), row % 2, np.uint8)) for row in range(rows)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    table.save_to_disk(str(path))
    return path


def grays(dataset):
    return sorted(int(np.asarray(dataset[index]["image"])[0, 0, 0]) for index in range(len(dataset)))


def test_each_row_is_on_one_side(tmp_path):
    path = write_table(tmp_path / "table")
    sides = {split: grays(load_table_folder(path, split, HeldOut(0.3, 1))) for split in ("train", "validation")}
    assert sorted(sides["train"] + sides["validation"]) == [10 * row for row in range(10)]
    assert len(sides["validation"]) == 3
    assert grays(load_table_folder(path, None, HeldOut())) == [10 * row for row in range(10)]


def test_damage_is_named(tmp_path):
    path = write_table(tmp_path / "table")
    for file in path.glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="looks like a table"):
        load_table_folder(path, None, HeldOut())
