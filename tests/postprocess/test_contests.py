# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pixels go to the same queries, and classes, tile by tile as with all queries at all pixels."""

import pytest
import torch

from hfseg.postprocess import contests, panoptic, semantic, tiles
from hfseg.postprocess.resizing import BandResizer


def blobs(queries: int, size: tuple[int, int], seed: int = 0, radius: float = 0.2) -> torch.Tensor:
    """Soft disks at random places. Shape: (Q, h, w)."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    center = torch.rand(2, queries, 1, 1, generator=generator)
    reach = radius * (0.3 + torch.rand(queries, 1, 1, generator=generator))
    distance = ((y - center[0]) ** 2 + (x - center[1]) ** 2).sqrt()
    return 6 * (1 - distance / reach) + 0.3 * torch.randn(queries, *size, generator=generator)


def both(logits, scores, threshold=0.0, padded=None, image=None, output=None):
    padded = padded or (4 * logits.shape[1], 4 * logits.shape[2])
    resizer = BandResizer(logits, padded, image or padded, output or padded)
    return contests.contest_in_tiles(resizer, scores, threshold), panoptic._contest(resizer, scores, threshold)


def equal(ours, theirs):
    """Up to pixels whose two best scores are equal within rounding: none, or very few."""
    pixels = theirs.painted_map.numel()
    assert (ours.painted_map != theirs.painted_map).sum() <= pixels // 100_000
    for name in ("own_area", "won_area", "painted_area"):
        assert (getattr(ours, name) - getattr(theirs, name)).abs().max() <= pixels // 100_000 + 1, name
    assert ours.won_area.sum() == pixels and ours.painted_map.dtype == theirs.painted_map.dtype


@pytest.mark.parametrize(
    ("size", "padded", "image", "output"),
    [
        ((50, 68), (200, 272), (200, 272), (200, 272)),
        ((50, 68), (200, 272), (190, 251), (301, 397)),  # cropped, sides that no tile divides
        ((51, 67), (204, 268), (204, 268), (53, 71)),  # almost the size of the logits
        ((24, 20), (96, 80), (96, 80), (900, 700)),  # large tiles
        ((40, 40), (160, 160), (160, 160), (33, 35)),  # reduced
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 2.0, -1.0])
def test_tiles_give_what_bands_give(size, padded, image, output, threshold, monkeypatch):
    monkeypatch.setattr(contests, "LARGEST_SHARE", 1.0)
    logits = blobs(30, size, radius=0.15)
    scores = torch.rand(30, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.5
    ours, theirs = both(logits, scores, threshold, padded, image, output)
    equal(ours, theirs)
    assert ours.painted_area.sum() > 0


def test_far_queries_are_left_out():
    """What tiles are for: in most of them few queries are looked at."""
    logits = blobs(60, (100, 100), radius=0.08)
    resizer = BandResizer(logits, (400, 400), (400, 400), (400, 400))
    extremes = tiles.TileGrid(resizer).extremes()
    assert extremes is not None
    alive = contests._alive(extremes, torch.ones(60), 0.0)
    assert 1 / 60 <= alive.float().mean() < 0.25 and alive.any(0).all()


def test_equal_scores_go_to_the_first(monkeypatch):
    monkeypatch.setattr(contests, "LARGEST_SHARE", 1.0)
    logits = blobs(4, (30, 30))[[0, 1, 0, 1, 2, 2]]  # each twice
    ours, theirs = both(logits, torch.ones(6))
    equal(ours, theirs)
    assert ours.won_area[2] == ours.won_area[3] == ours.won_area[5] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bands_serve_what_tiles_cannot(bad):
    """Numbers that are not finite, and queries that are everywhere."""
    logits = blobs(6, (30, 30))
    everywhere = BandResizer(torch.zeros(6, 30, 30), (120, 120), (120, 120), (120, 120))
    assert contests.contest_in_tiles(everywhere, torch.ones(6), 0.0) is None
    logits[3, 5, 5] = bad
    assert both(logits, torch.ones(6))[0] is None


def test_a_query_that_is_best_in_a_corner_takes_part(monkeypatch):
    """One mask is flat, the other rises across it: each wins where it is larger, however little of a tile that is."""
    monkeypatch.setattr(contests, "LARGEST_SHARE", 1.0)
    flat = torch.full((40, 40), 1.0)
    rising = torch.linspace(-1, 1.4, 40).expand(40, 40)
    low = torch.full((40, 40), -3.0)
    ours, theirs = both(torch.stack([flat, rising, low, low]), torch.ones(4), threshold=2.0)  # no pixels of its own
    equal(ours, theirs)
    assert 0 < ours.won_area[1] < 0.25 * ours.painted_map.numel() and ours.won_area[2] == 0


# --------------------------------------------------------------------------------------------------------- class maps
def class_map(logits, weights, output, padded=None, image=None):
    padded = padded or (4 * logits.shape[1], 4 * logits.shape[2])
    resizer = BandResizer(logits, padded, image or padded, output)
    scores = [torch.einsum("kq,qhw->khw", weights, band.sigmoid()) for _, band in resizer.bands()]
    return contests.classes_in_tiles(resizer, weights), torch.cat(scores, 1)


def class_weights(classes: int, queries: int, seed: int = 0, sharpness: float = 6.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(queries, classes + 1, generator=generator)
    return logits.softmax(-1)[:, :-1].t().contiguous()


@pytest.mark.parametrize(
    ("size", "padded", "image", "output"),
    [
        ((50, 68), (200, 272), (200, 272), (200, 272)),
        ((50, 68), (200, 272), (190, 251), (301, 397)),
        ((51, 67), (204, 268), (204, 268), (53, 71)),
        ((24, 20), (96, 80), (96, 80), (900, 700)),
        ((40, 40), (160, 160), (160, 160), (33, 35)),
    ],
)
@pytest.mark.parametrize(("sharpness", "left_out"), [(0.5, 0.01), (6.0, 0.01), (1.0, 0.5)])
def test_class_maps_by_tiles_are_the_largest_scores(size, padded, image, output, sharpness, left_out, monkeypatch):
    """At every pixel the class has the largest score of all of them, up to what rounding may change."""
    monkeypatch.setattr(contests, "LEFT_OUT", left_out)
    monkeypatch.setattr(contests, "TILE_DEARNESS", 0)
    monkeypatch.setattr(contests, "LARGEST_OPEN_SHARE", 1.0)
    ours, scores = class_map(blobs(30, size, radius=0.15), class_weights(17, 30, 1, sharpness), output, padded, image)
    assert ours is not None and ours.dtype == torch.int64 and ours.shape == output
    assert len(ours.unique()) > 5
    chosen = scores.gather(0, ours[None])[0]
    assert (scores.amax(0) - chosen <= 1e-6 * scores.amax(0)).all()


def test_the_class_map_of_sharp_masks_asks_few_pixels_for_all_queries(monkeypatch):
    """What tiles are for; and a semantic map is made by them."""
    asked = []
    whole = contests._best_of_all
    monkeypatch.setattr(contests, "_best_of_all", lambda *a: asked.append(len(a[2])) or whole(*a))
    logits, weights = 2 * blobs(60, (100, 100), radius=0.2), class_weights(40, 60)
    ours, scores = class_map(logits, weights, (400, 400))
    assert ours is not None and sum(asked) < 0.02 * ours.numel()
    class_logits = torch.cat((weights, 1 - weights.sum(0, keepdim=True))).clamp(min=1e-30).log().t()
    asked.clear()
    maps, _ = semantic.semantic_segmentation(class_logits[None], logits[None], padded_size=(400, 400))
    assert asked and float((maps[0] == ours).float().mean()) > 0.9999
    assert float((ours == scores.argmax(0)).float().mean()) > 0.9999


def test_equal_classes_go_to_the_first(monkeypatch):
    monkeypatch.setattr(contests, "TILE_DEARNESS", 0)
    weights = class_weights(5, 12)[[3, 0, 3, 1, 0, 2, 3]]
    ours, scores = class_map(2 * blobs(12, (30, 30)), weights, (120, 120))
    assert ours is not None and set(ours.unique().tolist()) <= {0, 1, 3, 5}
    assert float((ours == scores.argmax(0)).float().mean()) > 0.9999


def test_class_maps_are_left_to_bands_where_tiles_do_not_pay():
    """Masks that are everywhere, classes that tie nearly everywhere, numbers that are not finite, no classes."""
    logits, weights = blobs(12, (30, 30)), class_weights(8, 12)
    assert class_map(torch.randn(12, 30, 30), weights, (120, 120))[0] is None
    tied = weights[[0] * 8] * (1 + 1e-6 * torch.arange(8.0))[:, None]
    assert class_map(logits, tied, (120, 120))[0] is None
    assert class_map(logits, torch.where(weights > 0.5, torch.nan, weights), (120, 120))[0] is None
    assert class_map(logits, weights[:0], (120, 120))[0] is None
    logits[3, 5, 5] = torch.inf
    assert class_map(logits, weights, (120, 120))[0] is None
