# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of this folder."""

import json

import numpy as np
import pytest

from hfseg.data.synthetic.shapes import CATEGORIES
from scene_folders import save, scene


@pytest.fixture
def semantic(tmp_path):
    """Ten classes of shapes, with class 10 as void in a corner."""
    for split, indices in (("train", range(4)), ("val", range(4, 6))):
        for index in indices:
            label = scene(index).semantic_map().astype(np.uint8)
            label[:2, :2] = 10
            suffix = ("png", "webp", "jpg")[index % 3]
            options = {"lossless": True} if suffix == "webp" else {}
            save(tmp_path / "images" / split / f"s{index}.{suffix}", scene(index).image, **options)
            save(tmp_path / "labels" / split / f"s{index}.png", label)
    names = [category["name"] for category in CATEGORIES] + ["unlabeled"]
    (tmp_path / "classes.json").write_text(json.dumps({"names": names, "ignore_index": 10}))
    return tmp_path
