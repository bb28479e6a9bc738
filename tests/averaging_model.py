# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A model each of whose answers depends on the whole input."""

import torch

import oracle


class Averaging(torch.nn.Module):
    """Every answer depends on the whole input, padding included."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.shapes = []

    def forward(self, pixel_values):
        self.shapes.append(tuple(pixel_values.shape))
        outputs = oracle.color_oracle(pixel_values * self.weight)
        outputs["masks_queries_logits"] = outputs["masks_queries_logits"] + pixel_values.mean((1, 2, 3), keepdim=True)
        return outputs
