# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes' AP: cases with a closed form, and figures that the official scripts gave on the same random scenes."""

import numpy as np
import pytest

from hfseg.metrics.cityscapes_ap import CityscapesAP

pytest.importorskip("pycocotools.mask")

LABELS = {0: "road", 11: "person", 13: "car", 18: "bicycle"}
H, W = 96, 160


def box(top, left, height, width):
    mask = np.zeros((H, W), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def labels(*objects, road=True, crowds=()):
    """Persons (masks) on a road; without it, what is no person is void."""
    ids = np.full((H, W), 7 if road else 0, dtype=np.int32)
    info = [{"id": 7, "category_id": 0}] if road else []
    for number, mask in enumerate((*objects, *crowds)):
        ids[mask] = 100 + number
        info.append({"id": 100 + number, "category_id": 11, "iscrowd": int(number >= len(objects))})
    return {"segmentation": ids, "segments_info": info}


def found(*detections):
    return [{"segmentation": mask, "category_id": 11, "score": score} for mask, score in detections]


def average_precision(prediction, reference, name="ap"):
    return CityscapesAP(LABELS, [0]).compute(predictions=[prediction], references=[reference])[name]


A, B, AWAY = box(0, 0, 20, 20), box(40, 0, 20, 20), box(60, 100, 20, 20)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (found((A, 0.5)), labels(A), 100),
        # The first point is (recall 0, precision 0), the second (1, 1/2): 1 x (0 + 1/2) / 2. COCO's AP is 50.
        (found((A, 0.5), (AWAY, 0.9)), labels(A), 25),
        # Equal scores are one point, (1, 1/2), after (0, 1): (1 + 1/2) / 2.
        (found((A, 0.5), (AWAY, 0.5)), labels(A), 75),
        # The second detection of A is false: (1/2, 1), (1/2, 1/2), (1, 2/3).
        (found((A, 0.9), (A, 0.8), (B, 0.7)), labels(A, B), 100 * (1 / 2 + (1 / 2 + 2 / 3) / 4)),
        # The better one of two counts, whichever comes first.
        (found((A, 0.6), (A, 0.9)), labels(A), 100),
        # What is missed bounds recall.
        (found((A, 0.9)), labels(A, B), 50),
        (found(), labels(A), 0),
        # 16/24 of the union: at 0.50 to 0.65, 4 of 10.
        (found((box(0, 4, 20, 20), 0.9)), labels(A), 40),
        # Below 100 pixels: neither missed, nor false, whatever the detection's own size.
        (found((A, 0.5), (box(40, 0, 9, 11), 0.9)), labels(A, box(40, 0, 9, 11)), 100),
        # On a crowd, on void: left out.
        (found((A, 0.5), (AWAY, 0.9)), labels(A, crowds=[AWAY]), 100),
        (found((A, 0.5), (AWAY, 0.9)), labels(A, road=False), 100),
        # 14 of 20 rows on a crowd: left out at the thresholds below 0.70, that is at 4 (0.7 itself exceeds nothing).
        (found((A, 0.5), (AWAY, 0.9)), labels(A, crowds=[box(60, 100, 14, 20)]), (4 * 100 + 6 * 25) / 10),
    ],
)
def test_closed_forms(prediction, reference, expected):
    assert average_precision(prediction, reference) == pytest.approx(expected)


def test_an_overlap_of_exactly_a_half_is_no_match():
    half = found((box(0, 0, 10, 20), 0.9))
    assert average_precision(half, labels(A), "ap50") == 0
    more = found((box(0, 0, 11, 20), 0.9))
    assert average_precision(more, labels(A), "ap50") == 100 and average_precision(more, labels(A)) == pytest.approx(10)


def test_classes_that_do_not_occur_and_those_not_found():
    ids = np.where(A, 1, 0).astype(np.int32)
    reference = {"segmentation": ids, "segments_info": [{"id": 1, "category_id": 13}]}
    result = CityscapesAP(LABELS, [0]).compute(predictions=[found((A, 0.9))], references=[reference])
    assert result["per_class"] == {"person": None, "car": 0, "bicycle": None} and result["ap"] == 0
    empty = {"segmentation": ids * 0, "segments_info": []}
    result = CityscapesAP(LABELS, [0]).compute(predictions=[found((A, 0.9))], references=[empty])
    assert result["ap"] is None and result["ap50"] is None


