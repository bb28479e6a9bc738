# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring data: REFER's files, LMDB, JSON lists, scenes with expressions; and pickles that must not run."""

import io
import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from hfseg.data import ReferLmdbDataset, load_refer, load_refer_json
from hfseg.data.readers.refer import read_plain_pickle

SQUARE = [[2.0, 1.0, 8.0, 1.0, 8.0, 5.0, 2.0, 5.0]]


@pytest.fixture
def root(tmp_path):
    """A dataset of two referents in the official layout."""
    (tmp_path / "refcoco").mkdir()
    (tmp_path / "images" / "train2014").mkdir(parents=True)
    Image.fromarray(np.full((10, 12, 3), 99, np.uint8)).save(tmp_path / "images" / "train2014" / "a.png")
    sentences = [{"sent": " left guy ", "raw": "Left guy!", "sent_id": 0}, {"sent": "the man", "sent_id": 1}]
    refs = [
        {"ref_id": 7, "ann_id": 3, "image_id": 1, "split": "train", "sentences": sentences, "category_id": 1},
        {"ref_id": 8, "ann_id": 3, "image_id": 1, "split": "testA", "sentences": sentences[1:], "category_id": 1},
    ]
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    instances = {
        "images": [{"id": 1, "file_name": "a.png", "height": 10, "width": 12}],
        "annotations": [{"id": 3, "image_id": 1, "category_id": 1, "segmentation": SQUARE}],
    }
    (tmp_path / "refcoco" / "instances.json").write_text(json.dumps(instances))
    return tmp_path


def test_refcoco(root):
    dataset = load_refer(root, "refcoco", "train")
    assert len(dataset) == 1
    item = dataset[0]
    assert item["expressions"] == ["left guy", "the man"] and item["ref_id"] == "7" == dataset.sample_id(0)
    assert item["image"].shape == (10, 12, 3)
    expected = np.zeros((10, 12), np.uint8)
    expected[1:5, 2:8] = 255
    assert np.array_equal(item["mask"], expected)
    assert len(load_refer(root, "refcoco", "testA")) == 1


@pytest.mark.parametrize(
    "name, partition, split",
    [
        ("refcoco", "google", "test"),
        ("refcoco+", None, "testA"),
        ("refcocog", None, "val"),
        ("refcocog", "umd", "test"),
        ("refcocog", "google", "validation"),
    ],
)
def test_every_partition_has_its_file(root, name, partition, split):
    (root / name).mkdir(exist_ok=True)
    (root / "refcoco" / "instances.json").replace(root / name / "instances.json")
    refs = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    refs[0]["split"] = {"validation": "val"}.get(split, split)
    (root / "refcoco" / "refs(unc).p").unlink()
    chosen = partition or {"refcoco+": "unc", "refcocog": "umd"}[name]
    (root / name / f"refs({chosen}).p").write_bytes(pickle.dumps([refs[0]]))
    dataset = load_refer(root, name, split, partition)
    assert len(dataset) == 1 and dataset[0]["expressions"] == ["left guy", "the man"]


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(ValueError, match="has no split 'testC': train, val, testA, testB"):
        load_refer(root, "refcoco", "testC")
    with pytest.raises(ValueError, match="refcocog umd"):
        load_refer(root, "refcocos")
    with pytest.raises(FileNotFoundError, match=r"instances\.json"):
        load_refer(root, "refcoco+")
    (root / "images" / "train2014" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images .* a\.png|a\.png"):
        load_refer(root, "refcoco", "train")


class Runs:
    """An object whose pickle runs a command when it is read."""

    def __reduce__(self):
        return os.system, ("touch /tmp/hfseg_pickle_ran",)


def test_pickles_run_nothing(root):
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([Runs()]))
    with pytest.raises(ValueError, match="only plain containers"):
        load_refer(root, "refcoco", "train")
    assert not os.path.exists("/tmp/hfseg_pickle_ran")
    with pytest.raises(ValueError, match="not a pickle"):
        read_plain_pickle(b"broken", "x")
    # Byte strings of Python 2.
    assert read_plain_pickle(b"(lp0\nS'a man'\np1\na.", "x") == ["a man"]


def test_json(root):
    Image.fromarray(np.eye(10, 12, dtype=np.uint8) * 255).save(root / "mask.png")
    entries = [
        {"image": "images/train2014/a.png", "mask": "mask.png", "expressions": ["a line"], "split": "train"},
        {"file_name": "images/train2014/a.png", "segmentation": SQUARE, "sentences": [{"sent": "a box"}]},
    ]
    (root / "own.json").write_text(json.dumps(entries))
    (root / "own.jsonl").write_text("\n".join(map(json.dumps, entries)))
    for name in ("own.json", "own.jsonl"):
        dataset = load_refer_json(root / name)
        assert [dataset[i]["expressions"] for i in range(2)] == [["a line"], ["a box"]]
        assert np.count_nonzero(dataset[0]["mask"]) == 10 and np.count_nonzero(dataset[1]["mask"]) == 24
    assert len(load_refer_json(root / "own.json", split="train")) == 1
    outside = root.parent / "outside.png"
    Image.fromarray(np.eye(10, 12, dtype=np.uint8) * 255).save(outside)
    for key, name in (("image", "../outside.png"), ("mask", str(outside)), ("mask", "a/../../outside.png")):
        (root / "out.json").write_text(json.dumps([{**entries[0], key: name}]))
        with pytest.raises(ValueError, match=r"is outside of the dataset.s folder.*allow_outside=True"):
            load_refer_json(root / "out.json")
    (root / "out.json").write_text(json.dumps([{**entries[0], "mask": "../outside.png"}]))
    assert len(load_refer_json(root / "out.json", allow_outside=True)) == 1
    entries[0]["expressions"] = [""]
    (root / "own.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="entry 0 has no expressions"):
        load_refer_json(root / "own.json")


def encoded(array: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=form)
    return buffer.getvalue()


def test_lmdb(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    file = tmp_path / "val.lmdb"
    mask = np.zeros((10, 12), np.uint8)
    mask[2:4, 3:5] = 254  # two polygons, added
    entry = {"img": encoded(np.full((10, 12, 3), 80, np.uint8), "JPEG"), "mask": encoded(mask, "PNG"), "cat": 0}
    entry |= {"seg_id": 5, "img_name": "x.jpg", "num_sents": 2, "sents": ["one", "two"]}
    environment = lmdb.open(str(file), subdir=False, map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for key, value in ((b"0", entry), (b"__keys__", [b"0"]), (b"__len__", 1)):
            transaction.put(key, pickle.dumps(value, protocol=5))
    environment.close()
    dataset = ReferLmdbDataset(file)
    item = pickle.loads(pickle.dumps(dataset))[0]
    assert len(dataset) == 1 and item["expressions"] == ["one", "two"] and item["ref_id"] == "5"
    assert item["image"].shape == (10, 12, 3) and np.array_equal(item["mask"], mask)
    Image.fromarray((mask == 0).astype(np.uint8) * 255).save(tmp_path / "5.png")
    assert np.array_equal(ReferLmdbDataset(file, mask_root=tmp_path)[0]["mask"] > 0, mask == 0)


# Scenes.
