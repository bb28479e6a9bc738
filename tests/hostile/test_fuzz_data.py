# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Damaged and hostile data files, by the hundred: each ends in a typed error or in the undamaged answer.

Seeded. `HFSEG_FUZZ=N` tries N mutations of every kind instead of a few. Kinds that carry a checksum, or whose mutation
is known to matter, are compared with the undamaged answer; of the others only the end is checked: a result or a typed
error, in time, without memory beyond bounds.
"""

import copy
import json
import os
import resource
import signal
import warnings
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import load_folder
from hfseg.files.images import load_image

TRIES = int(os.environ.get("HFSEG_FUZZ", "25"))
SECONDS = 10
MEGABYTES = 500
TYPED = (ValueError, OSError)  # FileNotFoundError and its like included
HOSTILE = (
    None,
    "x",
    "",
    True,
    -7,
    0,
    10**9,
    10**30,
    0.5,
    1e9,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"a": 1},
)


@contextmanager
def bounded(what):
    """Fails after `SECONDS`, and if more memory was taken than `MEGABYTES`."""

    def stop(*_):
        raise AssertionError(f"{what} hangs")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < MEGABYTES, f"{what} took {taken:.0f} MB"


def run(read, expected, what, compare=True):
    """One try: True if it was refused."""
    with bounded(what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = read()
        except TYPED:
            return True
    if compare:
        assert len(answer) == len(expected), what
        for ours, theirs in zip(answer, expected):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{what}: another answer without a word")
    return False


def damage(content, generator):
    """A flipped bit, a cut, a hole of zeros, a repeated part or noise in the middle."""
    kind, place = int(generator.integers(5)), int(generator.integers(max(len(content), 1)))
    damaged = bytearray(content)
    if kind == 0:
        damaged[place] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del damaged[place:]
    else:
        length = int(generator.integers(1, 1 + max(1, len(content) // 4)))
        if kind == 2:
            damaged[place : place + length] = bytes(len(damaged[place : place + length]))
        elif kind == 3:
            damaged[place:place] = damaged[place : place + length]
        else:
            damaged[place : place + length] = generator.integers(0, 256, length, dtype=np.uint8).tobytes()
    return bytes(damaged)


def fuzz_file(path, read, compare, seed, tries=None):
    content, expected = path.read_bytes(), read()
    generator, refused = np.random.default_rng(seed), 0
    tries = TRIES if tries is None else tries
    for number in range(tries):
        path.write_bytes(damage(content, generator))
        refused += run(read, expected, f"{path.name}, seed {seed}, mutation {number}", compare)
    path.write_bytes(content)
    return refused


def leaves(value, place=()):
    """Places of everything inside a json value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from leaves(inner, (*place, key))


def change(content, generator):
    """A copy with one value removed or made hostile, and the place."""
    content = copy.deepcopy(content)
    places = list(leaves(content))
    place = places[int(generator.integers(len(places)))]
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    if generator.random() < 0.25:
        del holder[place[-1]]
    else:
        holder[place[-1]] = HOSTILE[int(generator.integers(len(HOSTILE)))]
    return content, place


PIXELS = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
def test_images(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(path)
    # Of these, PNG alone has checksums.
    fuzz_file(path, lambda: [np.asarray(load_image(path))], suffix == "png", 1)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha", "raw.mha"])
def test_volumes(tmp_path, name):
    nibabel = pytest.importorskip("nibabel")
    from hfseg.volumes import read_volume

    voxels, path = np.random.default_rng(0).integers(0, 99, (9, 8, 7)).astype(np.int16), tmp_path / name
    if ".nii" in name:
        image = nibabel.Nifti1Image(voxels, np.eye(4))
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
    else:
        raw = voxels.tobytes(order="F")
        packed = name == "a.mha"
        header = f"ObjectType = Image\nNDims = 3\nCompressedData = {packed}\nElementSpacing = 1 1 1\nDimSize = 9 8 7\n"
        header += "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        path.write_bytes(header.encode() + (zlib.compress(raw) if packed else raw))

    def read():
        volume = read_volume(path)
        return [volume.to_stored_order(volume.voxels)]

    fuzz_file(path, read, name == "a.nii.gz", 2)


def test_dicom(tmp_path):
    pytest.importorskip("pydicom")
    from hfseg.volumes import read_volume

    from .dicom_files import write_slices

    write_slices(tmp_path / "s", 4)
    path = tmp_path / "s/2.dcm"

    def read():
        return [read_volume(tmp_path / "s").voxels]

    fuzz_file(path, read, False, 3)
    content, expected = path.read_bytes(), read()
    for length in np.linspace(0, len(content) - 1, max(TRIES, 5)).astype(int).tolist():  # never a shorter scan
        path.write_bytes(content[:length])
        run(read, expected, f"DICOM cut to {length} bytes")


def coco_folder(root):
    from hfseg.results.run_lengths import encode_run_lengths

    square = np.zeros((24, 32), dtype=bool)
    square[3:9, 4:20] = True
    shapes = [[[1, 1, 9, 1, 9, 9, 1, 9]], encode_run_lengths(square, True), encode_run_lengths(square[::-1])]
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": 24, "width": 32}],
        "annotations": [
            {"id": k, "image_id": 5, "category_id": 3, "segmentation": shape, "iscrowd": 0}
            for k, shape in enumerate(shapes)
        ],
        "categories": [{"id": 3, "name": "cell"}],
    }
    for folder in ("annotations", "images/train"):
        (root / folder).mkdir(parents=True)
    Image.fromarray(PIXELS).save(root / "images/train/a.png")
    file = root / "annotations/instances_train.json"
    file.write_text(json.dumps(content))
    return file, content


