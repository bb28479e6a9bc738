# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks of boxes and points from parts of the image around each."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import hfseg
from hfseg.data.readers.promptable import boxes_of_masks
from hfseg.data.synthetic.shapes import render_scene
from hfseg.evaluation.promptable import inner_points
from hfseg.files.images import stretch_contrast
from hfseg.inference import zoomed_prompts
from hfseg.inference.zoomed_prompts import masks_of_boxes, masks_of_points

BOXES = [[10.0, 20.0, 40.0, 50.0], [60.0, 80.0, 90.0, 127.0], [100.0, 3.0, 112.0, 13.0]]


@pytest.fixture(scope="module")
def pipe():
    pipe = pipeline("mask-generation", model=str(hfseg.checkpoint("unpairseg-tiny-shapes")))
    pipe.image_processor.box_zoom = pipe.image_processor.zoom_size = None  # the shipped processor has both
    return pipe


@pytest.fixture(scope="module")
def scene():
    return render_scene(4, image_size=(128, 120), split="validation").image


def near(box, size):
    """Pixels whose centers are at most a tenth of the longer side farther out than the box."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    margin = 0.1 * max(box[2] - box[0], box[3] - box[1])
    return (x >= box[0] - margin) & (x < box[2] + margin) & (y >= box[1] - margin) & (y < box[3] + margin)


def test_the_mask_is_that_of_the_part_alone(pipe, scene, monkeypatch):
    """As if somebody had cut the image; and whatever number of parts the network sees at once."""
    monkeypatch.setattr(zoomed_prompts, "CHUNK", 2)
    found = list(masks_of_boxes(pipe.model, pipe.image_processor, Image.fromarray(scene), [BOXES], 2.0))
    windows = [(0, 5, 60, 65), (26, 34, 120, 128), (94, 0, 118, 24)]  # twice the longer side, inside the image
    for box, (left, top, right, bottom), (masks, scores) in zip(BOXES, windows, found, strict=True):
        moved = [box[0] - left, box[1] - top, box[2] - left, box[3] - top]
        alone = pipe(Image.fromarray(scene[top:bottom, left:right]), input_boxes=[moved], multimask_output=True)
        expected = np.zeros((len(alone["masks"]), *scene.shape[:2]), dtype=bool)
        expected[:, top:bottom, left:right] = np.stack(alone["masks"])
        expected &= near(box, scene.shape[:2])
        assert masks.dtype == bool and (masks != expected).mean() < 1e-4
        torch.testing.assert_close(scores, alone["scores"], atol=1e-4, rtol=1e-4)
    assert sum(masks.any() for masks, _ in found) >= 2


def test_the_contrast_is_that_of_the_image(pipe, scene, monkeypatch):
    """Not of each part: what is dark in a bright image stays dark, as in training."""
    dark = (scene // 8).astype(np.uint8)
    dark[0, 0], dark[1, 1] = 255, 0
    monkeypatch.setattr(pipe.image_processor, "stretch_contrast", True)
    given = [stretch_contrast(dark), dark]
    whole, zoomed = ([*masks_of_boxes(pipe.model, pipe.image_processor, image, [BOXES], 2.0)] for image in given)
    monkeypatch.setattr(pipe.image_processor, "stretch_contrast", False)
    plain = [*masks_of_boxes(pipe.model, pipe.image_processor, stretch_contrast(dark), [BOXES], 2.0)]
    for one, other, expected in zip(whole, zoomed, plain, strict=True):
        torch.testing.assert_close(other[1], expected[1], atol=1e-5, rtol=1e-5)
        assert (other[0] == expected[0]).all() and (one[0] != expected[0]).mean() < 0.01


def test_a_part_as_large_as_the_image_gives_the_images_mask(pipe, scene):
    image = Image.fromarray(scene)
    whole, zoomed = pipe(image, input_boxes=BOXES), pipe(image, input_boxes=BOXES, box_zoom=100.0)
    for box, one, other in zip(BOXES, whole["masks"], zoomed["masks"], strict=True):
        assert ((one & near(box, scene.shape[:2])) != other).mean() < 1e-4
    torch.testing.assert_close(whole["scores"], zoomed["scores"], atol=1e-4, rtol=1e-4)


def test_the_processor_says_how_much_is_seen(pipe, scene, monkeypatch):
    """Of the pipeline, the predictor and the evaluation; `None` for a call asks for the whole image."""
    image = Image.fromarray(scene)
    whole, zoomed = pipe(image, input_boxes=BOXES), pipe(image, input_boxes=BOXES, box_zoom=3.0, output_rle_mask=True)
    assert len(zoomed["rle_mask"]) == 3 and (whole["masks"][0] != zoomed["masks"][0]).any()
    predictor = hfseg.load("unpairseg-tiny-shapes", task="mask-generation")
    predictor.image_processor.box_zoom = None
    answers = [hfseg.predict(predictor, image, boxes=BOXES, box_zoom=zoom) for zoom in (None, 3.0)]
    assert (answers[0].result.segmentation != answers[1].result.segmentation).any()
    monkeypatch.setattr(pipe.image_processor, "box_zoom", 3.0)
    assert all((a == b).all() for a, b in zip(pipe(image, input_boxes=BOXES)["masks"], zoomed["masks"]))
    assert all((a == b).all() for a, b in zip(pipe(image, input_boxes=BOXES, box_zoom=None)["masks"], whole["masks"]))


def test_parts_have_a_size_of_their_own(pipe, scene, monkeypatch):
    sizes = []
    plain = pipe.model.forward

    def forward(**given):
        sizes.append(tuple(given["pixel_values"].shape))
        return plain(**given)

    monkeypatch.setattr(pipe.model, "forward", forward)
    monkeypatch.setattr(pipe.image_processor, "zoom_size", 128)
    drawn = render_scene(4, image_size=(128, 120), split="validation")
    things = [s for s in drawn.segments_info if 12 < max(s["bbox"][2:]) < 60]
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (s["bbox"] for s in things)]
    found = pipe(Image.fromarray(scene), input_boxes=boxes, box_zoom=3.0)
    assert sizes == [(len(boxes), 3, 128, 128)] and [mask.shape for mask in found["masks"]] == [(128, 120)] * len(boxes)
    trues = [drawn.segmentation == thing["id"] for thing in things]
    assert max((t & m).sum() / (t | m).sum() for t, m in zip(trues, found["masks"])) > 0.6  # at its place, in its size


@pytest.fixture(scope="module")
def mosaic():
    """Nine scenes in one image, whose things are a third as large as those of training, and masks of 27 of them."""
    scenes = [render_scene(index, split="validation") for index in range(9)]
    rows = [np.concatenate([one.image for one in scenes[3 * row : 3 * row + 3]], axis=1) for row in range(3)]
    trues = []
    for index, one in enumerate(scenes):
        top, left = 96 * (index // 3), 96 * (index % 3)
        for thing in one.objects[:3]:
            mask = one.segmentation == thing.segment_id
            trues.append(np.pad(mask, ((top, 192 - top), (left, 192 - left))))
    return Image.fromarray(np.concatenate(rows)), np.stack(trues)


def test_small_things_are_found_better(pipe, mosaic):
    """What it is for, with a box and with a point."""
    image, trues = mosaic
    boxes = boxes_of_masks(torch.from_numpy(trues)).tolist()
    points = inner_points(trues).tolist()
    for whole, parts, least in (
        ({"input_boxes": boxes, "box_zoom": None}, {"input_boxes": boxes, "box_zoom": 3.0}, 0.6),
        ({"input_points": points, "point_zoom": None}, {"input_points": points, "point_zoom": 48}, 0.4),
    ):
        means = [
            np.mean([(t & m).sum() / (t | m).sum() for t, m in zip(trues, pipe(image, **given)["masks"], strict=True)])
            for given in (whole, parts)
        ]
        assert means[1] > least and means[1] > means[0] + 0.1


def test_a_point_is_understood_better_with_the_box_of_its_mask(pipe, mosaic, monkeypatch):
    image, trues = mosaic
    points = inner_points(trues).tolist()
    means = []
    for zoom in (None, 3.0):
        monkeypatch.setattr(pipe.image_processor, "box_zoom", zoom)
        found = pipe(image, input_points=points, point_zoom=48)["masks"]
        means.append(np.mean([(t & m).sum() / (t | m).sum() for t, m in zip(trues, found, strict=True)]))
    assert means[1] > means[0] + 0.01


def test_of_several_parts_around_a_point_the_best_score_counts(pipe, scene):
    """Parts of 32, 64 and 128 pixels, moved into the image, and the whole: as if each had been cut and asked about."""
    image = Image.fromarray(scene[:, :100])
    point = [20.0, 110.0]
    windows = [(4, 94, 36, 126), (0, 64, 64, 128), (0, 0, 100, 128)]  # of 128 pixels the image is, then, the whole
    ranked = []
    for left, top, right, bottom in windows:
        part = image.crop((left, top, right, bottom))
        answer = pipe(part, input_points=[[point[0] - left, point[1] - top]], multimask_output=True)
        border = np.ones((128, 100), dtype=bool)  # pixels of the part that are at its border and not at the image's
        border[top + (top > 0) : bottom - (bottom < 128), left + (left > 0) : right - (right < 100)] = False
        for mask, score in zip(answer["masks"], answer["scores"]):
            placed = np.zeros((128, 100), dtype=bool)
            placed[top:bottom, left:right] = mask
            ranked.append((placed[110, 20] and not (placed & border).any(), float(score), placed))
    ranked.sort(key=lambda one: one[:2], reverse=True)
    ((masks, scores),) = masks_of_points(pipe.model, pipe.image_processor, image, [[point]], 32)
    assert len(masks) == len(scores) == 4 and ranked[0][0] and not ranked[-1][0]
    for mask, score, (_, expected_score, expected) in zip(masks, scores.tolist(), ranked):
        assert score == pytest.approx(expected_score, abs=1e-4) and (mask != expected).mean() < 1e-4
    (found,) = pipe(image, input_points=[point], point_zoom=32)["masks"]
    assert (found == masks[0]).all()


def blocks(*places):
    """Masks (40, 40) of rectangles: top, bottom, left, right."""
    masks = np.zeros((len(places), 40, 40), dtype=bool)
    for mask, (top, bottom, left, right) in zip(masks, places):
        mask[top:bottom, left:right] = True
    return masks


@pytest.mark.parametrize("signs", [None, [1, 0]])
def test_a_points_masks_are_those_that_their_boxes_give_back(pipe, monkeypatch, signs):
    """An object of 20 x 20 and three answers to a point on it: a quarter of it, nothing, and nearly all of it."""
    whole, part, nearly = (10, 30, 10, 30), (10, 20, 10, 20), (11, 30, 10, 30)
    asked = []

    def ask(self, windows, prompts):
        for (left, top, *_), (x0, y0, x1, y1) in zip(windows, prompts.get("input_boxes", [])):
            asked.append((x0 + left, y0 + top, x1 + left, y1 + top))
            masks = blocks(whole, whole)
            masks[1] = False
            yield zoomed_prompts._Answer((0, 0, 40, 40), masks, torch.tensor([0.8, 0.1]))

    def ask_whole(self, prompts):
        yield zoomed_prompts._Answer(
            (0, 0, 40, 40), np.concatenate([blocks(part), blocks(nearly) & False, blocks(nearly)]), SCORES
        )

    SCORES = torch.tensor([0.9, 0.5, 0.4])
    monkeypatch.setattr(zoomed_prompts._Parts, "ask", ask)
    monkeypatch.setattr(zoomed_prompts._Parts, "ask_whole", ask_whole)
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    points = [[[15.0, 15.0], [20.0, 10.5]][: 2 if signs else 1]]  # the second point is beside the object
    labels = None if signs is None else [[signs]]
    arguments = (pipe.model, pipe.image_processor, image, [points], 40)
    ((masks, scores),) = masks_of_points(*arguments, labels=labels)
    assert scores.tolist() == pytest.approx([0.9, 0.4, 0.5]) and masks[0].sum() == 100 and not asked
    monkeypatch.setattr(pipe.image_processor, "box_zoom", 2.0)
    ((masks, scores),) = masks_of_points(*arguments, labels=labels)
    assert asked == [(10, 10, 20, 20), (10, 11, 30, 30)]  # the boxes around the two masks that cover anything
    # The box around a quarter gives no more than lies near it (11 x 11), that around nearly all of it the whole object.
    assert scores.tolist() == pytest.approx([0.8 * 380 / 400, 0.8 * 100 / 121, 0])
    # What a box gives may cover a point that the mask itself left out, as it should; then that mask stays.
    assert (masks[0] == blocks(whole if signs is None else nearly)[0]).all()
    assert masks[1].sum() == (121 if signs is None else 100) and not masks[2].any()


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ((10, 20), (10, 20), True),
        ((0, 20), (10, 20), False),  # each border of the part
        ((10, 40), (10, 20), False),
        ((10, 20), (0, 20), False),
        ((10, 20), (10, 40), False),
        ((10, 14), (10, 20), False),  # beside the point
    ],
)
def test_masks_that_end_in_their_part(rows, columns, expected):
    """Of a part amid an image of 100 x 120; where the part ends with the image, masks may too."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    assert zoomed_prompts._is_of(np.array([45.0, 35.0]), mask, (30, 20, 70, 60), (100, 120)) is expected
    alone = zoomed_prompts._is_of(np.array([15.0, 15.0]), mask, (0, 0, 40, 40), (40, 40))
    assert alone is (expected or rows != (10, 14))


