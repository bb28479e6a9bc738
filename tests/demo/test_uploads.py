# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files that visitors send: volumes are refused before they are read, sound ones pass."""

import gzip
import struct
import subprocess
import sys
import zlib

import pytest

from tiny_zoo import volume_file

gradio = pytest.importorskip("gradio", reason="extra `demo`")


def nifti(dims, data=b"", bits=16, code=4, version=1) -> bytes:
    header = bytearray(352 if version == 1 else 544)
    if version == 1:
        header[:4] = struct.pack("<i", 348)
        header[40:56] = struct.pack("<8h", len(dims), *dims, *[1] * (7 - len(dims)))
        header[70:74], header[108:112] = struct.pack("<hh", code, bits), struct.pack("<f", 352)
        header[344:348] = b"n+1\0"
    else:
        header[:12] = struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n"
        header[12:16], header[16:80] = (
            struct.pack("<hh", code, bits),
            struct.pack("<8q", len(dims), *dims, *[1] * (7 - len(dims))),
        )
    return bytes(header) + data


def bomb(header: bytes, megabytes: int) -> bytes:
    stream = zlib.compressobj(9, wbits=31)
    parts = [stream.compress(header)]
    parts += [stream.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join([*parts, stream.flush()])


META = "ObjectType = Image\nNDims = 3\nDimSize = {}\nElementType = MET_SHORT\n{}ElementDataFile = LOCAL\n"

VOLUMES = {
    "header.nii": nifti((900, 900, 900)),
    "header.nii.gz": gzip.compress(nifti((900, 900, 900))),
    "second.nii.gz": gzip.compress(nifti((10**6, 10**6, 10**6), version=2)),
    "fourth.nii": nifti((100, 100, 100, 1000)),
    "bomb.nii.gz": bomb(nifti((10, 10, 10)), 600),
    "members.nii.gz": gzip.compress(nifti((10, 10, 10))) + bomb(b"", 600),
    "header.mha": META.format("900 900 900", "").encode(),
    "words.mha": META.format("1e9 1e9 3", "").encode(),
    "bomb.mha": META.format("10 10 10", "CompressedData = True\n").encode() + zlib.compress(bytes(300 * 2**20), 9),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_are_refused_before_they_are_read(tmp_path, name):
    """In a process of its own, whose memory is measured."""
    (tmp_path / name).write_bytes(VOLUMES[name])
    code = (
        "import resource, sys\nfrom hfseg.demo.uploads import check_volume_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    check_volume_file(sys.argv[1], 100_000_000)\n"
        "except ValueError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, timeout=60
    )
    message, megabytes = done.stdout.splitlines()
    assert "limit is 100000000" in message or "more data than its header says" in message, done.stderr
    assert int(megabytes) < 50


def test_sound_volumes_pass(tmp_path):
    pytest.importorskip("nibabel")
    from hfseg.demo.uploads import check_volume_file

    for name in ("a.nii", "a.nii.gz"):
        check_volume_file(volume_file(tmp_path / name), 12 * 14 * 6)
    with pytest.raises(ValueError, match="1008 voxels"):
        check_volume_file(tmp_path / "a.nii.gz", 12 * 14 * 6 - 1)
