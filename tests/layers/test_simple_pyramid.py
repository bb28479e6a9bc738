# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""ViTDet's simple feature pyramid: detectron2's layout, the formula in other operations, sizes as of stages."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hfseg.layers.simple_pyramid import SimpleFeaturePyramid, cells


def pyramid(**fields) -> SimpleFeaturePyramid:
    """Builds a pyramid whose norms are no identities."""
    torch.manual_seed(0)
    made = SimpleFeaturePyramid(**{"in_channels": 24, "out_channels": 10, "patch_size": 16, **fields})
    for parameter in made.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5)
    return made.double()


def test_layout_is_detectron2s():
    """Tensors of `SimpleFeaturePyramid` of detectron2, ViT-B, in the order of its simfp_2 ... simfp_5."""
    made = SimpleFeaturePyramid(768, 256, 16)
    shapes = [[tuple(p.shape) for p in level.parameters()] for level in made.resamplings]
    assert shapes == [
        [(768, 384, 2, 2), (384,), (384,), (384,), (384, 192, 2, 2), (192,)],
        [(768, 384, 2, 2), (384,)],
        [],
        [],
    ]
    for channels, level in zip((192, 384, 768, 768), made.projections):
        norm = [(256,), (256,)]
        found = [tuple(p.shape) for p in level.parameters()]
        assert found == [(256, channels, 1, 1), *norm, (256, 256, 3, 3), *norm]


def channel_norm(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """LayerNorm over channels, written out."""
    centered = x - x.mean(1, keepdim=True)
    scaled = centered / (centered.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def doubled(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """A transposed 2x2 convolution of stride 2: each cell becomes four, which do not overlap."""
    blocks = torch.einsum("bchw,cdij->bdhiwj", x, layer.weight) + layer.bias[:, None, None, None, None]
    return blocks.flatten(4, 5).flatten(2, 3)


def test_maps_are_the_formula():
    made, x = pyramid(), torch.randn(2, 24, 3, 5, dtype=torch.float64)
    first, norm, _, second = made.resamplings[0]
    inputs = [
        doubled(F.gelu(channel_norm(doubled(x, first), norm)), second),
        doubled(x, made.resamplings[1][0]),
        x,
        F.pad(x, (0, 1, 0, 1), value=-math.inf).unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1)),
    ]
    with torch.no_grad():
        maps = made(x, (48, 80))
        for features, (one, norm_one, three, norm_three), actual in zip(inputs, made.projections, maps):
            mixed = channel_norm(torch.einsum("bchw,dc->bdhw", features, one.weight[:, :, 0, 0]), norm_one)
            columns = F.unfold(mixed, 3, padding=1)  # (B, 10 * 9, h * w)
            mixed = (three.weight.flatten(1) @ columns).unflatten(2, features.shape[-2:])
            torch.testing.assert_close(actual, channel_norm(mixed, norm_three))


@pytest.mark.parametrize("patch_size", [8, 14, 16])
@pytest.mark.parametrize("size", [(48, 80), (33, 47), (17, 16), (112, 224)])
def test_sizes_follow_the_strides(patch_size, size):
    height, width = size
    x = torch.randn(1, 24, math.ceil(height / patch_size), math.ceil(width / patch_size), dtype=torch.float64)
    maps = pyramid(patch_size=patch_size)(x, size)
    strides = [patch_size / 4, patch_size / 2, patch_size, 2 * patch_size]
    expected = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
    assert [tuple(level.shape) for level in maps] == [(1, 10, *shape) for shape in expected]
    assert [cells(height, patch_size, quarters) for quarters in (1, 2, 4, 8)] == [rows for rows, _ in expected]


def test_what_lies_beyond_the_image_is_cut_before_the_convolutions():
    """Cells of the last patches that no pixel of the image has are not seen."""
    made, x = pyramid(quarters=(1, 2)), torch.randn(1, 24, 2, 2, dtype=torch.float64)
    whole, part = made(x, (32, 32)), made(x, (32, 20))
    assert [level.shape[-1] for level in part] == [5, 3]
    # A 3x3 convolution sees one cell: all but the last column are those of the whole.
    for one, other in zip(whole, part):
        width = other.shape[-1]
        torch.testing.assert_close(one[..., : width - 1], other[..., : width - 1])
        assert not torch.allclose(one[..., width - 1], other[..., width - 1])


def test_a_level_left_out_has_no_parameters():
    made = pyramid(quarters=(2, 4, 8))
    maps = made(torch.randn(1, 24, 2, 3, dtype=torch.float64), (32, 48))
    assert [tuple(level.shape[-2:]) for level in maps] == [(4, 6), (2, 3), (1, 2)]
    sum(level.square().sum() for level in maps).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
