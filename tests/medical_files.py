# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes with masks in a folder."""

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel")


NAMES = {0: "background", 1: "anterior", 2: "posterior"}


def write(path, array, spacing=(1.0, 1.0, 3.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_pair(root, name, split="train", slices=6, full=(2, 3), value=1, image=None):
    """One MR volume whose mask holds foreground in some slices."""
    voxels = np.random.default_rng(len(name)).integers(1, 900, (10, 8, slices)).astype(np.int16)
    mask = np.zeros((10, 8, slices), dtype=np.uint8)
    for place in full:
        mask[3:6, 2:5, place] = value
    write(root / "images" / split / f"{name}.nii.gz", voxels if image is None else image)
    write(root / "labels" / split / f"{name}.nii.gz", mask)
