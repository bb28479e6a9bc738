# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Panoptic quality against hand-computed cases of the paper's definition and COCO's void and crowd rules."""

import pickle

import numpy as np
import pytest
import torch

from hfseg.data.synthetic.shapes import id2label, render_scene, stuff_class_ids
from hfseg.metrics.panoptic_quality import PanopticQuality

LABELS = {1: "cat", 2: "dog", 7: "sky", 9: "road"}


def side(rows, **categories):
    """Map from text, one letter per pixel, '.' for void; `categories` gives every letter's class (a crowd: "1c")."""
    letters = sorted({letter for row in rows for letter in row} | set(categories))
    ids = {letter: 0 if letter == "." else 10 * position + 3 for position, letter in enumerate(letters)}
    segmentation = np.array([[ids[letter] for letter in row] for row in rows])
    segments = [
        {"id": ids[letter], "category_id": int(str(c).rstrip("c")), "iscrowd": int(str(c).endswith("c"))}
        for letter, c in categories.items()
    ]
    return {"segmentation": segmentation, "segments_info": segments}


def quality(prediction, reference):
    return PanopticQuality(LABELS, stuff_class_ids=[7, 9]).compute(predictions=[prediction], references=[reference])


def test_perfect_prediction():
    example = side(["aabb", "ssss"], a=1, b=1, s=7)
    result = quality(example, example)
    assert (result["pq"], result["sq"], result["rq"]) == (100, 100, 100)
    assert (result["num_classes"], result["num_classes_things"], result["num_classes_stuff"]) == (2, 1, 1)
    assert result["per_class"]["dog"]["pq"] is None and result["per_class"]["cat"]["tp"] == 2


def test_matched_missed_and_wrong_segments_of_one_class():
    # a matches x with IoU 4/5; b is missed (IoU exactly 0.5 is no match); y and z are false.
    reference = side(["aaaaassss", "bbbbsssss"], a=1, b=1, s=7)
    prediction = side(["xxxxssssz", "yyssssszz"], x=1, y=1, z=2, s=7)
    result = quality(prediction, reference)
    cat = result["per_class"]["cat"]
    assert (cat["tp"], cat["fp"], cat["fn"]) == (1, 1, 1)
    assert cat["pq"] == pytest.approx(100 * ((4 / 5) / 2)) and cat["sq"] == pytest.approx(100 * (4 / 5))
    assert cat["rq"] == pytest.approx(100 * (1 / 2))
    assert result["per_class"]["dog"]["pq"] == 0 and result["per_class"]["dog"]["fp"] == 1
    sky = result["per_class"]["sky"]  # intersection 3 + 3, union 9 + 9 - 6: exactly 0.5
    assert (sky["tp"], sky["fp"], sky["fn"]) == (0, 1, 1)
    assert result["num_classes"] == 3 and result["num_classes_things"] == 2
    assert result["pq_things"] == pytest.approx(100 * ((0.4 + 0) / 2))


def test_iou_of_exactly_one_half_is_no_match():
    result = quality(side(["xx.."], x=1), side(["aass"], a=1, s=7))
    assert result["per_class"]["cat"]["tp"] == 1
    result = quality(side(["xxxx"], x=1), side(["aass"], a=1, s=7))
    assert (result["per_class"]["cat"]["tp"], result["per_class"]["cat"]["fp"]) == (0, 1)
    assert result["per_class"]["cat"]["fn"] == 1


def test_the_right_pixels_of_another_class_are_both_missed_and_wrong():
    result = quality(side(["xx"], x=2), side(["aa"], a=1))
    assert result["per_class"]["cat"]["fn"] == 1 and result["per_class"]["dog"]["fp"] == 1 and result["pq"] == 0


def test_void_pixels_of_the_reference_leave_the_union():
    # Without the rule the IoU of x would be 2/4, no match.
    result = quality(side(["xxxx"], x=1), side(["aa.."], a=1))
    assert result["per_class"]["cat"] == {"pq": 100.0, "sq": 100.0, "rq": 100.0, "tp": 1, "fp": 0, "fn": 0}


def test_void_pixels_of_the_prediction_stay_in_the_union():
    result = quality(side(["xxx."], x=1), side(["aaaa"], a=1))
    assert result["per_class"]["cat"]["sq"] == pytest.approx(100 * (3 / 4))


def test_prediction_mostly_on_void_is_not_false_but_half_is():
    assert quality(side(["xxx"], x=1), side(["..s"], s=7))["per_class"]["cat"]["fp"] == 0
    assert quality(side(["xx"], x=1), side([".s"], s=7))["per_class"]["cat"]["fp"] == 1


