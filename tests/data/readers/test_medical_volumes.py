# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes on the disk: the same slices as from memory, memory for one volume, decoded once, made again when changed."""

import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers import medical_volumes
from hfseg.data.readers.medical import MedicalCase, MedicalSlices
from hfseg.data.readers.medical_layouts import load_medical
from medical_files import NAMES, write, write_pair


def assert_same(one, other):
    assert len(one) == len(other) and one.index == other.index
    for index in range(len(one)):
        first, second = one[index], other[index]
        assert set(first) == set(second) and first["spacing"] == second["spacing"]
        for name in ("image", "segmentation_map"):
            assert first[name].dtype == second[name].dtype
            np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mode", ["2.5d", "slice"])
def test_slices_from_the_disk_are_those_from_memory(tmp_path, axis, mode):
    generator, spacing = np.random.default_rng(axis), [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    for number in range(3):
        shape = (7 + number, 8, 9)
        write(tmp_path / f"images/train/{number}.nii.gz", generator.normal(size=shape).astype(np.float32), spacing)
        write(tmp_path / f"labels/train/{number}.nii.gz", generator.integers(0, 3, shape).astype(np.uint8), spacing)
    given = {"layout": "pairs", "split": "train", "id2label": NAMES, "input_mode": mode}
    held, mapped = load_medical(tmp_path, **given), load_medical(tmp_path, **given, cache_dir=tmp_path / "cache")
    assert_same(held, mapped)
    for one, other in zip(held.volumes, mapped.volumes):
        np.testing.assert_array_equal(one["mask"], other["mask"])
        assert one["axis"] == other["axis"] == axis and one["unit"] == other["unit"] == "mm"
        for first, second in zip(one["volumes"], other["volumes"]):
            np.testing.assert_array_equal(first.voxels, second.voxels)
            np.testing.assert_array_equal(first.affine, second.affine)
            np.testing.assert_array_equal(first.to_stored_order(first.voxels), second.to_stored_order(second.voxels))


def test_several_sequences(tmp_path):
    generator = np.random.default_rng(0)
    write(tmp_path / "a.nii.gz", generator.normal(size=(6, 7, 8, 2)).astype(np.float32))
    write(tmp_path / "b.nii.gz", generator.normal(size=(6, 7, 8, 2)).astype(np.float32))
    write(tmp_path / "m.nii.gz", generator.integers(0, 3, (6, 7, 8)).astype(np.uint8))
    files = (str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"))
    cases = [MedicalCase("x", files, str(tmp_path / "m.nii.gz"), "x", "MR", (1, 0))]
    assert_same(
        MedicalSlices(cases, NAMES, "sequences"), MedicalSlices(cases, NAMES, "sequences", cache_dir=tmp_path / "c")
    )


def test_memory_for_one_volume_however_many_there_are(tmp_path):
    shape, count = (64, 64, 64), 12
    for number in range(count):
        write(tmp_path / f"images/train/{number}.nii.gz", np.full(shape, number + 1, np.float32))
        write(tmp_path / f"labels/train/{number}.nii.gz", np.ones(shape, np.uint8))
    given = {"layout": "pairs", "split": "train", "id2label": NAMES}
    volume = 4 * np.prod(shape)

    def peak(**options):
        tracemalloc.start()
        data = load_medical(tmp_path, **given, **options)
        for index in np.random.default_rng(0).permutation(len(data)):
            data[index]
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak() > count * volume
    assert peak(cache_dir=tmp_path / "cache") < 8 * volume  # one volume, its checks and its statistics
    assert peak(cache_dir=tmp_path / "cache") < volume / 2  # nothing is decoded any more, slices alone are read


def test_decoded_once_and_again_when_a_file_or_the_reading_changes(tmp_path, monkeypatch):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b", full=(1,))
    read = []
    loads = medical_volumes.load_case
    monkeypatch.setattr(medical_volumes, "load_case", lambda case, *a: read.append(case.case_id) or loads(case, *a))

    def open_data(**options):
        read.clear()
        options = {"id2label": NAMES, "cache_dir": tmp_path / "cache", **options}
        return load_medical(tmp_path, "pairs", "train", **options), list(read)

    first, decoded = open_data()
    assert decoded == ["a", "b"]
    second, decoded = open_data()
    assert decoded == []
    assert_same(first, second)
    write_pair(tmp_path, "b", full=(4, 5))
    changed, decoded = open_data()
    assert decoded == ["b"] and changed.volumes.summaries[1]["labeled"] == [4, 5]
    assert open_data(label_map={0: 0, 1: 2})[1] == ["a", "b"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert open_data(cache_dir=tmp_path / "other")[1] == ["b", "a"]  # a second process begins elsewhere


def test_a_file_of_the_same_size_is_read_again_when_its_time_differs(tmp_path):
    image, mask = (tmp_path / kind / "train" / "a.nii" for kind in ("images", "labels"))
    write(image, np.random.default_rng(0).integers(1, 900, (10, 8, 6)).astype(np.int16))

    def labeled(place, nanoseconds):
        voxels = np.zeros((10, 8, 6), dtype=np.uint8)
        voxels[3:6, 2:5, place] = 1
        write(mask, voxels)
        os.utime(mask, ns=(nanoseconds, nanoseconds))
        given = {"layout": "pairs", "split": "train", "id2label": NAMES, "cache_dir": tmp_path / "cache"}
        return load_medical(tmp_path, **given).volumes.summaries[0]["labeled"], mask.stat().st_size

    (first, size), (second, same_size) = labeled(1, 10**18), labeled(4, 10**18 + 1000)
    assert size == same_size and (first, second) == ([1], [4])


def test_black_and_white_masks_and_images(tmp_path):
    for number in range(3):
        for folder, array in (("images", np.arange(80, dtype=np.uint8).reshape(8, 10)),
                              ("masks", np.uint8(255) * (np.arange(80).reshape(8, 10) > 40 + number))):  # fmt: skip
            path = tmp_path / folder / "train" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)
    given = {"layout": "xray", "split": "train", "modality": "XR", "id2label": {0: "background", 1: "lung"}}
    held, mapped = load_medical(tmp_path, **given), load_medical(tmp_path, **given, cache_dir=tmp_path / "cache")
    assert_same(held, mapped)
    assert int(mapped[0]["segmentation_map"].sum()) == 39 and int(mapped.volumes[0]["mask"].sum()) == 39
    assert mapped.volumes[0]["unit"] == "px"  # an image says nothing of millimeters


def test_a_damaged_entry_is_named(tmp_path):
    write_pair(tmp_path, "a")
    given = {"layout": "pairs", "split": "train", "id2label": NAMES, "cache_dir": tmp_path / "cache"}
    data = load_medical(tmp_path, **given)
    (entry,) = (tmp_path / "cache").iterdir()
    (entry / "mask.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"mask.npy is damaged.*Remove"):
        data[0]
    (entry / "case.json").write_text("{")
    with pytest.raises(ValueError, match=r"is damaged.*Remove"):
        load_medical(tmp_path, **given)


def test_what_cannot_be_read_leaves_nothing_behind(tmp_path):
    write_pair(tmp_path, "a", value=7)
    with pytest.raises(ValueError):
        load_medical(tmp_path, "pairs", "train", id2label=NAMES, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