def test_masks_of_a_box_come_best_first(pipe, scene, monkeypatch):
    """For models that give a box several masks."""
    masks = np.arange(3)[:, None, None] == np.zeros((30, 30))

    def answers(self, windows, prompts):
        return (zoomed_prompts._Answer(window, masks, torch.tensor([0.2, 0.9, 0.5])) for window in windows)

    monkeypatch.setattr(zoomed_prompts._Parts, "ask", answers)
    ((found, scores),) = masks_of_boxes(pipe.model, pipe.image_processor, scene, [[[15.0, 15.0, 45.0, 45.0]]], 1.0)
    assert scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert [mask.any() for mask in found] == [False, False, True]  # only the first of the three covers anything


def test_several_points_of_a_prompt_are_seen_together(pipe, scene, monkeypatch):
    """Parts that do not hold all of them are left out; labels go with their points."""
    seen = []
    plain = pipe.model.forward

    def forward(**given):
        seen.append((given["input_points"], given.get("input_labels")))
        return plain(**given)

    monkeypatch.setattr(pipe.model, "forward", forward)
    points, labels = [[[[30.0, 30.0], [70.0, 34.0]]]], [[[1, 0]]]
    list(masks_of_points(pipe.model, pipe.image_processor, scene, points, 16, labels=labels))
    assert [signs.tolist() for _, signs in seen] == [[[[1, 0]]]] * 2  # the whole, and 64 pixels
    for (given, _), expected, side in zip(seen, (points, [[[[12.0, 30.0], [52.0, 34.0]]]]), (128, 64), strict=True):
        torch.testing.assert_close(given, torch.tensor(expected) * 128 / side)  # the network's input


