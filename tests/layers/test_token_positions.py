# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Position codes against their formulas, position by position."""

import math

import pytest
import torch

from hfseg.layers.token_positions import coordinate_maps, grid_positions, sequence_positions

CPU = torch.device("cpu")


def code(position, features):
    return [
        (math.sin if index % 2 == 0 else math.cos)(position / 10000 ** ((index - index % 2) / features))
        for index in range(features)
    ]


def test_sequences_are_the_formula_of_the_transformer():
    found = sequence_positions(9, 8, CPU)
    torch.testing.assert_close(found, torch.tensor([code(position, 8) for position in range(9)]))


def test_grids_hold_the_column_first_and_run_row_by_row():
    found = grid_positions(3, 5, 12, CPU)
    expected = [code(column, 6) + code(row, 6) for row in range(3) for column in range(5)]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("height, width", [(4, 7), (1, 3), (1, 1)])
def test_coordinates_run_from_minus_one_to_one(height, width):
    maps = coordinate_maps(height, width, CPU)
    assert maps.shape == (1, 2, height, width)
    x = torch.linspace(-1, 1, width) if width > 1 else torch.tensor([-1.0])
    y = torch.linspace(-1, 1, height) if height > 1 else torch.tensor([-1.0])
    torch.testing.assert_close(maps[0, 0], x.expand(height, width))
    torch.testing.assert_close(maps[0, 1], y[:, None].expand(height, width))


def test_codes_have_the_type_asked_for_and_can_be_trained_with():
    with torch.inference_mode():
        found = [sequence_positions(4, 4, CPU, torch.bfloat16), coordinate_maps(2, 9, CPU, torch.bfloat16)]
    for values in found:
        assert values.dtype == torch.bfloat16
        (values * torch.ones(1, requires_grad=True)).sum().backward()
