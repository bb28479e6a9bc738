# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""3D rotary positions of J-DiT: frame, row and column of every token.

Shapes: N heads, d head size.
"""

from typing import Any, NamedTuple

import torch

__all__ = ["RotaryTable", "part_of_table", "rope_axes", "rotary_table", "rotate"]


def rope_axes(head_dim: int) -> tuple[int, int, int]:
    """Splits a head's channels into those turned by frame, row and column.

    A third each where six divides the head size, as released. Else rows and columns get the largest even number that
    leaves the frames at least as many: 64 becomes 24, 20, 20. No released weights depend on that choice.

    >>> rope_axes(72), rope_axes(64)
    ((24, 24, 24), (24, 20, 20))
    """
    spatial = 2 * (head_dim // 6)
    return head_dim - 2 * spatial, spatial, spatial


class RotaryTable(NamedTuple):
    """Cosines and signed sines of 3D rotary positions, laid out as a head's channels are.

    Shape:
        cos, sin: (tokens, 1, d). Within an axis the first half of `sin` is negative.
    """

    cos: torch.Tensor
    sin: torch.Tensor


def rotary_table(
    frames: int,
    height: int,
    width: int,
    axes: tuple[int, int, int],
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> RotaryTable:
    """Computes the rotation of every token of a grid of frames, rows and columns.

    Per axis of `a` channels the angle of pair i is position * 10000^(-2i/a), computed in float32; channel i turns with
    channel i + a/2 (the paper's equations 4.1-4.2 write neighboring pairs, the released weights want halves).

    Args:
        frames: Frames of condition and target together, numbered through.
        height: Rows of tokens.
        width: Columns of tokens.
        axes: Channels per axis.
        device: Where to compute.
        dtype: Of the result.
    """
    cos, sin = [], []
    for axis, (length, channels) in enumerate(zip((frames, height, width), axes)):
        steps = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
        angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] / 10000.0**steps  # (length, a/2)
        shape = [1, 1, 1, channels // 2]
        shape[axis] = length
        grid = angles.reshape(shape).expand(frames, height, width, channels // 2)
        cos += [grid.cos()] * 2
        sin += [-grid.sin(), grid.sin()]
    tables = [torch.cat(parts, dim=-1).reshape(frames * height * width, 1, sum(axes)) for parts in (cos, sin)]
    return RotaryTable(tables[0].to(dtype), tables[1].to(dtype))


def rotate(heads: torch.Tensor, table: RotaryTable, axes: tuple[int, int, int]) -> torch.Tensor:
    """Turns queries or keys by their positions.

    Shape:
        heads: (B, tokens, N, d).
    """
    first: list[torch.Tensor] = []
    second: list[torch.Tensor] = []
    for part in heads.split(axes, dim=-1):
        low, high = part.chunk(2, dim=-1)
        first, second = [*first, low], [*second, high]
    swapped = torch.cat([half for pair in zip(second, first) for half in pair], dim=-1)  # (B, tokens, N, d)
    return heads * table.cos + swapped * table.sin


def part_of_table(rotary: RotaryTable, condition: int, parallel: Any) -> RotaryTable:
    """Takes the positions of this process' part of both streams, as context parallelism cuts them.

    Args:
        rotary: Of all tokens, those of the condition first.
        condition: Number of tokens of the condition.
        parallel: diffusers' `ContextParallelConfig` in use.
    """
    mesh = parallel._flattened_mesh
    processes, rank = mesh.size(), torch.distributed.get_rank(mesh.get_group())

    def part(values: torch.Tensor) -> torch.Tensor:
        streams = (values[:condition], values[condition:])
        return torch.cat([stream.tensor_split(processes)[rank] for stream in streams])

    return RotaryTable(part(rotary.cos), part(rotary.sin))
