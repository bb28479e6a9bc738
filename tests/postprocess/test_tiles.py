# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pixels go to the same queries tile by tile as with all queries at all pixels."""

import pytest
import torch

from hfseg.postprocess import panoptic, tiles
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
    return tiles.contest_in_tiles(resizer, scores, threshold), panoptic._contest(resizer, scores, threshold)


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
    monkeypatch.setattr(tiles, "LARGEST_SHARE", 1.0)
    logits = blobs(30, size, radius=0.15)
    scores = torch.rand(30, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.5
    ours, theirs = both(logits, scores, threshold, padded, image, output)
    equal(ours, theirs)
    assert ours.painted_area.sum() > 0


def test_far_queries_are_left_out():
    """What tiles are for: in most of them few queries are looked at."""
    logits = blobs(60, (100, 100), radius=0.08)
    resizer = BandResizer(logits, (400, 400), (400, 400), (400, 400))
    side = tiles._side(resizer.rows_axis)
    rows = tiles._Tiles.of(resizer.rows_axis, side)
    alive = tiles._alive(rows, rows, logits, torch.ones(60), 0.0)
    assert alive is not None
    assert 1 / 60 <= alive.float().mean() < 0.25 and alive.any(0).all()


def test_equal_scores_go_to_the_first(monkeypatch):
    monkeypatch.setattr(tiles, "LARGEST_SHARE", 1.0)
    logits = blobs(4, (30, 30))[[0, 1, 0, 1, 2, 2]]  # each twice
    ours, theirs = both(logits, torch.ones(6))
    equal(ours, theirs)
    assert ours.won_area[2] == ours.won_area[3] == ours.won_area[5] == 0


def test_bounds_hold_for_every_resized_logit():
    logits = torch.randn(5, 23, 31, generator=torch.Generator().manual_seed(3))
    resizer = BandResizer(logits, (92, 124), (85, 110), (173, 140))
    rows, columns = (tiles._Tiles.of(axis, 16) for axis in (resizer.rows_axis, resizer.columns_axis))
    smallest, largest = tiles._extremes(logits, rows, columns)
    whole = torch.cat([band.clone() for _, band in resizer.bands()], 1)
    for row in range(len(rows.first)):
        for column in range(len(columns.first)):
            part = whole[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16].flatten(1)
            assert (part.amax(1) <= largest[:, row, column] + 1e-5).all()
            assert (part.amin(1) >= smallest[:, row, column] - 1e-5).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bands_serve_what_tiles_cannot(bad):
    """Numbers that are not finite, few queries, heavy reductions, and queries that are everywhere."""
    logits = blobs(6, (30, 30))
    assert tiles.tiles_pay(BandResizer(logits, (120, 120), (120, 120), (120, 120)))
    assert not tiles.tiles_pay(BandResizer(logits[:2], (120, 120), (120, 120), (120, 120)))
    assert not tiles.tiles_pay(BandResizer(blobs(6, (300, 300)), (1200, 1200), (1200, 1200), (40, 40)))
    everywhere = BandResizer(torch.zeros(6, 30, 30), (120, 120), (120, 120), (120, 120))
    assert tiles.contest_in_tiles(everywhere, torch.ones(6), 0.0) is None
    logits[3, 5, 5] = bad
    assert both(logits, torch.ones(6))[0] is None


def test_a_query_that_is_best_in_a_corner_takes_part(monkeypatch):
    """One mask is flat, the other rises across it: each wins where it is larger, however little of a tile that is."""
    monkeypatch.setattr(tiles, "LARGEST_SHARE", 1.0)
    flat = torch.full((40, 40), 1.0)
    rising = torch.linspace(-1, 1.4, 40).expand(40, 40)
    low = torch.full((40, 40), -3.0)
    ours, theirs = both(torch.stack([flat, rising, low, low]), torch.ones(4), threshold=2.0)  # no pixels of its own
    equal(ours, theirs)
    assert 0 < ours.won_area[1] < 0.25 * ours.painted_map.numel() and ours.won_area[2] == 0
