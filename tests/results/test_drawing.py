# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Overlays: colors where the segments are, nothing on void, labels inside the image."""

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.data.synthetic.shapes import id2label, render_scene
from hfseg.results.drawing import (
    class_color,
    image_grid,
    instance_color,
    outlined,
    overlay,
    overlay_semantic,
    side_by_side,
)


def two_cats_and_void():
    image = np.full((40, 60, 3), 100, np.uint8)
    segmentation = np.zeros((40, 60), np.int32)
    segmentation[:, :20], segmentation[:, 20:40] = 5, 9
    segments = [{"id": 5, "category_id": 2, "iscrowd": 0}, {"id": 9, "label_id": 2, "score": 0.5}]
    return image, segmentation, segments


def test_tint_is_the_blend_of_image_and_class_color_and_void_stays():
    image, segmentation, segments = two_cats_and_void()
    result = np.asarray(overlay(image, segmentation, segments, alpha=0.25, draw_labels=False, minimum_side=0))
    assert result.shape == image.shape
    for column, color in ((10, instance_color(2, 0)), (30, instance_color(2, 1))):
        np.testing.assert_allclose(result[20, column], 75 + 0.25 * np.array(color), atol=0.5)
    assert (result[:, 41:] == 100).all()
    assert result[20, 19].min() > 200 and result[20, 39].min() > 200  # white contour between segments
    assert instance_color(2, 0) == class_color(2) != instance_color(2, 1)


def test_segments_that_are_not_listed_are_void():
    image, segmentation, segments = two_cats_and_void()
    result = np.asarray(overlay(image, segmentation, segments[:1], draw_labels=False, minimum_side=0))
    assert (result[:, 21:] == 100).all()


def test_small_images_are_enlarged_by_a_whole_factor():
    scene = render_scene(0)
    assert overlay(scene.image, scene.segmentation, scene.segments_info, id2label).size == (576, 576)
    assert overlay(scene.image, scene.segmentation, scene.segments_info, minimum_side=100).size == (192, 192)


@pytest.mark.parametrize("corner", [(0, 0), (0, 59), (39, 0), (39, 59)])
def test_labels_stay_inside_the_image(corner):
    image, segmentation = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), np.int32)
    segmentation[corner] = 1
    segments = [{"id": 1, "category_id": 0, "score": 0.987}]
    plain = np.asarray(overlay(image, segmentation, segments, {0: "cat"}, draw_labels=False))
    result = np.asarray(overlay(image, segmentation, segments, {0: "cat"}))
    rows, columns = np.nonzero((plain != result).any(axis=2))
    box = (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
    assert 12 <= box[0] <= 40 and box[1] >= 40  # the whole text, not cut at the edge
    centered = np.zeros_like(segmentation)
    centered[20, 30] = 1
    plain = np.asarray(overlay(image, centered, segments, {0: "cat"}, draw_labels=False))
    rows, columns = np.nonzero((plain != np.asarray(overlay(image, centered, segments, {0: "cat"}))).any(axis=2))
    assert abs((columns.max() - columns.min() + 1) - box[1]) <= 20


def test_labels_that_would_cover_each_other_are_moved_apart():
    image, segmentation = np.full((200, 300, 3), 100, np.uint8), np.zeros((200, 300), np.int32)
    segmentation[98:100, 140:160], segmentation[100:102, 140:160] = 1, 2
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]

    def dark(chosen):
        result = np.asarray(overlay(image, segmentation, chosen, {0: "aaaa", 1: "bbbb"}, minimum_side=0))
        return (result.max(axis=2) < 40).sum()

    assert dark(segments) > 0.85 * (dark(segments[:1]) + dark(segments[1:]))


def test_tensors_lists_and_pil_give_the_same_overlay():
    image, segmentation, segments = two_cats_and_void()
    expected = np.asarray(overlay(image, segmentation, segments))
    others = [
        overlay(Image.fromarray(image), segmentation.tolist(), segments),
        overlay(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(segmentation), segments),
    ]
    assert all((np.asarray(other) == expected).all() for other in others)


def test_nothing_found():
    image, segmentation, _ = two_cats_and_void()
    result = overlay(image, np.zeros_like(segmentation), [], legend=True, minimum_side=0)
    np.testing.assert_array_equal(np.asarray(result), image)


def test_semantic_overlay():
    image, _, _ = two_cats_and_void()
    classes = np.full((40, 60), 255)
    classes[:, :20], classes[:, 20:40] = 0, 3
    plain = np.asarray(overlay_semantic(image, classes, legend=False, minimum_side=0))
    np.testing.assert_allclose(plain[20, 10], 50 + 0.5 * np.array(class_color(0)), atol=0.5)
    np.testing.assert_allclose(plain[20, 30], 50 + 0.5 * np.array(class_color(3)), atol=0.5)
    assert (plain[:, 41:] == 100).all()
    with_legend = np.asarray(overlay_semantic(image, classes, {0: "road", 3: "sky"}, minimum_side=0))
    assert with_legend.shape[1] > 60 and (with_legend[:, :60] == plain).all()
    for class_id in (0, 3):
        assert (with_legend[:, 60:] == class_color(class_id)).all(axis=2).sum() > 50


