# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folders that cannot be read are called by what they hold."""

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.unrecognized import describe

FILES = {
    "Annotations/a.xml JPEGImages/a.jpg": "Pascal VOC for detection",
    "shard-0.tar": "tar shards",
    "data.parquet": "a table of the library datasets",
    "scan.nii.gz": "medical volumes",
    "imagesTr/a.png labelsTr/a.png": "nnU-Net or Decathlon folder without dataset.json",
    "notes.json": "holds notes.json: a COCO json is given by its own path",
    "train/a.png val/b.png": "images without labels",
    "cats/a.png dogs/b.png": "one folder per class",
    "a.png": "images without labels",
    "readme.txt": "",
}


@pytest.mark.parametrize("files", FILES)
def test_a_folder_is_called_by_what_it_holds(files, tmp_path):
    for name in files.split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
        else:
            path.write_text("{}")
    said = describe(tmp_path)
    assert FILES[files] in said and bool(said) == bool(FILES[files])
