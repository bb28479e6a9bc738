# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Negative points: masks that cover them are passed over, or cut by what is there."""

import numpy as np
import pytest

from hfseg import tasks
from hfseg.data.synthetic.shapes import render_scene
from hfseg.demo.examples import FOLDER
from hfseg.files.images import load_image
from hfseg.inference.negative_points import choose_mask, masks_without
from hfseg.inference.predictor import Predictor, Prompts


def square(left, right, size=20):
    mask = np.zeros((size, size), bool)
    mask[:, left:right] = True
    return mask


PARTS = np.stack([square(0, 4), square(0, 8), square(0, 20)])


@pytest.mark.parametrize(
    "outside, kept, score",
    [
        ([], square(0, 20), 0.9),  # the best
        ([(12, 5)], square(0, 8), 0.8),  # the best of those without the point
        ([(12, 5), (5, 5)], square(0, 4), 0.3),
        ([(20, 20)], square(0, 8), 0.8),  # the far corner belongs to the last pixel
    ],
)
def test_a_mask_without_the_points_is_chosen(outside, kept, score):
    mask, given = choose_mask(PARTS, [0.3, 0.8, 0.9], [(1, 1)], outside, [square(10, 20)] * len(outside))
    assert np.array_equal(mask, kept) and given == score


def test_where_every_mask_covers_the_point_it_is_cut_out():
    mask, score = choose_mask(PARTS, [0.3, 0.8, 0.9], [(3, 3)], [(1, 1)], [square(0, 2)])
    assert np.array_equal(mask, square(2, 20)) and score == 0.9
    # A mask that lies beside the prompt is none of its object, however well it avoids the point.
    mask, _ = choose_mask(PARTS, [0.9, 0.8, 0.3], [(15, 3)], [(1, 1)], [square(0, 2)])
    assert not mask[0, 0]


def test_the_pipeline_is_asked_once_for_points_and_twice_for_boxes():
    asked = []

    def pipe(image, multimask_output, **prompts):
        asked.append({name: len(value) for name, value in prompts.items()})
        count = sum(map(len, prompts.values()))
        return {"masks": [mask for _ in range(count) for mask in PARTS], "scores": [0.3, 0.8, 0.9] * count}

    found = masks_without(pipe, None, {"input_points": [[1, 1], [2, 2]]}, [(12, 5)])
    assert asked == [{"input_points": 3}] and found["scores"] == [0.8, 0.8]
    found = masks_without(pipe, None, {"input_boxes": [[0, 0, 9, 9]]}, [(12, 5), (5, 5)])
    assert asked[1:] == [{"input_boxes": 1}, {"input_points": 2}] and found["scores"] == [0.3]
    assert np.array_equal(found["masks"][0], PARTS[0])


def test_a_trained_model_leaves_out_the_object_at_a_negative_point():
    """A box around two objects of a drawn scene; then one of them is taken out."""
    predictor = Predictor(tasks.checkpoint("unpairseg-tiny-shapes"), promptable=True, progress=False)
    image = load_image(FOLDER / "places.png")
    truth = render_scene(9, image_size=(192, 192), split="test").segmentation
    ids = [int(truth[y, x]) for x, y in ((59, 29), (50, 165))]
    for negative, count in (((59, 29), 1), ((50, 165), 0)):
        points = [(59, 29), (50, 165)]
        found = predictor(image, Prompts(points=points, negative_points=[negative])).result
        masks = [found.mask(index) for index in range(2)]
        assert not any(mask[negative[1], negative[0]] for mask in masks)
        kept = truth == ids[count]
        assert (masks[count] & kept).sum() / (masks[count] | kept).sum() > 0.7
    with pytest.raises(ValueError, match="Negative points were given alone"):
        predictor(image, Prompts(negative_points=[(1, 1)]))
    with pytest.raises(ValueError, match=r"\(500, 1\) is not in the image"):
        predictor(image, Prompts(points=[(1, 1)], negative_points=[(500, 1)]))