def test_the_whole_image_is_read_once_for_all_points(pipe, scene, monkeypatch):
    """As the largest of the parts, at their size."""
    sizes = []
    plain = pipe.model.forward

    def forward(**given):
        sizes.append((tuple(given["pixel_values"].shape), tuple(given["input_points"].shape[:2])))
        return plain(**given)

    monkeypatch.setattr(pipe.model, "forward", forward)
    monkeypatch.setattr(pipe.image_processor, "zoom_size", 64)
    found = pipe(Image.fromarray(scene), input_points=[[20, 20], [60, 70], [100, 9]], point_zoom=64)
    assert len(found["masks"]) == 3
    assert sizes == [((1, 3, 64, 64), (1, 3))] + 3 * [((1, 3, 64, 64), (1, 1))]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"box_zoom": 0.5}, "box_zoom is 0.5; it must be a number, at least 1"),
        ({"box_zoom": float("nan")}, "at least 1"),
        ({"box_zoom": float("inf")}, "at least 1"),
        ({"box_zoom": "3"}, "box_zoom is '3'"),
        ({"point_zoom": 32}, "point_zoom was given without input_points"),
        ({"box_zoom": 3.0, "input_points": [[5, 5]]}, "not both"),
        ({"box_zoom": 3.0, "input_labels": [[1]]}, "input_labels was given without input_points"),
        ({"box_zoom": 3.0, "input_boxes": None}, "box_zoom was given without input_boxes"),
        ({"box_zoom": 2.0, "input_boxes": [[5, 5, 5, 9]]}, "no area"),
        ({"point_zoom": 0, "input_points": [[5, 5]], "input_boxes": None}, "in pixels"),
        ({"point_zoom": 9, "input_points": [[5, 500]], "input_boxes": None}, "outside image"),
    ],
)
def test_what_is_refused(pipe, scene, given, message):
    with pytest.raises(ValueError, match=message):
        pipe(Image.fromarray(scene), **{"input_boxes": BOXES, **given})


def test_the_predictor_refuses_a_zoom_without_boxes(scene):
    predictor = hfseg.load("unpairseg-tiny-shapes", task="mask-generation")
    with pytest.raises(ValueError, match="without boxes"):
        hfseg.predict(predictor, Image.fromarray(scene), points=[[5, 5]], box_zoom=3.0)
    with pytest.raises(ValueError, match="point_zoom was given without points"):
        hfseg.predict(predictor, Image.fromarray(scene), boxes=BOXES, point_zoom=32)
    with pytest.raises(ValueError, match="point_zoom is 0"):
        hfseg.predict(predictor, Image.fromarray(scene), points=[[5, 5]], point_zoom=0)
    with pytest.raises(ValueError, match="1 or more"):
        hfseg.predict(predictor, Image.fromarray(scene), boxes=BOXES, box_zoom=0.0)
    with pytest.raises(ValueError, match="box_zoom"):
        hfseg.predict("proscale-tiny-shapes", Image.fromarray(scene), box_zoom=3.0)
