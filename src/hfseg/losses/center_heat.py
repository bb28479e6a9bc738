# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Heat map of object centers and its penalty-reduced focal loss (CenterNet; Zhou et al., "Objects as Points", 2019).

Every thing has a Gaussian around the cell of its center of mass, as wide as the thing; where several overlap, the
largest counts. The cell of the center itself is the only positive; cells near it are punished less for being hot.

Shape legend: B images, (H, W) target, T segments of an image, (h, w) heat map.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers.utils.generic import maybe_autocast

from .mask_classification import mean_targets

# Standard deviation of a Gaussian as a share of the object's radius (of a disc of its area), and the least, in cells.
RADIUS_SHARE, SMALLEST_DEVIATION = 0.4, 0.6
# Exponents of the loss: of what is certain already, and of what is near a center.
ALPHA, BETA = 2, 4


def segment_centers(masks: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes center of mass and area of every segment, exactly.

    Args:
        masks: Id map `(H, W)`, whose value n + 1 is segment n, or binary masks `(T, H, W)`.
        count: Number of segments T.

    Returns:
        Centers as (x, y) in pixels, and areas in pixels.

    Shape:
        Output: `(T, 2)` and `(T,)`, float32.
    """
    height, width = masks.shape[-2:]
    y = torch.arange(height, device=masks.device)
    x = torch.arange(width, device=masks.device)
    if masks.dim() == 3:
        ones = masks.ne(0).long()
        rows, columns = ones.sum(2), ones.sum(1)  # (T, H), (T, W)
        areas, sum_y, sum_x = rows.sum(1), (rows * y).sum(1), (columns * x).sum(1)
    else:
        ids = masks.long().flatten()
        of_pixels = torch.stack(
            (
                torch.ones_like(ids),
                x[None, :].expand(height, width).flatten(),
                y[:, None].expand(height, width).flatten(),
            ),
            dim=1,
        )  # (HW, 3)
        sums = torch.zeros(count + 1, 3, dtype=torch.int64, device=masks.device).index_add_(0, ids, of_pixels)
        areas, sum_x, sum_y = sums[1:].unbind(1)
    divisor = areas.clamp(min=1).float()
    return torch.stack((sum_x / divisor + 0.5, sum_y / divisor + 0.5), dim=1), areas.float()


def heat_targets(
    masks: torch.Tensor, is_thing: torch.Tensor, map_size: tuple[int, int], stride: int = 8
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes the heat map of an image and the cells of its centers.

    Args:
        masks: Id map or binary masks, see `segment_centers`.
        is_thing: Which segments have a center.
        map_size: `(height, width)` of the heat map.
        stride: Pixels per cell.

    Shape:
        masks: `(H, W)` or `(T, H, W)`; is_thing: `(T,)`; output: `(h, w)` float32 and boolean.
    """
    height, width = map_size
    heat = torch.zeros(height, width, device=masks.device)
    is_center = torch.zeros(height, width, dtype=torch.bool, device=masks.device)
    if not len(is_thing):
        return heat, is_center
    centers, areas = segment_centers(masks, len(is_thing))
    counted = is_thing & (areas > 0)  # (T,)
    column = (centers[:, 0] / stride).long().clamp(0, width - 1)
    row = (centers[:, 1] / stride).long().clamp(0, height - 1)
    deviation = (RADIUS_SHARE / stride * (areas / torch.pi).sqrt()).clamp(min=SMALLEST_DEVIATION)
    down = torch.exp(-(((torch.arange(height, device=masks.device) - row[:, None]) / deviation[:, None]) ** 2) / 2)
    across = torch.exp(-(((torch.arange(width, device=masks.device) - column[:, None]) / deviation[:, None]) ** 2) / 2)
    # A Gaussian is the product of its two axes.
    heat = (down[:, :, None] * across[:, None, :] * counted[:, None, None]).amax(0)  # (h, w)
    hits = torch.zeros(height * width, dtype=torch.int64, device=masks.device)
    is_center = hits.index_add_(0, row * width + column, counted.long()).view(height, width) > 0
    return heat, is_center


def center_heat_loss(
    heat_logits: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    stuff_class_ids: Sequence[int] = (),
    normalizer: torch.Tensor | None = None,
    void_masks: list[torch.Tensor] | None = None,
    stride: int = 8,
) -> torch.Tensor:
    """Computes the focal loss of a batch's heat maps, divided by the number of targets.

    Args:
        heat_logits: Logits of the heat.
        mask_labels: Per image an id map or binary masks.
        class_labels: Per image the class of each segment.
        stuff_class_ids: Classes without centers.
        normalizer: Number of targets to divide by; by default the mean number per process, at least 1.
        void_masks: Per image the pixels about which nothing is known; cells whose middle lies there do not count.
        stride: Pixels per cell.

    Shape:
        heat_logits: `(B, h, w)`; mask_labels: each `(H, W)` or `(T, H, W)`; class_labels: each `(T,)`;
        normalizer: `()`; void_masks: each boolean `(H, W)`; output: `()`, float32.
    """
    device, map_size = heat_logits.device, (heat_logits.shape[-2], heat_logits.shape[-1])
    with maybe_autocast(device.type, enabled=False):
        stuff = torch.tensor(list(stuff_class_ids), dtype=torch.int64).to(device)
        heats, centers = zip(
            *(
                heat_targets(masks.to(device), ~torch.isin(classes.to(device), stuff), map_size, stride)
                for masks, classes in zip(mask_labels, class_labels)
            )
        )
        heat, is_center = torch.stack(heats), torch.stack(centers)
        logits = heat_logits.float()
        log_hot, log_cold = F.logsigmoid(logits), F.logsigmoid(-logits)
        probability = logits.sigmoid()
        positive = (1 - probability) ** ALPHA * log_hot
        negative = (1 - heat) ** BETA * probability**ALPHA * log_cold
        losses = -torch.where(is_center, positive, negative)  # (B, h, w)
        if void_masks is not None:
            losses = losses * torch.stack([known_cells(void.to(device), map_size, stride) for void in void_masks])
        if normalizer is None:
            return losses.sum() / mean_targets(sum(len(classes) for classes in class_labels), device)
        return losses.sum() / normalizer.to(device, torch.float32)


def known_cells(void: torch.Tensor, map_size: tuple[int, int], stride: int) -> torch.Tensor:
    """Tells in which cells the middle pixel is known. Shape: boolean `(H, W)` to `(h, w)`."""
    middle = void[stride // 2 :: stride, stride // 2 :: stride][: map_size[0], : map_size[1]]
    padding = (0, map_size[1] - middle.shape[1], 0, map_size[0] - middle.shape[0])
    return ~F.pad(middle, padding)
