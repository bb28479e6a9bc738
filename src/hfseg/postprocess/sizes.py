# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checks of what the functions of this room take: shapes, sizes and thresholds.

Four sizes (height, width) describe how mask logits lie on an image:

- `padded_size`: of the network input; default: that of the mask logits;
- `image_sizes`: of each image inside the padded input, at its top left; default: no padding;
- `output_sizes`: of each result; default: `image_sizes`;
- `canvas_sizes`: to which each image is resized before its top left part of `output_sizes` is taken, for inputs padded
  to a square; default: `output_sizes`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Sizes of a batch: of the padded input, and per image inside it, of its canvas and of its result."""

    padded: Size
    images: list[Size]
    outputs: list[Size]
    canvases: Sequence[Size | None]

    def of(self, index: int) -> tuple[Size, Size, Size, Size | None]:
        """Padded, image, output and canvas size of one image, as `BandResizer` takes them."""
        return self.padded, self.images[index], self.outputs[index], self.canvases[index]


def complete_sizes(
    mask_logits: Tensor,
    padded_size: Size | None,
    image_sizes: Sequence[Size] | None,
    output_sizes: Sequence[Size] | None,
    canvas_sizes: Sequence[Size] | None = None,
) -> Geometry:
    """Checks sizes and fills in those that were not given.

    Raises:
        ValueError: for another number of sizes than images, sizes below 1, and images larger than the padded input.
    """
    batch_size, (height, width) = len(mask_logits), mask_logits.shape[-2:]
    padded = (int(padded_size[0]), int(padded_size[1])) if padded_size is not None else (height, width)

    def complete(sizes: Sequence[Size] | None, default: list[Size], name: str) -> list[Size]:
        if sizes is None:
            return default
        if len(sizes) != batch_size:
            raise ValueError(
                f"{name} has {len(sizes)} entries for a batch of {batch_size} images; give one (height, width) each."
            )
        result = [(int(size[0]), int(size[1])) for size in sizes]
        for size in result:
            if min(size) < 1:
                raise ValueError(f"{name} must be at least (1, 1), got {size}.")
        return result

    images = complete(image_sizes, [padded] * batch_size, "image_sizes")
    for size in images:
        if size[0] > padded[0] or size[1] > padded[1]:
            raise ValueError(f"Image size {size} exceeds the padded size {padded} it is cropped from.")
    outputs = complete(output_sizes, images, "output_sizes")
    return Geometry(padded, images, outputs, canvas_sizes or [None] * len(outputs))


def check_logits(class_logits: Tensor, mask_logits: Tensor) -> None:
    """Raises a ValueError unless class and mask logits have the dimensions of one batch of queries."""
    if class_logits.ndim != 3 or mask_logits.ndim != 4 or class_logits.shape[:2] != mask_logits.shape[:2]:
        raise ValueError(
            "Class logits must be (B, Q, K + 1) and mask logits (B, Q, h, w) with equal B and Q, got "
            f"{tuple(class_logits.shape)} and {tuple(mask_logits.shape)}."
        )


def check_shares(**values: float) -> None:
    """Checks scores and shares by name; outside of [0, 1] nothing, or everything, would pass without a word.

    Raises:
        ValueError: Outside of [0, 1], or NaN.
    """
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}.")


def logit_of(probability: float, name: str) -> float:
    """Logit of a probability, infinite at 0 and 1.

    Raises:
        ValueError: outside of [0, 1]; `name` is that of the argument.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, got {probability}.")
    if probability in (0.0, 1.0):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))
