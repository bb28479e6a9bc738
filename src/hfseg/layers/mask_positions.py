# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks that know where they are: a radial term in the product of mask embedding and pixel embedding.

A mask is the channel product of a query's embedding with each pixel's. Nothing in it tells where a pixel lies, so two
objects that look alike get one mask between them. SOLO (Wang et al., ECCV 2020) and CondInst (Tian et al., ECCV 2020)
give the mask head coordinates; here four more channels of the same product do. Pixel p carries
`[1, x, y, x^2 + y^2]`, the query `[a (r^2 - |c|^2), 2 a c_x, 2 a c_y, -a]`, and the logit gains

    a (r^2 - |p - c|^2)

with center c, radius r and sharpness a > 0 that the query predicts: positive inside a disc, negative outside. What the
other channels say is added to it. Coordinates are pixels of the network's input in units of 16, from its top left, so
that they mean the same in a crop and in a whole image. Everything here is float32: the four products are large numbers
with a small sum.

Shape legend: B images, Q queries, L learned queries (the first ones), C channels of the queries.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils.generic import maybe_autocast

# Pixels of the network's input per unit of the coordinates: the size of a small object.
UNIT = 16.0
NUM_POSITION_CHANNELS = 4
# Furthest that a query from a pixel moves its center, in units.
LARGEST_OFFSET = 0.5
# Added before the softplus of sharpness and radius: queries from pixels begin as a sharp disc of 11 pixels, learned
# ones, which may stand for stuff, as a faint one of 21.
PIXEL_BIAS = (2.0, 0.0)
LEARNED_BIAS = (-2.0, 1.0)


def cell_centers(size: tuple[int, int], stride: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes x and y of the cells of a map, in units of 16 input pixels. Shape: twice `(h, w)`, float32."""
    height, width = size
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * (stride / UNIT)
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * (stride / UNIT)
    return x[None, :].expand(height, width), y[:, None].expand(height, width)


def position_channels(size: tuple[int, int], stride: int, device: torch.device) -> torch.Tensor:
    """Computes the pixel side of the radial term, `[1, x, y, x^2 + y^2]`. Shape: `(4, h, w)`, float32."""
    x, y = cell_centers(size, stride, device)
    return torch.stack((torch.ones_like(x), x, y, x * x + y * y))


def widen(embedding: torch.Tensor, stride: int) -> torch.Tensor:
    """Appends the position channels to a map.

    Shape:
        embedding: `(B, M, h, w)`; output: `(B, M + 4, h, w)`, float32.
    """
    size = (embedding.shape[-2], embedding.shape[-1])
    channels = position_channels(size, stride, embedding.device).expand(embedding.shape[0], -1, -1, -1)
    return torch.cat((embedding.float(), channels), dim=1)


class MaskPositions(nn.Module):
    """Predicts center, radius and sharpness of every query's radial term.

    Args:
        hidden_size: Channels C of the queries.
        num_learned: Queries without a pixel of their own, L; their anchor is learned as a fraction of the input.
    """

    def __init__(self, hidden_size: int, num_learned: int):
        super().__init__()
        self.shape = nn.Linear(hidden_size, 4)  # sharpness, radius, offset x, offset y
        self.anchors = nn.Embedding(num_learned, 2)

    def forward(
        self, queries: torch.Tensor, size: tuple[int, int], pixel_anchors: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Computes the query side of the radial term.

        Args:
            queries: Normalized queries, learned ones first.
            size: `(height, width)` of the stride-4 map.
            pixel_anchors: (x, y) of the pixels that the other queries come from, in units.

        Shape:
            queries: `(B, Q, C)`; pixel_anchors: `(B, Q - L, 2)`; output: `(B, Q, 4)`, float32.
        """
        predicted = self.shape(queries)
        with maybe_autocast(queries.device.type, enabled=False):
            predicted, num_learned = predicted.float(), self.anchors.num_embeddings
            own = predicted[:, :num_learned]
            fractions = (self.anchors.weight.float() + own[..., 2:]).sigmoid()  # (B, L, 2)
            x = fractions[..., 0] * size[1] * (4 / UNIT)
            y = fractions[..., 1] * size[0] * (4 / UNIT)
            parts = [radial_term(own, torch.stack((x, y), dim=-1), LEARNED_BIAS)]
            if pixel_anchors is not None:
                others = predicted[:, num_learned:]
                centers = pixel_anchors + LARGEST_OFFSET * others[..., 2:].tanh()
                parts.append(radial_term(others, centers, PIXEL_BIAS))
            return torch.cat(parts, dim=1)


def radial_term(predicted: torch.Tensor, centers: torch.Tensor, bias: tuple[float, float]) -> torch.Tensor:
    """Computes `[a (r^2 - |c|^2), 2 a c_x, 2 a c_y, -a]`.

    Shape:
        predicted: `(B, Q, 4)`, of which the first two channels are read; centers: `(B, Q, 2)`; output: `(B, Q, 4)`.
    """
    sharpness = F.softplus(predicted[..., 0] + bias[0])
    radius = F.softplus(predicted[..., 1] + bias[1])
    x, y = centers.unbind(-1)
    return torch.stack(
        (sharpness * (radius * radius - x * x - y * y), 2 * sharpness * x, 2 * sharpness * y, -sharpness), dim=-1
    )