def test_objects_of_a_video_keep_shade_and_number():
    """The object numbered 3 looks the same whether it is listed first or last."""
    image, segmentation, _ = two_cats_and_void()

    def drawn(*numbers, **settings):
        segments = [{"id": 5 if number == 3 else 9, "label_id": 2, "track": number} for number in numbers]
        return np.asarray(overlay(image, segmentation, segments, {2: "cat"}, **settings))

    plain = drawn(3, 4, alpha=1.0, draw_labels=False, minimum_side=0)
    assert (plain == drawn(4, 3, alpha=1.0, draw_labels=False, minimum_side=0)).all()
    assert tuple(plain[20, 10]) == instance_color(2, 2) and tuple(plain[20, 30]) == instance_color(2, 3)
    assert (drawn(3, 4) != drawn(3, 5)).any()  # the number is written


def test_errors():
    image, segmentation, segments = two_cats_and_void()
    with pytest.raises(ValueError, match=r"\(5, 5\).*\(40, 60\)"):
        overlay(image, np.zeros((5, 5)), segments)
    with pytest.raises(ValueError, match="alpha 2"):
        overlay(image, segmentation, segments, alpha=2)
    with pytest.raises(ValueError, match="float64"):
        overlay(image.astype(float), segmentation, segments)
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        image_grid([image, image], 2, titles=["a"])
    with pytest.raises(ValueError, match="0 images"):
        side_by_side([])


def test_objects_have_colors_of_their_own_and_stuff_that_of_its_class():
    image = Image.new("RGB", (300, 60), (100, 100, 100))
    ids = np.repeat(np.arange(1, 6), 60)[None].repeat(60, axis=0)
    info = [{"id": index, "label_id": 2, "score": 0.5, "was_fused": index == 5} for index in range(1, 6)]
    drawn = overlay(image, ids, info, alpha=1.0, draw_labels=False, minimum_side=0, color_by="instance")
    assert drawn.size == image.size
    colors = [drawn.getpixel((60 * index + 30, 30)) for index in range(5)]
    assert len(set(colors)) == 5
    assert max(np.abs(np.array(colors[4]) - instance_color(2, 4))) <= 1
    with pytest.raises(ValueError, match="color_by must be one of class, instance"):
        overlay(image, ids, info, color_by="score")


def test_a_legend_is_beside_the_image_and_not_on_it():
    image = Image.new("RGB", (300, 200), (100, 100, 100))
    ids = np.zeros((200, 300), dtype=np.int64)
    ids[20:90, 20:90], ids[20:90, 120:190] = 1, 2
    info = [{"id": 1, "label_id": 4, "score": 0.5}, {"id": 2, "label_id": 4, "score": 0.7}]
    plain = overlay(image, ids, info, {4: "car"}, minimum_side=0, color_by="instance")
    wide = overlay(image, ids, info, {4: "car"}, minimum_side=0, color_by="instance", legend=True)
    assert plain.size == (300, 200) and wide.height == 200 and wide.width > 300
    assert np.array_equal(np.asarray(wide)[:, :300], np.asarray(plain))


@pytest.mark.parametrize("offset", [0, 70_000, 3_000_000, 2_000_000_000_000])
def test_ids_of_any_size_are_drawn_alike(offset):
    image = Image.new("RGB", (64, 40), (50, 60, 70))
    small = np.random.default_rng(0).integers(0, 4, (40, 64))
    info = [{"id": index, "label_id": index, "score": 0.5} for index in (1, 2, 3)]
    expected = overlay(image, small, info, draw_labels=False)
    large = np.where(small > 0, small + offset, 0)
    found = overlay(image, large, [{**s, "id": s["id"] + offset} for s in info], draw_labels=False)
    assert np.array_equal(np.asarray(found), np.asarray(expected))


def test_tinting_in_bands_is_tinting(monkeypatch):
    from hfseg.results import drawing

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 40, 3), dtype=np.uint8))
    ids = np.zeros((50, 40), dtype=np.int64)
    ids[5:30, 5:30], ids[35:, 10:] = 7, 300
    info = [{"id": 7, "label_id": 0}, {"id": 300, "label_id": 1}]
    whole = np.asarray(overlay(image, ids, info, alpha=0.3, draw_labels=False, minimum_side=0)).astype(float)
    monkeypatch.setattr(drawing, "BAND_ROWS", 7)
    bands = np.asarray(overlay(image, ids, info, alpha=0.3, draw_labels=False, minimum_side=0)).astype(float)
    assert np.array_equal(whole, bands)
    expected = np.asarray(image)[10:20, 10:20] * 0.7 + 0.3 * np.array(class_color(0))
    assert np.abs(whole[10:20, 10:20] - expected).max() <= 0.5 + 1e-4
    assert np.array_equal(whole[0:3, 0:3], np.asarray(image)[0:3, 0:3])


def test_segments_are_outlined_in_white_and_nothing_else_changes():
    image = Image.new("RGB", (40, 30), (10, 20, 30))
    ids = np.zeros((30, 40), dtype=np.int32)
    ids[5:25, 5:20], ids[5:25, 20:35] = 1, 2
    pixels = np.asarray(outlined(image, ids))
    light = (pixels == [206, 208, 210]).all(-1)  # four fifths of white
    assert light[5:25, 19:21].any(1).all() and light[5, 5:35].all()
    assert (pixels[~light] == [10, 20, 30]).all() and not light[8:22, 8:17].any()
    with pytest.raises(ValueError, match="size"):
        outlined(image, ids[:20])
