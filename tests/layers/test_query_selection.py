# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Queries from pixels against a search by loops."""

import math

import torch

from hfseg.layers.mask_decoder import MaskedAttentionDecoder
from hfseg.layers.positions import pixel_sine_positions, sine_code
from hfseg.layers.query_selection import PixelQuerySelection, select_peaks


def peaks_by_loops(heat: torch.Tensor) -> dict[int, float]:
    """Finds cells that no neighbor exceeds."""
    height, width = heat.shape
    found = {}
    for row in range(height):
        for column in range(width):
            window = heat[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            if heat[row, column] >= window.max():
                found[row * width + column] = float(heat[row, column])
    return found


def test_peaks_are_local_maxima_best_first_then_other_cells():
    torch.manual_seed(0)
    heat = torch.randn(3, 9, 11)
    for number in (4, 12, 60):
        indices, valid, seen = select_peaks(heat, number, threshold=0.5)
        for image in range(3):
            peaks = peaks_by_loops(heat[image])
            ranked = sorted(peaks, key=peaks.__getitem__, reverse=True)
            rest = sorted(set(range(99)) - set(peaks), key=lambda cell: -float(heat[image].flatten()[cell]))
            expected = sorted((ranked + rest)[:number])
            assert indices[image].tolist() == expected
            hot = [float(heat[image].flatten()[cell]) >= 0 for cell in expected]
            assert valid[image].tolist() == hot and (False in hot) == (number == 60)
            assert seen[image].tolist() == [cell in peaks and warm for cell, warm in zip(expected, hot)]


def test_threshold_is_a_probability():
    heat = torch.full((1, 5, 5), -9.0)
    heat[0, 1, 1], heat[0, 3, 3] = math.log(0.3 / 0.7), math.log(0.1 / 0.9)
    for threshold, expected in ((0.2, [6]), (0.05, [6, 18])):
        indices, valid, seen = select_peaks(heat, 25, threshold)
        assert indices[0][valid[0]].tolist() == indices[0][seen[0]].tolist() == expected


def test_a_map_smaller_than_the_number_gives_invalid_queries():
    indices, valid, seen = select_peaks(torch.tensor([[[5.0, 1.0]]]), 7, threshold=0.1)
    assert indices.shape == (1, 7) and indices.max() == 1
    # Both cells are hot, one of them is the maximum.
    assert valid[0].tolist() == [True] * 2 + [False] * 5 and seen[0].tolist() == [True] + [False] * 6


def test_queries_are_tokens_at_their_anchors():
    torch.manual_seed(0)
    module = PixelQuerySelection(16, num_queries=5, max_queries=9, threshold=0.0).eval()
    tokens = torch.randn(2, 6 * 7, 16)
    chosen = module(tokens, (6, 7))
    assert chosen.content.shape == chosen.positions.shape == (2, 9, 16)
    indices, valid, seen = select_peaks(chosen.heat_logits, 9, 0.0)
    assert torch.equal(chosen.valid, valid) and torch.equal(chosen.peaks, seen)
    for image in range(2):
        for query in range(9):
            row, column = divmod(int(indices[image, query]), 7)
            pixels = torch.tensor([(column + 0.5) * 8, (row + 0.5) * 8])
            torch.testing.assert_close(chosen.anchors[image, query], pixels / 16)
            torch.testing.assert_close(chosen.positions[image, query], sine_code(pixels, 16))
            expected = module.content(tokens[image, row * 7 + column])
            torch.testing.assert_close(chosen.content[image, query], expected)
    assert module.train()(tokens, (6, 7)).content.shape == (2, 5, 16)


def test_heat_learns_from_its_own_loss_only():
    module = PixelQuerySelection(8, 3, 3, 0.05)
    tokens = torch.randn(1, 20, 8, requires_grad=True)
    chosen = module(tokens, (4, 5))
    (chosen.content.sum() + chosen.positions.sum()).backward()
    assert module.heat.weight.grad is None and module.content.weight.grad is not None


def test_codes_in_pixels_do_not_depend_on_the_size_of_the_map():
    small = pixel_sine_positions(4, 5, 8, 24, torch.device("cpu")).view(4, 5, 24)
    large = pixel_sine_positions(9, 30, 8, 24, torch.device("cpu")).view(9, 30, 24)
    assert torch.equal(small, large[:4, :5])
    # A cell of stride 16 lies in the middle of four of stride 8; wavelengths run from 32 to 2,048 pixels.
    for row, column in ((0, 0), (2, 3)):
        y, x = (row + 0.5) * 8, (column + 0.5) * 8
        waves = [32 * 64 ** (step / 5) for step in range(6)]
        expected = [
            function(2 * math.pi * value / wave)
            for value in (y, x)
            for function in (math.sin, math.cos)
            for wave in waves
        ]
        torch.testing.assert_close(small[row, column], torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_queries_look_at_maxima_only_and_all_hot_ones_stand_for_objects():
    """In the decoder: what is hidden from self-attention is every cell beside a maximum; what is closed, cold cells."""
    torch.manual_seed(0)
    selection = PixelQuerySelection(16, num_queries=20, max_queries=40, threshold=0.5).eval()
    decoder = MaskedAttentionDecoder(
        hidden_size=16, mask_feature_size=8, num_queries=2, num_layers=1, num_heads=2, feedforward_size=16,
        feature_size=16, num_levels=3, query_selection=selection,
    ).eval()  # fmt: skip
    chosen, seen = [], []
    selection.register_forward_hook(lambda module, inputs, output: chosen.append(output))
    attention = decoder.layers[0].self_attn
    attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    maps = [torch.randn(1, 16, side, side) for side in (2, 4, 8)]
    output = decoder(maps, torch.randn(1, 8, 16, 16))
    hot, peaks = chosen[0].valid[0].tolist(), chosen[0].peaks[0].tolist()
    assert any(warm and not peak for warm, peak in zip(hot, peaks)) and not all(hot)
    assert output.valid_queries[0].tolist() == [True, True, *hot]
    assert seen[0][0, 0, 0].tolist() == [True, True, *peaks]
