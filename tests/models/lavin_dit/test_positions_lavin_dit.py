# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""3D rotary positions, and those of a process that has a part of each sequence."""

import math

import pytest
import run_context_parallel
import torch

from forked_launch import forked_launch
from hfseg.models.lavin_dit.positions_lavin_dit import rope_axes, rotary_table, rotate


@pytest.mark.parametrize("head_dim, axes", [(72, (24, 24, 24)), (64, (24, 20, 20)), (12, (4, 4, 4)), (8, (4, 2, 2))])
def test_rope_axes(head_dim, axes):
    assert rope_axes(head_dim) == axes


def test_rotation_is_that_of_complex_numbers():
    """Channel i and i + a/2 of an axis are one complex number, turned by position / 10000^(2i/a)."""
    axes = (8, 4, 4)
    frames, height, width = 3, 4, 5
    heads = torch.randn(1, frames * height * width, 2, 16, dtype=torch.float64)
    out = rotate(heads, rotary_table(frames, height, width, axes, dtype=torch.float64), axes)
    for token, head in ((0, 0), (37, 1), (59, 0)):
        place = (token // (height * width), token // width % height, token % width)
        start = 0
        for position, channels in zip(place, axes):
            half = channels // 2
            for i in range(half):
                number = complex(heads[0, token, head, start + i], heads[0, token, head, start + i + half])
                angle = position / 10000 ** (2 * i / channels)
                turned = number * complex(math.cos(angle), math.sin(angle))
                got = complex(out[0, token, head, start + i], out[0, token, head, start + i + half])
                assert abs(got - turned) < 1e-5
            start += channels


def test_context_parallelism_on_two_processes(tmp_path):
    """Each has half of both streams, its own positions among them, and the answer is that of one process."""
    ranks = forked_launch(lambda rank: run_context_parallel.main(str(tmp_path)), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
    assert (tmp_path / "done0").exists() and (tmp_path / "done1").exists()
