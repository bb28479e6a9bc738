# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiles of a resize: bounds hold, parts equal the whole."""

import pytest
import torch

from hfseg.postprocess import tiles
from hfseg.postprocess.resizing import BandResizer


def test_bounds_hold_for_every_resized_logit():
    logits = torch.randn(5, 23, 31, generator=torch.Generator().manual_seed(3))
    resizer = BandResizer(logits, (92, 124), (85, 110), (173, 140))
    grid = tiles.TileGrid(resizer)
    assert (grid.side_y, grid.side_x) == (32, 32) and len(grid) == 6 * 5
    extremes = grid.extremes()
    assert extremes is not None
    smallest, largest = extremes
    whole = torch.cat([band.clone() for _, band in resizer.bands()], 1)
    for tile in range(len(grid)):
        y, x = 32 * (tile // 5), 32 * (tile % 5)
        part = whole[:, y : y + 32, x : x + 32].flatten(1)
        assert (part.amax(1) <= largest[:, tile] + 1e-5).all()
        assert (part.amin(1) >= smallest[:, tile] - 1e-5).all()


@pytest.mark.parametrize("output", [(173, 140), (64, 96)])
def test_resized_tiles_are_parts_of_the_whole(output):
    """Every tile once, its own queries only, and outputs beyond the image are told apart."""
    logits = torch.randn(5, 23, 31, generator=torch.Generator().manual_seed(3))
    resizer = BandResizer(logits, (92, 124), (85, 110), output)
    whole = torch.cat([band.clone() for _, band in resizer.bands()], 1)
    grid = tiles.TileGrid(resizer)
    alive = torch.rand(5, len(grid), generator=torch.Generator().manual_seed(0)) > 0.5
    alive[1] = True
    found = torch.full((5, len(grid), grid.side_y, grid.side_x), torch.nan)
    seen, in_image = [], 0
    for some in (torch.arange(0, len(grid), 2), torch.arange(1, len(grid), 2)):
        for part, queries, counts in grid.batches(alive, some):
            seen += part.tolist()
            inside = grid.inside(part)
            in_image += part.numel() * grid.side_y * grid.side_x if inside is None else int(inside.sum())
            resized = grid.resize(part, queries).transpose(1, 2)
            for tile, own, mine, values in zip(part, queries, counts, resized):
                assert own[mine].tolist() == alive[:, tile].nonzero()[:, 0].tolist()
                found[own[mine], tile] = values[mine]
    assert sorted(seen) == list(range(len(grid))) and in_image == output[0] * output[1]
    for query in range(5):
        shown = grid.whole(alive[query][:, None, None].expand(-1, grid.side_y, grid.side_x))
        torch.testing.assert_close(grid.whole(found[query])[shown], whole[query][shown], atol=1e-5, rtol=1e-5)
        assert grid.whole(found[query])[~shown].isnan().all()


def test_where_tiles_pay():
    """Not for few queries, nor where an output reads many inputs."""
    logits = torch.zeros(6, 30, 30)
    assert tiles.tiles_pay(BandResizer(logits, (120, 120), (120, 120), (120, 120)))
    assert not tiles.tiles_pay(BandResizer(logits[:2], (120, 120), (120, 120), (120, 120)))
    assert not tiles.tiles_pay(BandResizer(torch.zeros(6, 300, 300), (1200, 1200), (1200, 1200), (40, 40)))
