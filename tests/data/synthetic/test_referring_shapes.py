# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Expressions of shapes: each means one thing, and what is held out is never seen in training."""

import numpy as np
import pytest

from hfseg.data import ReferringShapesDataset, render_scene
from hfseg.data.synthetic.referring_shapes import HELD_OUT, KINDS, expressions_of, is_held_out, referring_words
from hfseg.data.synthetic.shapes import TYPICAL_COLORS


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


def test_several_referents_share_a_scene():
    item = ReferringShapesDataset("train", 5, referents=3)[0]
    assert item["mask"].shape == (3, 96, 96) and len(item["expressions"]) == len(item["kinds"]) == 3
    with pytest.raises(ValueError, match="combinations"):
        ReferringShapesDataset(combinations="none")
