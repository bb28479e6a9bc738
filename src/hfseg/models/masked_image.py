# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked image modeling of any plain-ViT backbone (SimMIM: Xie et al., CVPR 2022)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils.generic import ModelOutput

from ..losses.masked_image import draw_masked_units, masked_reconstruction_loss, unit_pixels


class MaskedImageModel(nn.Module):
    """A plain-ViT backbone that predicts the pixels of hidden patches from its last map, by one linear layer.

    Hidden patches are gray (the mean color) in the image itself: so it works with every backbone, and adds no
    parameter to it. (SimMIM puts a learned token in their place.)

    Args:
        model: Model with a `backbone`, of which only that is used.
        ratio: Share of hidden patches.
    """

    def __init__(self, model: Any, ratio: float = 0.6):
        super().__init__()
        if not 0 < ratio < 1:
            raise ValueError(f"mask_ratio is {ratio}; it must lie between 0 and 1.")
        self.config, self.ratio = model.config, ratio
        self.backbone = model.base_model.backbone
        self.unit = model.base_model.patch_size
        self.predictor = nn.Conv2d(self.backbone.channels[-1], 3 * self.unit**2, 1)

    def forward(self, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor | None = None) -> ModelOutput:
        """Hides patches and computes the mean absolute error of their predicted pixels.

        Args:
            pixel_values: Normalized images of whole patches.
            bool_masked_pos: Patches to hide, row by row; drawn if not given.

        Shape:
            pixel_values: `(B, 3, H, W)`; bool_masked_pos: `(B, h * w)`; `reconstruction`: `(B, 3, H, W)`.
        """
        batch_size, _, height, width = pixel_values.shape
        rows, columns = height // self.unit, width // self.unit
        if bool_masked_pos is None:
            bool_masked_pos = draw_masked_units(batch_size, rows * columns, self.ratio, pixel_values.device)
        seen = pixel_values.masked_fill(unit_pixels(bool_masked_pos, self.unit, rows, columns), 0.0)
        features = self.backbone(seen).feature_maps[-1]
        features = F.layer_norm(features.permute(0, 2, 3, 1), features.shape[1:2]).permute(0, 3, 1, 2)
        reconstruction = F.pixel_shuffle(self.predictor(features), self.unit)
        loss = masked_reconstruction_loss(reconstruction, pixel_values, bool_masked_pos, self.unit)
        return ModelOutput(loss=loss, reconstruction=reconstruction)
