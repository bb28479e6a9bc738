# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of tables: files as they are, damage named once, a key that changes with the files."""

import dataclasses
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from data.layout_folders import split_first
from hfseg.data import load_folder, load_shapes, to_datasets
from hfseg.data.readers.table_rows import Rows, encoded_image, generate, rows_of
from hfseg.data.synthetic.shapes import ShapesDataset


def test_images_keep_their_bytes_unless_they_would_be_turned(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (("plain", {}), ("turned", {"exif": exif})):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", **options)
    plain = tmp_path / "plain.png"
    assert encoded_image(plain, pixels) == {"bytes": plain.read_bytes(), "path": "plain.png"}
    assert encoded_image(plain.read_bytes(), pixels)["bytes"] == plain.read_bytes()
    cell = encoded_image(tmp_path / "turned.png", pixels)  # the label was drawn on the image as stored
    shown = datasets.Image().decode_example(cell)
    np.testing.assert_array_equal(np.asarray(shown), pixels)


def test_scenes_are_those_of_load_shapes():
    table, made = load_shapes("train", 2, (40, 40)), to_datasets(ShapesDataset("train", 2, (40, 40)), streaming=True)
    for one, other in zip(table, made):
        assert one["segments_info"] == other["segments_info"]
        np.testing.assert_array_equal(np.asarray(one["segmentation"]), np.asarray(other["segmentation"]))


def test_the_key_changes_with_the_files(tmp_path):
    split_first(tmp_path)
    rows = rows_of(load_folder(tmp_path, "train"))
    before = rows.state()
    assert rows.state() == before
    rows.dataset.files(0)[1].touch()
    assert rows.state() != before

    @dataclasses.dataclass
    class Reader:
        places: list

        def __len__(self):
            return 1

    other = Rows(Reader([{"folder": tmp_path}]))  # a folder counts with all that is in it
    before = other.state()
    (Path(tmp_path) / "train" / "new.txt").write_text("x")
    assert other.state() != before


def test_damage_is_counted(caplog):
    class Damaged(Rows):
        def row(self, index):
            if index == 1:
                raise ValueError("torn")
            return None if index == 2 else {"n": index}

    rows = Damaged([0, 1, 2, 3])
    assert list(generate(rows, [range(4)], "", "skip")) == [{"n": 0}, {"n": 3}]
    assert "1 samples were left out: 1" in caplog.text
    with pytest.raises(ValueError, match="torn"):
        list(generate(rows, [range(4)], "", "stop"))


def test_readers_without_a_schema_are_refused():
    with pytest.raises(ValueError, match="list has the schema None; must be one of folder, shapes, referring, medical"):
        rows_of([1])
