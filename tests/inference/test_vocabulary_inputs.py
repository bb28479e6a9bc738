# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Arguments of open-vocabulary models with and without a grid of points."""

import pytest
import torch
from torch import nn

from hfseg.inference.vocabulary_inputs import looks_at_points, vocabulary_inputs


class Points(nn.Module):
    def forward(self, pixel_values, text_embeds, input_points=None, original_sizes=None, output_masks=True, **more):
        return None


class Proposals(nn.Module):
    def forward(self, pixel_values, text_embeds):
        return None


def test_a_grid_is_for_models_that_look_at_points():
    given = torch.zeros(1, 3, 8, 8), torch.tensor([[8, 8]]), torch.zeros(2, 1, 4)
    assert looks_at_points(Points()) and not looks_at_points(Proposals())
    asked = vocabulary_inputs(Points(), *given, points_per_side=3)
    assert asked["points_per_side"] == 3 and asked["output_masks"] is False and asked["original_sizes"] is given[1]
    assert set(vocabulary_inputs(Proposals(), *given, points_per_side=None)) == {"pixel_values", "text_embeds"}
    with pytest.raises(ValueError, match="Proposals proposes masks without a grid of points: leave points_per_side"):
        vocabulary_inputs(Proposals(), *given, points_per_side=3)
