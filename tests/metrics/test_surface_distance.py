# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Surface distances: against all pairs and MONAI, the four empty cases, merging."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hfseg.metrics import Dice, SurfaceDistance, surface_distances

NAMES = {0: "background", 1: "left", 2: "right"}

SPACING = (0.7, 0.5, 3.0)


def blobs(seed: int, shape=(20, 24, 9)) -> np.ndarray:
    """Smooth random classes 0 to 2, touching the border."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(3, *shape)), (0, 3, 3, 1.5))
    noise[0] += 0.02
    return noise.argmax(0).astype(np.uint8)


def brute_force(own: np.ndarray, other: np.ndarray, spacing) -> np.ndarray:
    """Distances of all surface voxels of one mask to the other surface, by all pairs; surfaces found by hand."""

    def edge(mask):
        padded = np.pad(mask, 1)
        inner = padded.copy()
        for axis in range(mask.ndim):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)
        return np.argwhere(padded & ~inner) * np.asarray(spacing)

    a, b = edge(own), edge(other)
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)).min(1)


def test_surface_distances_equal_all_pairs():
    own, other = blobs(0) == 1, blobs(1) == 1
    there, back = surface_distances(own, other, SPACING)
    np.testing.assert_allclose(np.sort(there), np.sort(brute_force(own, other, SPACING)))
    np.testing.assert_allclose(np.sort(back), np.sort(brute_force(other, own, SPACING)))
    metric = SurfaceDistance({0: "background", 1: "organ"})
    metric.add(prediction=own.astype(int), reference=other.astype(int), spacing=SPACING)
    both = np.concatenate([there, back])
    assert metric.compute()["assd"] == pytest.approx(both.mean())  # pooled
    assert both.mean() != pytest.approx((there.mean() + back.mean()) / 2, rel=1e-4)


def test_spacings_are_taken_by_every_way_in():
    """A cube and the same 3 voxels of 2 mm further on: no surface is farther than 6 mm from the other."""
    cube = np.zeros((20, 12, 12), dtype=int)
    cube[2:10, 2:10, 2:10] = 1
    case = {"predictions": [np.roll(cube, 3, axis=0)], "references": [cube], "spacings": [(2.0, 1.0, 1.0)]}
    names = {0: "background", 1: "cube"}
    whole, batch = SurfaceDistance(names).compute(**case), SurfaceDistance(names)
    batch.add_batch(**case)
    assert batch.compute() == whole and whole["hd"] == 6.0 and whole["unit"] == "mm"
    with pytest.raises(ValueError, match="must both be given"):
        SurfaceDistance(names).compute(spacings=[(1, 1, 1)])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
def test_equals_monai(spacing):
    metrics = pytest.importorskip("monai.metrics")
    prediction, reference = blobs(2), blobs(3)
    one_hot = [
        torch.from_numpy(np.stack([m == c for c in range(3)])[None].astype(np.float32)) for m in (prediction, reference)
    ]
    metric, dice = SurfaceDistance(NAMES, tolerance=1.0), Dice(NAMES)
    metric.add(prediction=prediction, reference=reference, spacing=spacing)
    dice.add(prediction=prediction, reference=reference)
    ours, overlap = metric.compute()["per_class"], dice.compute()["per_class"]
    options = {"include_background": False}
    theirs = {
        "assd": metrics.SurfaceDistanceMetric(symmetric=True, **options)(*one_hot, spacing=list(spacing)),
        "hd95": metrics.HausdorffDistanceMetric(percentile=95, **options)(*one_hot, spacing=list(spacing)),
        "hd": metrics.HausdorffDistanceMetric(**options)(*one_hot, spacing=list(spacing)),
        "nsd": metrics.SurfaceDiceMetric([1.0, 1.0], **options)(*one_hot, spacing=list(spacing)),
    }
    for name, values in theirs.items():
        for label, value in zip(("left", "right"), values[0].tolist()):
            scale = 100 if name == "nsd" else 1
            assert ours[label][name] == pytest.approx(scale * value, rel=1e-5), (name, label)
    for label, value in zip(("left", "right"), metrics.DiceMetric(**options)(*one_hot)[0].tolist()):
        assert overlap[label]["dice"] == pytest.approx(100 * value, rel=1e-6)


def empty_cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Neither, both, the reference, the prediction empty (of class 1; class 2 never occurs)."""
    full, nothing = np.zeros((4, 3), dtype=int), np.zeros((4, 3), dtype=int)
    full[1:3, 1] = 1
    return [(full, full), (nothing, nothing), (full, nothing), (nothing, full)]


@pytest.mark.parametrize("empty, expected, cases", [("penalize", (0 + 10 + 10) / 3, 3), ("skip", 0.0, 1)])
def test_four_empty_cases_of_surface_distance(empty, expected, cases):
    metric = SurfaceDistance(NAMES, empty=empty)
    for prediction, reference in empty_cases():
        metric.add(prediction=prediction, reference=reference, spacing=(2.0, 2.0))  # 8 x 6 mm: the diagonal is 10
    result = metric.compute()
    left = result["per_class"]["left"]
    assert left["assd"] == left["hd95"] == pytest.approx(expected) and left["num_cases"] == cases
    assert (left["both_empty"], left["reference_empty"], left["prediction_empty"]) == (1, 1, 1)
    assert result["per_class"]["right"]["assd"] is None
    assert result["unit"] == "mm" and np.isfinite(result["assd"])


def test_ignored_voxels_count_nowhere():
    metric, surface = Dice(NAMES), SurfaceDistance(NAMES)
    prediction, reference = np.array([[1, 1, 1, 0]]), np.array([[1, 255, 255, 0]])
    metric.add(prediction=prediction, reference=reference)
    surface.add(prediction=prediction, reference=reference)
    assert metric.compute()["per_class"]["left"]["dice"] == 100
    result = surface.compute()
    assert result["assd"] == 0 and result["unit"] == "px"


def test_processes_merge():
    whole, halves = SurfaceDistance(NAMES), [SurfaceDistance(NAMES), SurfaceDistance(NAMES)]
    for index in range(4):
        case = {"prediction": blobs(index), "reference": blobs(index + 9), "spacing": SPACING}
        whole.add(**case)
        halves[index % 2].add(**case)
    halves[0].merge_state(halves[1].state_dict())
    merged, expected = halves[0].compute(), whole.compute()
    assert merged["num_cases"] == 4
    assert merged["assd"] == pytest.approx(expected["assd"])


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        Dice(NAMES).add(prediction=np.zeros((2, 2)), reference=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="value"):
        Dice(NAMES).add(prediction=np.full((2, 2), 7), reference=np.zeros((2, 2)))
    metric = SurfaceDistance(NAMES)
    with pytest.raises(ValueError, match="3 sizes"):
        metric.add(prediction=np.zeros((2, 2, 2)), reference=np.zeros((2, 2, 2)), spacing=(1.0, 1.0))
    metric.add(prediction=np.zeros((2, 2)), reference=np.zeros((2, 2)), spacing=(1.0, 1.0))
    with pytest.raises(ValueError, match="pixels"):
        metric.add(prediction=np.zeros((2, 2)), reference=np.zeros((2, 2)))
