# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class maps: the authors' results, and half precision resized in float32."""

import pytest
import torch
from torch.nn import functional as F

from hfseg import postprocess
from hfseg.postprocess.semantic import LikelyClasses, resize_class_logits

LARGEST_DIFFERENT_SHARE = 0.0005


def test_semantic_equals_the_authors(golden):
    _, logits, sizes, expected, _ = golden
    maps, scores = postprocess.semantic_segmentation(*logits, **sizes, return_scores=True)
    for index in range(2):
        different = maps[index] != expected[f"post_{index}_sem_seg_argmax"]
        assert different.float().mean() <= LARGEST_DIFFERENT_SHARE
        torch.testing.assert_close(scores[index][:, ::3, ::3], expected[f"post_{index}_sem_seg"], atol=1e-5, rtol=0)
        assert torch.equal(scores[index].argmax(0), maps[index])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_resized_in_float32(dtype):
    logits = (torch.randn(1, 6, 5) * 3, torch.randn(1, 6, 8, 8) * 3)
    halves = tuple(value.to(dtype) for value in logits)
    expected, _ = postprocess.semantic_segmentation(*(value.float() for value in halves), output_sizes=[(20, 20)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = postprocess.semantic_segmentation(*halves, output_sizes=[(20, 20)])
    assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("likely", [1, 4, 25])
def test_unlikely_classes_win_where_they_should(likely):
    """Against all scores at once: strong masks, none, equal scores, and unlikely classes that win."""
    generator = torch.Generator().manual_seed(likely)
    weights = 0.01 * torch.rand(40, 12, generator=generator)
    weights[torch.randperm(40, generator=generator)[:likely], torch.arange(likely) % 12] = 0.5
    weights[7] = weights[3]
    probabilities = torch.rand(12, 5000, generator=generator)
    probabilities[:, 1000:2000] *= 1e-6
    probabilities[:, 2000:3000] *= torch.rand(12, 1, generator=generator) > 0.7
    probabilities[: min(likely, 11), 2500:3000] = 0  # what the likely classes need
    probabilities[:, 3000:3010] = 0
    few = LikelyClasses.of(weights)
    assert few is not None and len(few.likely) <= likely + 1
    scores = (weights.double() @ probabilities.double()).float()
    found, expected = few.best(probabilities), (weights @ probabilities).max(0).values
    assert (found[3000:3010] == 0).all()  # the first of equal ones
    torch.testing.assert_close(scores.gather(0, found[None])[0], expected, rtol=1e-5, atol=0)
    assert (found == scores.argmax(0)).float().mean() > 0.999
    if likely < 12:
        assert torch.isin(found, few.unlikely).float().mean() > 0.05
    assert LikelyClasses.of(torch.full((10, 3), 0.3)) is None and LikelyClasses.of(torch.zeros(10, 3)) is None


@pytest.mark.parametrize(
    "inner, target", [((33, 45), (99, 135)), ((40, 60), (20, 30)), ((48, 45), (48, 90)), ((7, 60), (7, 61))]
)
def test_class_logits_do_not_depend_on_padding(inner, target):
    """A plane of logits is linear in the pixels: what is read at each pixel's place is known, padded or not."""

    def plane(rows, columns):
        return 2.0 * rows[:, None] - columns[None] + 3

    padded, stride = (48, 64), 4
    centers = [stride * (torch.arange(size // stride) + 0.5) for size in padded]
    logits = plane(*centers)[None, None]
    (resized,) = resize_class_logits(logits, padded, [inner], [target])
    places = [(torch.arange(out) + 0.5) * size / out for out, size in zip(target, inner)]
    # Past the center of the image's last pixel, and outside the outermost centers, the border is repeated.
    places = [place.clamp(0.5, size - 0.5) for place, size in zip(places, inner)]
    places = [place.clamp(center[0], center[-1]) for place, center in zip(places, centers)]
    torch.testing.assert_close(resized[0], plane(*places), atol=1e-4, rtol=1e-5)


def test_class_logits_of_whole_inputs_are_interpolated_straight():
    logits = torch.randn(1, 3, 12, 16)
    (resized,) = resize_class_logits(logits, (48, 64), [(48, 64)], [(50, 70)])
    torch.testing.assert_close(resized, F.interpolate(logits, (50, 70), mode="bilinear")[0], atol=0, rtol=0)
