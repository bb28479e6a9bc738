# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What an open-vocabulary model is called with: some look at points of the image, others propose masks themselves."""

import inspect
from typing import Any

from torch import Tensor, nn

__all__ = ["looks_at_points", "vocabulary_inputs"]


def looks_at_points(model: nn.Module) -> bool:
    """Whether an open-vocabulary model makes masks of points, a grid of them where none are given."""
    return "input_points" in inspect.signature(model.forward).parameters


def vocabulary_inputs(
    model: nn.Module, pixel_values: Tensor, original_sizes: Tensor, text_embeds: Tensor, **grid: int | None
) -> dict[str, Any]:
    """Arguments of a model's forward.

    Args:
        model: Open-vocabulary model.
        pixel_values: Of the image processor.
        original_sizes: Height and width of the images.
        text_embeds: Of the classes.
        **grid: `points_per_side` and `prompt_chunk_size`; None is the model's own.

    Raises:
        ValueError: A grid for a model that does not look at points.

    Shape:
        pixel_values: `(B, 3, H, W)`; original_sizes: `(B, 2)`; text_embeds: `(V, R, D)`.
    """
    # Where masks can be made from their embeddings, that is done when it is known which are kept.
    optional: dict[str, Any] = {"original_sizes": original_sizes, "output_masks": False}
    taken = inspect.signature(model.forward).parameters
    arguments = {name: value for name, value in optional.items() if name in taken}
    arguments |= {"pixel_values": pixel_values, "text_embeds": text_embeds}
    if looks_at_points(model):
        return {**arguments, **grid}
    given = [name for name, value in grid.items() if value is not None]
    if given:
        raise ValueError(f"{type(model).__name__} proposes masks without a grid of points: leave {given[0]} out.")
    return arguments
