# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Archives for the test server of Pascal VOC: places, palette, classes by name, nothing left out."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from hfseg.results.voc_submission import voc_palette, write_voc_submission


def result(folder, name, ids, classes, segments):
    Image.fromarray(ids.astype(np.uint16)).save(folder / f"{name}_ids.png")
    categories = [{"id": key, "name": label} for key, label in classes.items()]
    annotations = [{"id": key, "category_id": category} for key, category in segments.items()]
    (folder / f"{name}.json").write_text(json.dumps({"categories": categories, "annotations": annotations}))


def test_colors_are_those_of_the_development_kit():
    """As printed there: 1 aeroplane (128, 0, 0), 15 person (192, 128, 128), 20 monitor (0, 64, 128), 255 void."""
    colors = voc_palette()
    assert colors[[0, 1, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip
    assert len(np.unique(colors, axis=0)) == 256


def test_archive(tmp_path):
    ids = np.zeros((6, 8))
    ids[:3, :4], ids[3:] = 5, 2
    result(tmp_path, "2008_000006", ids, {0: "person", 7: "aeroplane", 3: "background"}, {5: 0, 2: 7})
    result(tmp_path, "2008_000011", np.zeros((4, 5)), {0: "person"}, {})
    file = write_voc_submission(tmp_path, ["2008_000006", "2008_000011"], tmp_path / "out" / "r.tgz")
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert names == [f"results/VOC2012/Segmentation/comp6_test_cls/2008_0000{k}.png" for k in ("06", "11")]
        image = Image.open(io.BytesIO(archive.extractfile(names[0]).read()))
        empty = Image.open(io.BytesIO(archive.extractfile(names[1]).read()))
    assert image.mode == "P" and image.size == (8, 6)
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[:3, :4], expected[3:] = 15, 1
    assert np.array_equal(np.asarray(image), expected) and not np.asarray(empty).any()
    assert np.asarray(image.convert("RGB"))[0, 0].tolist() == [192, 128, 128]
    file = write_voc_submission(tmp_path, ["2008_000006", "2008_000011"], tmp_path / "r.zip", "comp5")
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [name.replace("comp6", "comp5") for name in names]
        zipped = Image.open(io.BytesIO(archive.read(archive.namelist()[0])))
    assert zipped.mode == "P" and np.array_equal(np.asarray(zipped), expected)


def test_what_is_refused(tmp_path):
    result(tmp_path, "a", np.ones((4, 4)), {0: "road"}, {1: 0})
    with pytest.raises(ValueError, match="classes that Pascal VOC does not have: road"):
        write_voc_submission(tmp_path, ["a"], tmp_path / "r.tgz")
    with pytest.raises(FileNotFoundError, match="no result of image 'b'"):
        write_voc_submission(tmp_path, ["b"], tmp_path / "r.tgz")
    for arguments, message in (
        ((["a"], "r.rar"), "tar.gz"),
        (([], "r.tgz"), "list of images is empty"),
        ((["a"], "r.tgz", "comp7"), "comp5, comp6"),
    ):
        with pytest.raises(ValueError, match=message):
            write_voc_submission(tmp_path, arguments[0], tmp_path / arguments[1], *arguments[2:])
    assert not (tmp_path / "r.tgz").exists()
