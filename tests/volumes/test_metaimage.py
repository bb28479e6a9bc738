# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MetaImage: a volume lies where its header says."""

import zlib

import numpy as np
import pytest

from hfseg.volumes import read_meta_image, read_volume


@pytest.mark.parametrize("local, compressed", [(True, False), (False, True)])
def test_meta_image_lies_where_its_header_says(tmp_path, local, compressed):
    voxels = np.random.default_rng(0).integers(-900, 900, (4, 5, 6)).astype("<i2")
    raw = voxels.tobytes(order="F")
    raw = zlib.compress(raw) if compressed else raw
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {compressed}\nTransformMatrix = 0 1 0 1 0 0 0 0 1\nOffset = 1 2 3\n"
        "ElementSpacing = 0.5 0.7 3\nDimSize = 4 5 6\nElementType = MET_SHORT\n"
        f"ElementDataFile = {'LOCAL' if local else 'scan.zraw'}\n"
    ).encode()
    path = tmp_path / "scan.mhd"
    path.write_bytes(header + (raw if local else b""))
    if not local:
        with pytest.raises(FileNotFoundError, match=r"scan\.zraw"):
            read_meta_image(path)
        (tmp_path / "scan.zraw").write_bytes(raw)
    volume = read_volume(path, "CT")
    # The first stored axis runs along y, the second along x; voxel (1, 2, 3) lies at x = 1 + 2 * 0.7, y = 2 + 0.5.
    np.testing.assert_array_equal(volume.to_stored_order(volume.voxels), voxels)
    place = volume.stored_affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(place[:3], [-(1 + 1.4), -(2 + 0.5), 3 + 9])
    path.write_bytes(header + raw[:-3])
    if local:
        with pytest.raises(ValueError, match="truncated"):
            read_meta_image(path)
