# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Windows of maps against loops over tokens; halos, padding, and parts of rolled maps."""

import pytest
import torch

from hfseg.layers.shifted_windows import gather_tokens
from hfseg.layers.windows import from_windows, halo_window_tokens, shift_groups, to_windows

CPU = torch.device("cpu")


def by_loops(tokens, size, counts, halo):
    """Every window token by token; zeros outside the map."""
    images, height, width, channels = tokens.shape
    side = size + 2 * halo
    result = torch.zeros(images * counts[0] * counts[1], side * side, channels)
    number = 0
    for image in range(images):
        for down in range(counts[0]):
            for across in range(counts[1]):
                for place in range(side * side):
                    y, x = down * size + place // side - halo, across * size + place % side - halo
                    if 0 <= y < height and 0 <= x < width:
                        result[number, place] = tokens[image, y, x]
                number += 1
    return result


@pytest.mark.parametrize("height, width, size, counts", [(5, 7, 3, (2, 3)), (6, 4, 2, (3, 2)), (2, 2, 4, (1, 1))])
@pytest.mark.parametrize("halo", [0, 1, 2])
def test_windows_are_those_of_a_loop(height, width, size, counts, halo):
    tokens = torch.randn(2, height, width, 3)
    expected = by_loops(tokens, size, counts, halo)
    windows = to_windows(tokens, size, counts, halo)
    assert torch.equal(windows, expected)
    index, outside = halo_window_tokens(2, height, width, size, halo, *counts, CPU)
    assert torch.equal(gather_tokens(tokens.flatten(1, 2), index), expected)
    assert torch.equal(
        outside.expand(len(index), -1), by_loops(torch.ones_like(tokens), size, counts, halo)[..., 0] == 0
    )
    if not halo:
        assert torch.equal(from_windows(windows, size, counts, (height, width)), tokens)


def test_parts_of_a_rolled_map_are_neighbors_in_the_map():
    """Two tokens of a window have one number exactly if the roll moved them alike."""
    size, shift, counts = 4, 1, (2, 3)
    height, width = counts[0] * size, counts[1] * size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((rows, columns), -1)[None].float()
    windows = to_windows(places.roll((-shift, -shift), (1, 2)), size, counts)
    groups = shift_groups(height, width, size, shift, counts, CPU)
    for window, group in zip(windows, groups):
        distance = (window[:, None] - window[None]).abs().amax(-1)
        assert torch.equal(group[:, None] == group[None], distance < size)
