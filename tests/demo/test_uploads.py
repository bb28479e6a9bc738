# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files that visitors send: volumes are refused before they are read, sound ones pass."""

import gzip
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

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
    stream = zlib.compressobj(1, wbits=31)
    parts = [stream.compress(header)]
    parts += [stream.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join([*parts, stream.flush()])


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 2**20), 1)


META = "ObjectType = Image\nNDims = 3\nDimSize = {}\nElementType = MET_SHORT\n{}ElementDataFile = LOCAL\n"

VOLUMES: dict[str, Callable[[], bytes]] = {  # made when they are tested: bombs take seconds
    "header.nii": lambda: nifti((900, 900, 900)),
    "header.nii.gz": lambda: gzip.compress(nifti((900, 900, 900))),
    "second.nii.gz": lambda: gzip.compress(nifti((10**6, 10**6, 10**6), version=2)),
    "fourth.nii": lambda: nifti((100, 100, 100, 1000)),
    "bomb.nii.gz": lambda: bomb(nifti((10, 10, 10)), 600),
    "members.nii.gz": lambda: gzip.compress(nifti((10, 10, 10))) + bomb(b"", 600),
    "header.mha": lambda: META.format("900 900 900", "").encode(),
    "words.mha": lambda: META.format("1e9 1e9 3", "").encode(),
    "bomb.mha": lambda: META.format("10 10 10", "CompressedData = True\n").encode() + zeros(300),
}


MEASURE = """
import os, resource, sys
from hfseg.demo.uploads import check_volume_file
for name in sys.argv[1:]:  # a child per file: its peak is not that of the one before
    if (child := os.fork()) == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            check_volume_file(name, 100_000_000)
            message = "taken"
        except ValueError as error:
            message = str(error)
        megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(os.path.basename(name), megabytes, message.replace("\\n", " "), sep="|", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Name of a file to the megabytes that its check took and what it said, in processes of their own."""
    folder = tmp_path_factory.mktemp("volumes")
    for name, make in VOLUMES.items():
        (folder / name).write_bytes(make())
    files = [str(folder / name) for name in VOLUMES]
    done = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, timeout=120)
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == list(VOLUMES), done.stderr
    return {name: (int(megabytes), message) for name, megabytes, message in rows}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_are_refused_before_they_are_read(measured, name):
    megabytes, message = measured[name]
    assert "limit is 100000000" in message or "more data than its header says" in message
    assert megabytes < 50


def test_sound_volumes_pass(tmp_path):
    pytest.importorskip("nibabel")
    from hfseg.demo.uploads import check_volume_file

    for name in ("a.nii", "a.nii.gz"):
        check_volume_file(volume_file(tmp_path / name), 12 * 14 * 6)
    with pytest.raises(ValueError, match="1008 voxels"):
        check_volume_file(tmp_path / "a.nii.gz", 12 * 14 * 6 - 1)
