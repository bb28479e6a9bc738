# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Suppression of duplicates in panoptic and instance results against a greedy loop over queries."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg import ProScaleImageProcessor, ProScaleImageProcessorPil, UniSegFormerImageProcessor, postprocess
from hfseg.files.images import stretch_contrast


def logits_of(masks: list[tuple[int, int, int, int]], size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """Draws sharp mask logits (1, N, h, w) of rectangles (top, left, bottom, right)."""
    logits = torch.full((1, len(masks), *size), -20.0)
    for index, (top, left, bottom, right) in enumerate(masks):
        logits[0, index, top:bottom, left:right] = 20.0
    return logits


def class_logits_of(probabilities: list[float], labels: list[int], num_labels: int = 3) -> torch.Tensor:
    """Gives every query its class probability, the rest to "no object"."""
    rows = torch.full((len(labels), num_labels + 1), 1e-9)
    for row, probability, label in zip(rows, probabilities, labels):
        row[label], row[-1] = probability, 1 - probability
    return rows.log().unsqueeze(0)


def greedy(masks: torch.Tensor, scores: list[float], exempt: list[bool]) -> list[bool]:
    """Decides from the best query down, one comparison after the other."""
    keep = list(exempt)
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        if exempt[index]:
            continue
        area = int(masks[index].sum())
        better = [other for other in range(len(scores)) if keep[other] and not exempt[other]]
        keep[index] = all(int((masks[other] & masks[index]).sum()) < 0.5 * area for other in better)
    return keep


def test_distinct_queries_are_those_of_a_greedy_loop():
    generator = torch.Generator().manual_seed(0)
    removed = 0
    for _ in range(20):
        corners = torch.rand(30, 4, generator=generator)
        boxes = [
            (int(t * 16), int(l * 24), int(t * 16) + 2 + int(h * 8), int(l * 24) + 2 + int(w * 8))
            for t, l, h, w in corners.tolist()
        ]
        logits = logits_of(boxes)[0]
        scores = torch.rand(30, generator=generator)
        exempt = torch.rand(30, generator=generator) < 0.2
        actual = postprocess.distinct_queries(logits, scores, exempt)
        assert actual.tolist() == greedy(logits >= 0, scores.tolist(), exempt.tolist())
        removed += int((~actual).sum())
    assert removed > 100


def test_a_query_is_ranked_by_how_sure_its_mask_is_too():
    logits = logits_of([(0, 0, 8, 8), (0, 0, 8, 8)])[0]
    logits[0] = logits[0].clamp(-0.5, 0.5)  # probable class, doubtful mask
    assert postprocess.distinct_queries(logits, torch.tensor([0.9, 0.7])).tolist() == [False, True]


def test_padding_does_not_count():
    """Both masks agree in the padding only; within the image they lie apart."""
    logits = logits_of([(0, 0, 8, 8), (8, 0, 12, 8)])[0]
    logits[:, 16:] = 20.0
    sizes = {"padded_size": (96, 128), "image_size": (62, 128)}
    assert postprocess.distinct_queries(logits, torch.tensor([0.9, 0.8])).tolist() == [True, False]
    assert postprocess.distinct_queries(logits, torch.tensor([0.9, 0.8]), **sizes).tolist() == [True, True]


# A square, its worse half, a speck elsewhere, and stuff under everything (class 2).
BOXES = [(0, 0, 12, 12), (0, 0, 6, 12), (20, 20, 21, 23), (0, 0, 24, 32)]
SCENE = (class_logits_of([0.95, 0.9, 0.9, 0.99], [0, 1, 1, 2]), logits_of(BOXES))


def test_panoptic_without_duplicates_and_specks():
    def labels_and_areas(**options):
        ((_, segments),) = postprocess.panoptic_segmentation(
            *SCENE, threshold=0.5, overlap_mask_area_threshold=0.1, label_ids_to_fuse=[2], **options
        )
        return [(segment["label_id"], segment["area"]) for segment in segments]

    rest = 24 * 32
    assert labels_and_areas() == [(2, rest)]  # the best class probability takes every pixel
    scene = (class_logits_of([0.95, 0.9, 0.9, 0.6], [0, 1, 1, 2]), SCENE[1])

    def again(**options):
        ((id_map, segments),) = postprocess.panoptic_segmentation(
            *scene, threshold=0.5, overlap_mask_area_threshold=0.0, label_ids_to_fuse=[2], **options
        )
        assert [segment["area"] for segment in segments] == [int((id_map == s["id"]).sum()) for s in segments]
        return [(segment["label_id"], segment["area"]) for segment in segments]

    assert again(suppress_duplicates=True) == [(0, 144), (1, 3), (2, rest - 147)]
    assert again(suppress_duplicates=True, min_segment_area=4) == [(0, 144), (2, rest - 147)]
    assert again(min_segment_area=3) == [(0, 144), (1, 3), (2, rest - 147)]


def test_slivers_of_duplicates_disappear():
    """Two queries of one object, each surer of another half: both survive the pixel-wise maximum."""
    logits = logits_of([(4, 4, 16, 16), (4, 4, 16, 16)])
    logits[0, 0, 4:10] = logits[0, 0, 4:10] * 0.1
    logits[0, 1, 10:16] = logits[0, 1, 10:16] * 0.1
    classes = class_logits_of([0.9, 0.9], [0, 0])
    plain, suppressed = (
        postprocess.panoptic_segmentation(
            classes, logits, threshold=0.5, overlap_mask_area_threshold=0.2, suppress_duplicates=on
        )[0][1]
        for on in (False, True)
    )
    assert len(plain) == 2 and len(suppressed) == 1 and suppressed[0]["area"] == 144


def test_instances_without_duplicates_and_specks():
    def found(**options):
        (instances,) = postprocess.instance_segmentation(*SCENE, threshold=0.5, stuff_label_ids=[2], **options)
        return list(zip(instances.label_ids.tolist(), instances.areas.tolist()))

    assert found() == [(0, 144), (1, 72), (1, 3)]
    assert found(suppress_duplicates=True) == [(0, 144), (1, 3)]
    assert found(suppress_duplicates=True, min_segment_area=4) == [(0, 144)]


def test_classes_of_a_query_stay_together():
    classes = torch.tensor([[[2.0, 1.9, -9.0, 0.0], [1.0, 0.5, -9.0, 0.0]]])
    (instances,) = postprocess.instance_segmentation(
        classes, logits_of([(0, 0, 8, 8), (0, 0, 8, 8)]), stuff_label_ids=[2], suppress_duplicates=True
    )
    assert sorted(instances.label_ids.tolist()) == [0, 1] and len(instances.packed_masks) == 1


@pytest.mark.parametrize(
    "processor_class", [ProScaleImageProcessor, ProScaleImageProcessorPil, UniSegFormerImageProcessor]
)
def test_it_is_a_setting_of_the_processor(processor_class, tmp_path):
    outputs = SimpleNamespace(class_queries_logits=SCENE[0], masks_queries_logits=SCENE[1])
    assert not processor_class().suppress_duplicates and processor_class().min_segment_area == 0
    processor = processor_class(suppress_duplicates=True, min_segment_area=60, label_ids_to_fuse=[2])
    processor.save_pretrained(tmp_path)
    processor = processor_class.from_pretrained(tmp_path)
    (result,) = processor.post_process_instance_segmentation(outputs, threshold=0.5)
    assert [segment["label_id"] for segment in result["segments_info"]] == [0]
    (result,) = processor.post_process_panoptic_segmentation(outputs, threshold=0.5, label_ids_to_fuse=[])
    assert 1 not in [segment["label_id"] for segment in result["segments_info"]]


@pytest.mark.parametrize("processor_class", [ProScaleImageProcessor, ProScaleImageProcessorPil])
def test_contrast_is_stretched_before_all_else(processor_class, tmp_path):
    """As the reader of training data does it."""
    generator = np.random.default_rng(0)
    dark = generator.integers(3, 40, (32, 64, 3), dtype=np.uint8)
    size = {"height": 32, "width": 64}
    processor_class(stretch_contrast=True, size=size).save_pretrained(tmp_path)
    processor = processor_class.from_pretrained(tmp_path)
    expected = processor(stretch_contrast(dark), stretch_contrast=False, return_tensors="pt")["pixel_values"]
    actual = processor(Image.fromarray(dark), return_tensors="pt")["pixel_values"]
    assert torch.equal(actual, expected) and actual.max() > 2
    assert processor(dark, stretch_contrast=False, return_tensors="pt")["pixel_values"].max() < -1
    with pytest.raises(ValueError, match="stretch_contrast needs 8-bit images, but image 0 has the type"):
        processor(dark.astype(np.float32), return_tensors="pt")
