# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of this folder."""

import numpy as np
import pytest
from PIL import Image

from official_files import photo, rows_of, write


def palette_label(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
    image.putpalette(list(range(256)) * 3)
    image.save(path)


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / "VOCdevkit/VOC2012"
    for name in ("2007_000032", "2007_000033", "2008_000008"):
        photo(base / "JPEGImages" / f"{name}.jpg")
    palette_label(base / "SegmentationClass/2007_000032.png", rows_of(0, 15, 20, 255))
    palette_label(base / "SegmentationClass/2007_000033.png", rows_of(1, 1, 255, 0))
    write(base / "ImageSets/Segmentation/train.txt", "2007_000032\n")
    write(base / "ImageSets/Segmentation/val.txt", "2007_000033\n")
    return tmp_path
