# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A small ADE20K of six images, for faults."""

import numpy as np
from PIL import Image

from hfseg.data import load_official

SIZE = (4, 6)


NAMES = [f"ADE_train_{k:08d}" for k in range(6)]


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)


def load(root):
    return load_official("ade20k_semantic", root)
