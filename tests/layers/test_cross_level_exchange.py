# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cross-level exchange against dense masked attention, pair by pair; locality; cost."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from hfseg.layers.cross_level_exchange import CrossLevelExchange


def block(upwards: bool, window: int = 4, halo: int = 2) -> CrossLevelExchange:
    """A block between levels of 16 and 32 channels, its gains switched on."""
    torch.manual_seed(0)
    if upwards:
        made = CrossLevelExchange(32, 16, 2, window, 2 * window)
    else:
        made = CrossLevelExchange(16, 32, 2, 2 * window, window, halo)
    with torch.no_grad():
        made.gamma.fill_(1.0)
        made.logit_scale.copy_(torch.tensor([math.log(8.0), math.log(300.0)]).view(2, 1, 1))  # the second is clamped
        made.position_bias[2].weight.mul_(8)
    return made.eval()


def dense(made: CrossLevelExchange, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The definition: all tokens, a mask that says who sees whom, a bias per pair computed from the distance."""
    (_, height, width, _), (_, low_height, low_width, _) = queries.shape, keys.shape
    ratio = made.query_window / made.key_window
    side = made.key_window

    def axis(length: int, key_length: int):
        i, k = torch.arange(length)[:, None], torch.arange(key_length)[None]
        window = i // made.query_window
        visible = (k >= window * side - made.halo) & (k < (window + 1) * side + made.halo)
        distance = (i + 0.5) / ratio - (k + 0.5)
        return visible, distance.sign() * torch.log2(1 + 8 * distance.abs() / (side - 1)) / 3

    (rows_seen, rows), (columns_seen, columns) = axis(height, low_height), axis(width, low_width)
    seen = (rows_seen[:, None, :, None] & columns_seen[None, :, None, :]).flatten(2).flatten(0, 1)
    shape = (height, width, low_height, low_width)
    pair = torch.stack((rows[:, None, :, None].expand(shape), columns[None, :, None, :].expand(shape)), -1)
    bias = 16 * made.position_bias(pair).sigmoid().flatten(2, 3).flatten(0, 1).permute(2, 0, 1)  # (heads, Q, T)
    asked, told = made.query_norm(queries).flatten(1, 2), made.key_norm(keys).flatten(1, 2)
    q, k, v = (
        projection(states).unflatten(-1, (2, -1)).transpose(1, 2)
        for projection, states in ((made.q_proj, asked), (made.k_proj, told), (made.v_proj, told))
    )
    cosine = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2)
    scores = cosine * made.logit_scale.clamp(max=math.log(100)).exp() + bias
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    update = made.out_proj((weights @ v).transpose(1, 2).flatten(2))
    return queries + made.gamma * update.unflatten(1, (height, width))


@pytest.mark.parametrize("fine", [(8, 8), (16, 24), (13, 19), (5, 3)], ids=str)
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@torch.no_grad()
def test_equals_dense_masked_attention(upwards, fine):
    made = block(upwards)
    coarse = (-(-fine[0] // 2), -(-fine[1] // 2))
    high, low = torch.randn(2, *fine, 16), torch.randn(2, *coarse, 32)
    queries, keys = (low, high) if upwards else (high, low)
    expected = dense(made, queries, keys)
    torch.testing.assert_close(made(queries, keys), expected, rtol=1e-4, atol=1e-4)
    with torch.enable_grad():  # windows by copies instead of gathers
        torch.testing.assert_close(made(queries, keys), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_one_program_serves_all_sizes(upwards):
    """What stands for the slow test of the whole network, which has six of these."""

    class OfOneMap(torch.nn.Module):
        """The coarser map follows from the finer one: no size of its own."""

        def __init__(self):
            super().__init__()
            self.exchange = block(upwards)

        def forward(self, high):
            low = high[:, ::2, ::2].repeat(1, 1, 1, 2)
            return self.exchange(*((low, high) if upwards else (high, low)))

    model, free = OfOneMap().eval(), {"high": dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC)}
    program = torch.export.export(model, (torch.randn(2, 16, 24, 16),), dynamic_shapes=free).module()
    for size in ((2, 16, 24), (3, 8, 40), (1, 13, 19)):
        high = torch.randn(*size, 16)
        torch.testing.assert_close(program(high), model(high), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_a_gain_nothing_changes():
    made = block(False)
    made.gamma.zero_()
    queries = torch.randn(1, 9, 11, 16)
    assert torch.equal(made(queries, torch.randn(1, 5, 6, 32)), queries)


@torch.no_grad()
def test_information_stays_within_window_and_halo():
    made = block(False, window=4, halo=2)
    queries, keys = torch.randn(1, 32, 32, 16), torch.randn(1, 16, 16, 32)
    changed = keys.clone()
    changed[:, 0, 0] += 1
    rows, columns = (made(queries, keys) - made(queries, changed)).abs().amax(-1)[0].nonzero(as_tuple=True)
    assert rows.max() == 7 and columns.max() == 7  # the window of 8 x 8; its neighbors begin 4 key tokens away
    changed = keys.clone()
    changed[:, 5, 0] += 1  # second window down, within the halo of the first
    rows = (made(queries, keys) - made(queries, changed)).abs().amax(-1)[0].nonzero(as_tuple=True)[0]
    assert rows.min() == 0 and rows.max() == 15


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_cost_is_linear_in_pixels(upwards):
    made = block(upwards)

    def operations(rows: int) -> int:
        high, low = torch.randn(1, rows, 64, 16), torch.randn(1, rows // 2, 64 // 2, 32)
        with FlopCounterMode(display=False) as counter:
            made(*((low, high) if upwards else (high, low)))
        return counter.get_total_flops()

    first, second, third = (operations(rows) for rows in (64, 128, 192))
    assert third - second == second - first > 0 and second < 2.1 * first


def test_windows_must_be_co_located():
    with pytest.raises(ValueError, match="not co-located"):
        CrossLevelExchange(16, 32, 2, 8, 8)
    with pytest.raises(ValueError, match="not a multiple of num_heads=3"):
        CrossLevelExchange(16, 32, 3, 8, 4)