def test_bad_input():
    metric = CityscapesAP(LABELS, [0])
    with pytest.raises(ValueError, match="which says what is void"):
        metric.add(prediction=[], reference={"height": H, "width": W, "annotations": []})
    with pytest.raises(ValueError, match="resize the"):
        small = {"segmentation": np.zeros((4, 4), np.int32), "segments_info": []}
        metric.add(prediction=small, reference=labels(A))
    for void in (np.zeros((4, 4), bool), np.zeros((H, W), np.uint8)):
        with pytest.raises(ValueError, match="'void' must be a boolean mask"):
            metric.add(prediction=[], reference={**labels(A), "void": void})
    with pytest.raises(ValueError, match="no 'score'"):
        metric.add(prediction=[{"segmentation": A, "category_id": 11}], reference=labels(A))


# Class id of the label ids of persons, cars and bicycles.
CLASS_OF = {24: 11, 26: 13, 33: 18}


def scene(generator):
    """A map of `instanceIds`: road (7), void areas, groups, objects that hide others, some of them tiny."""
    ids = np.full((H, W), 7, dtype=np.int32)
    for value in generator.choice([0, 3, 24, 26], 3):
        top, left = generator.integers(0, (H - 20, W - 40))
        ids[top : top + 20, left : left + 40] = value
    for number in range(7):
        label = int(generator.choice(list(CLASS_OF)))
        height, width = generator.integers(4, 34, 2)
        top, left = generator.integers(0, (H - height, W - width))
        ids[top : top + height, left : left + width] = 1000 * label + number
    return ids


def detections(generator, ids):
    """Shifted and frayed copies of the objects, several of some, with ties of scores, and boxes at random."""
    drawn = []
    for value in np.unique(ids[ids >= 24]).tolist():
        label = value // 1000 if value >= 1000 else value
        for _ in range(int(generator.integers(0, 4))):
            mask = np.roll(ids == value, generator.integers(-3, 4, 2), (0, 1))
            mask &= generator.random((H, W)) >= generator.choice([0, 0.1, 0.3])
            score = generator.choice([0.2, 0.4, 0.5, 0.9, generator.random()])
            drawn.append((int(generator.choice([label, label, label, 24])), mask, float(score)))
    for _ in range(3):
        height, width = generator.integers(3, 40, 2)
        mask = box(*generator.integers(0, (H - height, W - width)), height, width)
        drawn.append((int(generator.choice(list(CLASS_OF))), mask, float(generator.random())))
    return drawn


def as_labels(ids):
    info = []
    for value in np.unique(ids).tolist():
        label = value // 1000 if value >= 1000 else value
        if label == 7 or label in CLASS_OF:
            crowd = int(value < 1000 and label != 7)
            info.append({"id": value, "category_id": CLASS_OF.get(label, 0), "iscrowd": crowd})
    return {"segmentation": ids, "segments_info": info}


# allAp, allAp50%, and AP of person, car and bicycle of cityscapesScripts' evalInstanceLevelSemanticLabeling
# (`evaluateImgLists` over these scenes and detections, written as files).
OFFICIAL = {
    0: [0.113737124778, 0.379971020029, 0.072373333721, 0.23125, 0.037588040614],
    1: [0.110005727703, 0.291594516595, 0.099685292777, 0.059924242424, 0.170407647908],
    2: [0.138832901248, 0.425567285535, 0.062753348699, 0.075286360335, 0.278458994709],
    3: [0.098678685149, 0.337871259615, 0.059290023702, 0.086607142857, 0.150138888889],
}


@pytest.mark.parametrize("seed", OFFICIAL)
def test_the_official_scripts_figures_and_merged_states(seed):
    generator = np.random.default_rng(seed)
    parts = [CityscapesAP(LABELS, [0]), CityscapesAP(LABELS, [0])]
    for number in range(4):
        ids = scene(generator)
        prediction = [
            {"segmentation": mask, "category_id": CLASS_OF[label], "score": score}
            for label, mask, score in detections(generator, ids)
        ]
        parts[number % 2].add(prediction=prediction, reference=as_labels(ids))
    parts[0].merge_state(parts[1].state_dict())
    result = parts[0].compute()
    measured = [result["ap"], result["ap50"], *result["per_class"].values()]
    assert measured == pytest.approx([100 * value for value in OFFICIAL[seed]], abs=1e-9) and result["num_images"] == 4