def test_coco_json(tmp_path):
    file, content = coco_folder(tmp_path)

    def read():
        return [load_folder(tmp_path, "train")[0]["segmentation"]]

    expected, generator = read(), np.random.default_rng(4)
    for number in range(4 * TRIES):
        changed, place = change(content, generator)
        file.write_text(json.dumps(changed))
        # A coordinate may become another one, an annotation may go, a crowd lies below: no silent faults.
        legal = place[0] == "annotations" and (len(place) < 3 or place[2] in ("segmentation", "iscrowd"))
        run(read, expected, f"COCO json, mutation {number} at {place}", not legal)
    file.write_text(json.dumps(content))
    fuzz_file(file, read, False, 5)


def test_coco_panoptic_json(tmp_path):
    file, content = coco_folder(tmp_path)
    file.unlink()
    file = file.with_name("panoptic_train.json")
    (tmp_path / "annotations/panoptic_train").mkdir()
    ids = np.zeros((24, 32, 3), dtype=np.uint8)
    ids[:, :16, 0], ids[:, 16:, 0] = 7, 9
    Image.fromarray(ids).save(tmp_path / "annotations/panoptic_train/a.png")
    segments = [{"id": k, "category_id": 3, "iscrowd": 0} for k in (7, 9)]
    content["annotations"] = [{"image_id": 5, "file_name": "a.png", "segments_info": segments}]
    file.write_text(json.dumps(content))

    def read():
        return [load_folder(tmp_path, "train")[0]["segmentation"]]

    expected, generator = read(), np.random.default_rng(6)
    for number in range(2 * TRIES):
        changed, place = change(content, generator)
        file.write_text(json.dumps(changed))
        run(read, expected, f"panoptic json, mutation {number} at {place}")


def test_classes_json(tmp_path):
    labels = np.zeros((24, 32), dtype=np.uint8)
    labels[3:9] = 1
    for folder, array in (("images", PIXELS), ("labels", labels)):
        (tmp_path / folder / "train").mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / folder / "train/a.png")
    content = {"names": ["background", "cell", "other"], "ignore_index": 255}
    file = tmp_path / "classes.json"
    file.write_text(json.dumps(content))

    def read():
        return [load_folder(tmp_path, "train")[0]["segmentation_map"]]

    expected, generator = read(), np.random.default_rng(7)
    for number in range(TRIES):
        changed, place = change(content, generator)
        file.write_text(json.dumps(changed))
        # Another void class is another dataset.
        run(read, expected, f"classes.json, mutation {number} at {place}", place[0] != "ignore_index")
    file.write_text(json.dumps(content))
    fuzz_file(file, read, False, 8)


def test_videos(tmp_path):
    pytest.importorskip("av")
    from fractions import Fraction

    from hfseg.inference.video import VideoReader, VideoWriter

    path = tmp_path / "a.mp4"
    with VideoWriter(path, Fraction(5)) as writer:
        for shift in range(4):
            writer.write(Image.fromarray(np.roll(PIXELS, shift, axis=1)))

    def read():
        return [np.asarray(frame) for frame in VideoReader(path)]

    fuzz_file(path, read, False, 9)
