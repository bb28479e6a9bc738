# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Names and weights of losses that exist at every prediction level of a decoder."""

from collections.abc import Mapping

import torch


def weighted_terms(losses: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Weights losses and names them: `loss_NAME` of the model's output, `loss_NAME_0`, `_1`, ... of earlier levels.

    Args:
        losses: Name to losses of all levels; the last level is the model's output.
        weights: Name to weight.

    Returns:
        Weighted scalars, the output's own terms first.

    Shape:
        losses: each `(P,)`.
    """
    num_levels = len(next(iter(losses.values())))
    terms = {}
    for level in (num_levels - 1, *range(num_levels - 1)):
        suffix = "" if level == num_levels - 1 else f"_{level}"
        for name, values in losses.items():
            terms[f"loss_{name}{suffix}"] = weights[name] * values[level]
    return terms