def test_crowd_of_the_same_class_excuses_and_is_never_missed():
    reference = side(["ccc", "sss"], c="1c", s=7)
    same = quality(side(["xxx", "sss"], x=1, s=7), reference)
    assert same["per_class"]["cat"]["pq"] is None and same["pq"] == 100  # neither match, nor false, nor missed
    other = quality(side(["xxx", "sss"], x=2, s=7), reference)
    assert other["per_class"]["dog"]["fp"] == 1
    # Crowd and void add up: 1 crowd + 1 void of 3 pixels is more than half.
    result = quality(side(["xxx"], x=1), side(["c.s"], c="1c", s=7))
    assert result["per_class"]["cat"]["pq"] is None


def test_batches_processes_and_order_do_not_matter():
    generator = np.random.default_rng(0)
    references, predictions = [], []
    for index in range(8):
        scene = render_scene(index, image_size=(48, 48))
        reference = {"segmentation": scene.segmentation, "segments_info": scene.segments_info}
        rows, columns = generator.integers(0, 6, 2)
        moved = np.roll(scene.segmentation, (rows, columns), axis=(0, 1))
        predictions.append({"segmentation": torch.from_numpy(moved), "segments_info": scene.segments_info})
        references.append(reference)

    def make():
        return PanopticQuality(id2label, stuff_class_ids)

    whole = make().compute(predictions=predictions, references=references)
    assert 10 < whole["pq"] < 99
    parts = []
    for part in (slice(5, 8), slice(0, 5)):
        metric = make()
        metric.add_batch(predictions=predictions[part], references=references[part])
        parts.append(pickle.loads(pickle.dumps(metric.state_dict())))
    merged = make()
    for state in parts:
        merged.merge_state(state)
    merged = merged.compute()
    assert merged["per_class"].keys() == whole["per_class"].keys() and merged["num_images"] == 8
    for name in ("pq", "sq", "rq", "pq_things", "pq_stuff"):
        assert merged[name] == pytest.approx(whole[name], abs=1e-12)


def test_compute_clears_the_state_and_needs_data():
    metric = PanopticQuality(LABELS)
    example = side(["aa"], a=1)
    metric.add(prediction=example, reference=example)
    assert metric.compute()["num_images"] == 1
    with pytest.raises(ValueError, match="add_batch"):
        metric.compute()


def test_label_id_of_post_processing_and_negative_background_are_understood():
    prediction = {"segmentation": np.array([[-1, 4]]), "segments_info": [{"id": 4, "label_id": 1, "score": 0.9}]}
    assert quality(prediction, side([".a"], a=1))["pq"] == 100


@pytest.mark.parametrize(
    "prediction, words",
    [
        (side(["aa", "aa"], a=1), ["(2, 2)", "(1, 2)"]),
        (side(["ab"], a=1), ["13", "segments_info"]),
        (side(["aa"], a=3), ["class 3", "[1, 2, 7, 9]"]),
        ({"segmentation": np.zeros((1, 1, 2)), "segments_info": []}, ["(1, 1, 2)"]),
        (np.zeros((1, 2)), ["segments_info"]),
    ],
)
def test_errors(prediction, words):
    with pytest.raises(ValueError) as error:
        quality(prediction, side(["aa"], a=1))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_states_of_other_classes_do_not_merge():
    with pytest.raises(ValueError, match="different classes"):
        PanopticQuality(LABELS).merge_state(PanopticQuality({0: "x"}).state_dict())
    with pytest.raises(ValueError, match="not in id2label"):
        PanopticQuality(LABELS, stuff_class_ids=[8])


def test_known_background_does_not_excuse_predictions():
    """One true object of 4 pixels; one prediction of 6 over it, one of 3 in the background."""
    truth = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]])
    found = np.array([[1, 1, 1, 1, 1, 1, 0, 2, 2, 2]])
    reference = {"segmentation": truth, "segments_info": [{"id": 1, "category_id": 0}]}
    prediction = {"segmentation": found, "segments_info": [{"id": i, "category_id": 0} for i in (1, 2)]}
    results = [
        PanopticQuality({0: "cell"}, unlabeled_is_void=void).compute(predictions=[prediction], references=[reference])
        for void in (True, False)
    ]
    assert results[0]["pq"] == 100 and results[0]["per_class"]["cell"]["fp"] == 0
    assert results[1]["pq"] == pytest.approx(100 * ((4 / 6) / (1 + 0.5))) and results[1]["per_class"]["cell"]["fp"] == 1
