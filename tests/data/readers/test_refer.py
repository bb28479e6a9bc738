# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring data: REFER's files, LMDB, JSON lists, scenes with expressions; and pickles that must not run."""

import io
import json
import os
import pickle
import random

import numpy as np
import pytest
from PIL import Image

from hfseg.data import ReferLmdbDataset, ReferringShapesDataset, load_refer, load_refer_json, render_scene
from hfseg.data.collators.referring_collation import draw_expression
from hfseg.data.readers.refer import read_plain_pickle
from hfseg.data.synthetic.referring_shapes import HELD_OUT, KINDS, expressions_of, is_held_out, referring_words
from hfseg.data.synthetic.shapes import TYPICAL_COLORS

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


def test_expressions_mean_one_thing():
    """Checked against the descriptions of the things, read back from the words."""
    checked = 0
    for index in range(60):
        scene = render_scene(index, split="test")
        for position, kind, text in expressions_of(scene, (96, 96)):
            words = text.split()
            assert set(words) <= set(referring_words()) and kind in KINDS
            thing = scene.objects[position]
            if kind in ("shape", "color", "color shape"):
                fitting = [
                    other
                    for other in scene.objects
                    if words[-1] in (other.shape, "thing") and (len(words) == 2 or words[1] == other.color)
                ]
                assert fitting == [thing], text
            elif text.startswith("the leftmost"):
                others = [other for other in scene.objects if words[2] in (other.shape, "thing")]
                assert thing.center[0] == min(other.center[0] for other in others), text
            elif kind == "relative" and "left of" in text:
                anchor = next(other for other in scene.objects if (other.color, other.shape) == tuple(words[-2:]))
                assert thing.center[0] < anchor.center[0], text
            checked += 1
    assert checked > 200


def test_ordinals_count_from_their_side():
    for index in range(200):
        scene = render_scene(index, split="test")
        for position, kind, text in expressions_of(scene, (96, 96)):
            words = text.split()
            if kind == "ordinal" and words[2] == "thing":
                axis = 0 if words[-1] in ("left", "right") else 1
                order = sorted(
                    range(len(scene.objects)),
                    key=lambda i: scene.objects[i].center[axis],
                    reverse=words[-1] in ("right", "bottom"),
                )
                assert order.index(position) == ["first", "second", "third", "fourth"].index(words[1]), text


def test_items_are_pure_and_masks_exact():
    dataset = ReferringShapesDataset("validation", 20, none_share=0.3)
    first, again = dataset[3], dataset[3]
    assert np.array_equal(first["image"], again["image"]) and first["expressions"] == again["expressions"]
    for index in range(20):
        item = dataset[index]
        assert len(item["expressions"]) == len(item["kinds"]) > 0
        assert item["mask"].any() == (item["kinds"] != ["none"])


def test_training_never_sees_what_is_held_out():
    dataset = ReferringShapesDataset("train", 40)
    for index in range(40):
        for text in dataset[index]["expressions"]:
            assert not any(f"{color} {shape}" in text for color, shape in HELD_OUT)
    held_out = ReferringShapesDataset("test", 6, combinations="held-out", none_share=0.0)
    for index in range(6):
        item = held_out[index]
        scenes = [render_scene(index + 6 * attempt, split="test") for attempt in range(40)]
        scene = next(scene for scene in scenes if np.array_equal(scene.image, item["image"]))
        marked = scene.segmentation[item["mask"] > 0]
        assert is_held_out(scene.objects[marked[0] - 1])


def test_training_scenes_without_typical_colors():
    def shares(**options):
        """Share of things with their shape's typical color."""
        scenes = [render_scene(index, image_size=(48, 48), **options).objects for index in range(150)]
        typical = [TYPICAL_COLORS[thing.shape] == thing.color for things in scenes for thing in things]
        return sum(typical) / len(typical)

    assert shares() == pytest.approx(0.6 + 0.4 / 9, abs=0.06)
    assert shares(typical_color_share=0.0) == pytest.approx(1 / 9, abs=0.05)
    # Nothing but the colors differs.
    pairs = [[render_scene(index, typical_color_share=share) for share in (0.6, 0.0)] for index in range(8)]
    assert all(np.array_equal(plain.segmentation, free.segmentation) for plain, free in pairs)
    assert sum(not np.array_equal(plain.image, free.image) for plain, free in pairs) >= 4

    dataset = ReferringShapesDataset("train", 8, (32, 32), typical_color_share=0.0, minimum_things=4, none_share=0.0)
    for item in dataset:
        index = int(item["ref_id"].split("-")[-1])
        later = (render_scene(index + 8 * n, image_size=(32, 32), typical_color_share=0.0) for n in range(200))
        scene = next(scene for scene in later if np.array_equal(scene.image, item["image"]))
        assert len(scene.objects) >= 4 and not any(is_held_out(thing) for thing in scene.objects)
    for wrong in ({"typical_color_share": 1.5}, {"minimum_things": 6}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ReferringShapesDataset(**wrong)


def test_kinds_are_drawn_by_weight():
    kinds = ["color", "color", "ordinal"]
    texts = ["the red thing", "the ruddy thing", "the second thing from the left"]
    random.seed(0)
    drawn = [draw_expression(texts, kinds) for _ in range(600)]
    assert drawn.count(texts[2]) / 600 == pytest.approx(1 / 2, abs=0.07)
    drawn = [draw_expression(texts, kinds, {"ordinal": 3.0}) for _ in range(600)]
    assert drawn.count(texts[2]) / 600 == pytest.approx(3 / 4, abs=0.07)


def test_several_referents_share_a_scene():
    item = ReferringShapesDataset("train", 5, referents=3)[0]
    assert item["mask"].shape == (3, 96, 96) and len(item["expressions"]) == len(item["kinds"]) == 3
    with pytest.raises(ValueError, match="combinations"):
        ReferringShapesDataset(combinations="none")
