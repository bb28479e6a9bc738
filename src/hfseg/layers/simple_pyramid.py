# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A feature pyramid from the last map of a plain vision transformer.

Li, Mao, Girshick, He: "Exploring Plain Vision Transformer Backbones for Object Detection" (ViTDet), ECCV 2022, section
3 and appendix A.2: a plain ViT keeps one resolution through all blocks, and no top-down path is needed to make others
of it. Scales of 1/4, 1/8, 1/16 and 1/32 (with patches of 16) come from its last map alone: by two transposed 2x2
convolutions of stride 2 with LayerNorm and GELU between them, by one, by nothing, and by 2x2 max pooling of stride 2.
A 1x1 and a 3x3 convolution, each with LayerNorm, follow.

Shape legend: B images, H x W pixels, P patch size, h = ceil(H / P), w = ceil(W / P), C channels of the ViT, D of the
pyramid.
"""

from collections.abc import Sequence

import torch
from torch import nn

from .channel_norm import ChannelLayerNorm

__all__ = ["QUARTERS", "SimpleFeaturePyramid", "cells"]

# Quarters of a patch per cell of each map, fine to coarse: strides 4, 8, 16 and 32 for patches of 16.
QUARTERS = (1, 2, 4, 8)


def cells(pixels: int, patch_size: int, quarters: int) -> int:
    """Counts the cells that cover a side: `ceil(pixels / stride)` with a stride of `quarters` quarters of a patch.

    So maps have the sizes that those of a backbone of stages would have, whatever the padding to whole patches.
    """
    return -(-4 * pixels // (quarters * patch_size))


def cut(features: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cuts a map at the right and bottom. Shape: `(B, C, h, w)` to `(B, C, height, width)`."""
    if not torch.compiler.is_compiling():
        return features[:, :, :height, :width]
    # One program for all sizes: of a slice it would have to know whether anything is cut.
    rows, columns = (torch.arange(side, device=features.device) for side in (height, width))
    return features.index_select(2, rows).index_select(3, columns)


class SimpleFeaturePyramid(nn.Module):
    """Makes maps of several strides from one.

    Args:
        in_channels: Channels C of the map.
        out_channels: Channels D of the pyramid.
        patch_size: Stride P of the map.
        quarters: Stride of each map in quarters of P, fine to coarse, of 1, 2, 4, 8.
    """

    def __init__(self, in_channels: int, out_channels: int, patch_size: int, quarters: Sequence[int] = QUARTERS):
        super().__init__()
        self.patch_size, self.quarters = patch_size, tuple(quarters)
        half, quarter = in_channels // 2, in_channels // 4

        def double(channels: int, doubled: int) -> nn.Module:
            return nn.ConvTranspose2d(channels, doubled, 2, stride=2)

        resamplings = {
            1: (quarter, lambda: [double(in_channels, half), ChannelLayerNorm(half), nn.GELU(), double(half, quarter)]),
            2: (half, lambda: [double(in_channels, half)]),
            4: (in_channels, lambda: []),
            8: (in_channels, lambda: [nn.MaxPool2d(2, ceil_mode=True)]),
        }
        self.resamplings, self.projections = nn.ModuleList(), nn.ModuleList()
        for stride in self.quarters:
            channels, layers = resamplings[stride]
            self.resamplings.append(nn.Sequential(*layers()))
            self.projections.append(
                nn.Sequential(
                    nn.Conv2d(channels, out_channels, 1, bias=False),
                    ChannelLayerNorm(out_channels),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    ChannelLayerNorm(out_channels),
                )
            )

    def forward(self, features: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
        """Computes the maps, fine to coarse.

        Args:
            features: The ViT's last map, of images padded to whole patches.
            size: `(height, width)` H, W of the images before. Cells beyond them are cut away.

        Shape:
            features: `(B, C, h, w)`; outputs: `(B, D, ceil(H / s), ceil(W / s))` for each stride s.
        """
        maps = []
        for quarters, resample, project in zip(self.quarters, self.resamplings, self.projections):
            height, width = (cells(side, self.patch_size, quarters) for side in size)
            maps.append(project(cut(resample(features), height, width)))
        return maps
