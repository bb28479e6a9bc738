# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading of volumes from arrays and MONAI's tensors."""

import numpy as np
import pytest

from hfseg.volumes import read_volume


def test_arrays_need_spacing():
    with pytest.raises(ValueError, match="without spacing"):
        read_volume(np.zeros((2, 3, 4)))
    assert read_volume(np.zeros((2, 3, 4)), spacing=(1, 2, 3)).spacing == (1, 2, 3)
    with pytest.raises(TypeError, match="int"):
        read_volume(3)


def test_metatensors_become_plain(tmp_path):
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("monai.data")
    meta = data.MetaTensor(torch.arange(24.0).reshape(2, 3, 4), affine=torch.diag(torch.tensor([-2.0, 1, 1, 1])))
    volume = read_volume(meta)
    assert type(volume.voxels) is np.ndarray and volume.spacing == (2, 1, 1)
    np.testing.assert_array_equal(volume.voxels, meta.numpy()[::-1])
