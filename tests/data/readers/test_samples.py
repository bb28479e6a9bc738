# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What readers of local files share: names of splits, held-out shares, sizes, json."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import load_folder
from hfseg.data.readers.samples import (
    HeldOut,
    Sample,
    check_sizes,
    divide,
    matching_splits,
    read_json,
    relative_key,
    same_split,
)


@pytest.mark.parametrize(
    "folder, split, same",
    [
        ("val", "validation", True), ("valid", "dev", True), ("train2017", "train", True), ("val2017", "val", True),
        ("Training", "train", True), ("testing", "test", True), ("fold3", "fold3", True), ("val", "train", False),
        ("train2", "train", False), ("fold1", "fold2", False), ("test", "validation", False),
    ],
)  # fmt: skip
def test_names_of_splits(folder, split, same):
    assert same_split(folder, split) == same


def samples(count):
    return [Sample(f"image{index}", Path(f"{index}.png"), Path(f"{index}_label.png")) for index in range(count)]


def test_a_share_is_held_out_and_stays_when_files_are_added():
    everything = samples(200)
    train, note = divide(everything, "train", 0.25, 3, Path("data"))
    held = divide(everything, "validation", 0.25, 3, Path("data"))[0]
    assert len(held) == 50 and note == "25% held out for validation by seed 3"
    assert sorted(train + held, key=everything.index) == everything  # each once
    assert train == sorted(train, key=everything.index)  # in their order
    assert divide(everything, "dev", 0.25, 4, Path("data"))[0] != held
    larger = divide(samples(210), "validation", 0.25, 3, Path("data"))[0]
    assert len(larger) == 52 and len({s.name for s in held} - {s.name for s in larger}) <= 4
    # Rounded, and at least one.
    numbers = [len(divide(samples(9), "validation", share, 0, Path("data"))[0]) for share in (0.01, 0.2, 0.3, 0.4)]
    assert numbers == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="'test' does not exist"):
        divide(everything, "test", 0.25, 3, Path("data"))
    with pytest.raises(ValueError, match="holds one image"):
        divide(samples(1), "train", 0.25, 3, Path("data"))


def test_a_share_of_train_is_held_out_only_where_nothing_is_for_validation():
    held = HeldOut(of_train=True)
    assert held.from_train(["Train2017", "test"], "validation") == "Train2017"
    assert held.from_train(["train", "test"], "train") == "train"
    assert held.from_train(["train", "val"], "validation") is None
    assert held.from_train(["train", "test"], "test") is None and held.from_train(["train"], None) is None
    assert HeldOut().from_train(["train"], "validation") is None


@pytest.mark.parametrize("size, fits", [((4, 6), True), ((6, 4), False), ((4, 5), False), ((8, 12), False)])
def test_labels_have_the_size_of_their_image(tmp_path, size, fits):
    """On its side a label fits only an image that says it is turned; see `hostile/test_masks.py`."""
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "a_label.png")
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a_label.png")
    if fits:
        check_sizes([sample])
        return
    with pytest.raises(ValueError, match=rf"a_label\.png has size \({size[0]}, {size[1]}\)"):
        check_sizes([sample])


def test_json_with_a_mark_of_windows_and_json_that_is_none(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_json(tmp_path / "a.json") == {"a": [1]}
    for content, message in ((b'{"a": ', "line 1, column 7"), (b"\xff\xfe", "not UTF-8"), (b"[" * 100_000, "no JSON")):
        (tmp_path / "b.json").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_json(tmp_path / "b.json")


def test_keys_are_paths_without_the_ending_of_an_image():
    assert [relative_key(Path(name)) for name in ("a/b.JPG", "a/b.c.png", "a/b.nii")] == ["a/b", "a/b.c", "a/b.nii"]


def test_one_split_by_two_names(tmp_path):
    """`val` beside `valid` is not one split of both; the very name goes before other names of the same."""
    assert matching_splits(["train", "val", "validation"], "val", tmp_path) == ["val"]
    assert matching_splits(["train", "val", "validation"], "validation", tmp_path) == ["validation"]
    assert matching_splits(["train", "valid"], "val", tmp_path) == ["valid"]
    assert matching_splits(["train2017", "val2017"], "train", tmp_path) == ["train2017"]
    assert matching_splits(["train"], "test", tmp_path) == []
    for names, split in ((["val", "valid"], "validation"), (["train2014", "train2017"], "train")):
        with pytest.raises(ValueError, match=f"ambiguous: .* has {' and '.join(names)}"):
            matching_splits(names, split, tmp_path)


@pytest.mark.parametrize("layout", ["maps", "coco", "lists"])
def test_folders_of_one_split_by_two_names(layout, tmp_path):
    """Each of the folder's readers takes the named one, and refuses to join two."""
    for number, name in enumerate(("val", "validation")):
        for index in range(number + 1):
            inside = "" if layout == "lists" else f"{name}/"
            file = tmp_path / "images" / f"{inside}{name}{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(file)
            if layout != "coco":
                label = tmp_path / "labels" / f"{inside}{name}{index}.png"
                label.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.eye(8, dtype=np.uint8)).save(label)
        names = [f"{name}{index}" for index in range(number + 1)]
        if layout == "lists":
            (tmp_path / f"{name}.txt").write_text("\n".join(names))
        if layout == "coco":
            square = {"category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "bbox": [0, 0, 4, 4], "area": 16}
            read = {
                "images": [
                    {"id": k, "file_name": f"{one}.png", "height": 8, "width": 8} for k, one in enumerate(names)
                ],
                "categories": [{"id": 1, "name": "square"}],
                "annotations": [{"id": k + 1, "image_id": k, "iscrowd": 0, **square} for k in range(len(names))],
            }
            (tmp_path / "annotations").mkdir(exist_ok=True)
            (tmp_path / "annotations" / f"instances_{name}.json").write_text(json.dumps(read))
    assert len(load_folder(tmp_path, split="val")) == 1
    assert len(load_folder(tmp_path, split="validation")) == 2
    with pytest.raises(ValueError, match="ambiguous"):
        load_folder(tmp_path, split="dev")
