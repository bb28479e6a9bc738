# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of shifted windows against padding, rolling and cutting a map."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.layers.shifted_windows import gather_tokens, quad_tokens, window_places, window_tokens
from hfseg.layers.windows import halo_window_tokens

CPU = torch.device("cpu")
CASES = [(8, 12, 4, 0), (8, 12, 4, 2), (7, 9, 4, 2), (3, 5, 7, 3), (1, 1, 4, 2), (14, 7, 7, 3)]


def padded_map(batch_size: int, height: int, width: int, window: int) -> torch.Tensor:
    """Numbers tokens from 1, `(B, h, w, 1)`, with zeros up to whole windows."""
    tokens = torch.arange(1.0, batch_size * height * width + 1).view(batch_size, height, width, 1)
    return F.pad(tokens, (0, 0, 0, -width % window, 0, -height % window))


def cut(rolled: torch.Tensor, window: int) -> torch.Tensor:
    """Cuts `(B, h, w, 1)` into `(B * n, s * s)`, window by window."""
    windows = []
    for image in rolled[..., 0]:
        for top in range(0, image.shape[0], window):
            for left in range(0, image.shape[1], window):
                windows.append(image[top : top + window, left : left + window].flatten())
    return torch.stack(windows)


@pytest.mark.parametrize(("height", "width", "window", "shift"), CASES)
def test_windows_are_those_of_the_padded_and_rolled_map(height, width, window, shift):
    padded = padded_map(2, height, width, window)
    index, _ = window_tokens(2, height, width, window, shift, CPU)
    tokens = padded[:, :height, :width].flatten(1, 2)
    assert torch.equal(gather_tokens(tokens, index)[..., 0], cut(padded.roll((-shift, -shift), dims=(1, 2)), window))


@pytest.mark.parametrize(("height", "width", "window", "shift"), CASES)
def test_places_undo_windows(height, width, window, shift):
    tokens = torch.arange(1.0, 2 * height * width + 1).view(2, height * width, 1)
    index, _ = window_tokens(2, height, width, window, shift, CPU)
    windows = gather_tokens(tokens, index)
    places = window_places(2, height, width, window, shift, CPU)
    assert torch.equal(F.embedding(places, windows.flatten(0, 1)), tokens)


@pytest.mark.parametrize(("height", "width", "window", "shift"), [case for case in CASES if case[3]])
def test_regions_are_the_nine_of_the_paper(height, width, window, shift):
    """Two tokens of a window share a region if rolling has not brought them together from opposite edges."""
    padded = padded_map(2, height, width, window)
    bottom, right = padded.shape[1:3]
    regions = torch.zeros_like(padded)
    number = 0
    for rows in (slice(0, bottom - window), slice(bottom - window, bottom - shift), slice(bottom - shift, bottom)):
        for columns in (slice(0, right - window), slice(right - window, right - shift), slice(right - shift, right)):
            regions[:, rows, columns] = number
            number += 1
    _, region = window_tokens(2, height, width, window, shift, CPU)
    assert torch.equal(region, cut(regions, window).long())


@pytest.mark.parametrize(("height", "width", "window", "shift"), CASES)
def test_spare_windows_hold_padding_and_change_no_other(height, width, window, shift):
    tokens = torch.arange(1.0, 2 * height * width + 1).view(2, height * width, 1)
    alone, region = window_tokens(2, height, width, window, shift, CPU)
    index, regions = window_tokens(2, height, width, window, shift, CPU, 2)
    assert torch.equal(index[:-2], alone) and torch.equal(regions[:-2], region)
    assert not gather_tokens(tokens, index[-2:]).any() and gather_tokens(tokens, index[:-2]).any()
    coarse, outside = halo_window_tokens(2, height, width, window, 1, 3, 2, CPU)
    index, edges = halo_window_tokens(2, height, width, window, 1, 3, 2, CPU, 1)
    assert torch.equal(index[:-1], coarse) and torch.equal(edges[:-1], outside)
    assert not gather_tokens(tokens, index[-1:]).any()


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 1), (2, 3)])
def test_quads_are_column_by_column(height, width):
    padded = padded_map(2, height, width, 2)
    tokens = padded[:, :height, :width].flatten(1, 2)
    quads = gather_tokens(tokens, quad_tokens(2, height, width, CPU))[..., 0]
    for image, quad in zip(padded[..., 0], quads):
        expected = [
            [image[y, x], image[y + 1, x], image[y, x + 1], image[y + 1, x + 1]]
            for y in range(0, image.shape[0], 2)
            for x in range(0, image.shape[1], 2)
        ]
        assert quad.tolist() == [[value.item() for value in row] for row in expected]


def test_a_training_step_can_use_tables_made_in_inference_mode():
    with torch.inference_mode():
        window_tokens(1, 5, 6, 4, 2, CPU), window_places(1, 5, 6, 4, 2, CPU)
    tokens = torch.randn(1, 30, 3, requires_grad=True)
    index, _ = window_tokens(1, 5, 6, 4, 2, CPU)
    F.embedding(window_places(1, 5, 6, 4, 2, CPU), gather_tokens(tokens, index).flatten(0, 1)).sum().backward()
    assert torch.equal(tokens.grad, torch.ones_like(tokens))
