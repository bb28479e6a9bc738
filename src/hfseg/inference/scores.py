# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class scores of an image from the outputs of any segmentation model; what the inference functions share.

Shapes: B images, K classes, (h, w) network input without padding, (H, W) results.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import postprocess

__all__ = ["Predict", "check_size", "image_size", "output_scores", "pad_to_divisor", "prepare", "resized_logits"]

Predict = Callable[[Tensor], Any]
Size = tuple[int, int]
KINDS = ("probabilities", "logits")


def check_size(name: str, size: Any) -> Size:
    """Height and width of a pair of numbers, or of one number for both.

    Raises:
        ValueError: Anything but positive whole numbers.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or any(int(side) != side or side < 1 for side in pair):
        raise ValueError(f"{name} is {size!r}; give (height, width) in pixels, both 1 or more.")
    return int(pair[0]), int(pair[1])


def image_size(image: Any) -> Size:
    """Height and width of a PIL image, an array (H, W[, C]) or a tensor (C, H, W)."""
    if isinstance(image, Tensor):
        return int(image.shape[-2]), int(image.shape[-1])
    if isinstance(image, np.ndarray):
        return int(image.shape[0]), int(image.shape[1])
    return int(image.height), int(image.width)


def prepare(image: Any, image_processor: Any, **changes: Any) -> Tensor:
    """Network input of one image, resized and normalized by its image processor, without padding.

    Args:
        image: PIL image, array (H, W, 3) or tensor (3, H, W).
        image_processor: The model's image processor.
        **changes: Settings of the processor for this call, such as `size` or `do_resize`.

    Shape:
        (1, 3, h, w), float32.
    """
    inputs = image_processor(images=[image], return_tensors="pt", **{"do_pad": False, **changes})
    pixel_values = inputs["pixel_values"]
    stacked = pixel_values if isinstance(pixel_values, Tensor) else torch.stack(list(pixel_values))
    return stacked.to(torch.float32)


def pad_to_divisor(pixel_values: Tensor, image_processor: Any) -> Tensor:
    """Zero-pads a network input at the right and bottom, as the image processor pads it.

    Shape:
        (B, 3, h, w) -> (B, 3, h', w'), both sides multiples of the processor's `size_divisor`.
    """
    divisor = getattr(image_processor, "size_divisor", None) or 1
    if getattr(image_processor, "do_pad", True) is False:
        divisor = 1
    height, width = pixel_values.shape[-2:]
    return functional.pad(pixel_values, (0, -width % divisor, 0, -height % divisor))


@torch.no_grad()
def output_scores(
    outputs: Any,
    padded_size: Size,
    image_sizes: Sequence[Size],
    target_sizes: Sequence[Size],
    kind: str = "probabilities",
) -> list[Tensor]:
    """Score of every class at every pixel, for two kinds of outputs.

    For `class_queries_logits` and `masks_queries_logits`: the sum over queries of class probability times mask
    probability (`hfseg.postprocess.semantic_segmentation`), which need not add up to 1. For `logits` (B, K, ., .): the
    softmax of `resized_logits`, or with `kind="logits"` these themselves.

    Args:
        outputs: Of a model.
        padded_size: Height and width of its input.
        image_sizes: Size of each image inside the input, at its top left.
        target_sizes: Size of each result.
        kind: What is averaged later: "probabilities", or "logits" as some papers do (outputs with `logits` only).

    Shape:
        Per image (K, H, W), float32.

    Raises:
        ValueError: Outputs of another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of scores is {kind!r}; must be one of {', '.join(KINDS)}.")
    if hasattr(outputs, "masks_queries_logits"):
        if kind != "probabilities":
            raise ValueError(
                "The model predicts masks per query, whose class scores are no logits: average probabilities."
            )
        _, scores = postprocess.semantic_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded_size,
            image_sizes=image_sizes,
            output_sizes=target_sizes,
            return_scores=True,
        )
        return scores or []
    resized = resized_logits(outputs, padded_size, image_sizes, target_sizes)
    return resized if kind == "logits" else [logits.softmax(0) for logits in resized]


@torch.no_grad()
def resized_logits(
    outputs: Any, padded_size: Size, image_sizes: Sequence[Size], target_sizes: Sequence[Size]
) -> list[Tensor]:
    """Class logits of a semantic model at the size of the results.

    Resized bilinearly and in one step, with and without padding alike. Arguments as `output_scores`.

    Shape:
        `outputs.logits` (B, K, ., .); per image (K, H, W), float32.

    Raises:
        ValueError: There are no logits.
    """
    if getattr(outputs, "logits", None) is None:
        raise ValueError(
            f"The model returns {type(outputs).__name__} with {', '.join(outputs)}; class scores need 'logits' or "
            "'class_queries_logits' and 'masks_queries_logits'."
        )
    return postprocess.resize_class_logits(outputs.logits, padded_size, image_sizes, target_sizes)
