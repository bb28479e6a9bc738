# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Measuring referring segmentation on data in the referring schema, by the authors' two protocols."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from PIL import Image
from scipy import ndimage
from torch import nn

from ..metrics.referring_segmentation import ReferringSegmentation

__all__ = ["PROTOCOLS", "evaluate_referring", "predict_referring", "referring_overlays"]

PROTOCOLS = {
    "every": "every sentence of every referent is a sample (the authors' test)",
    "first": "the first sentence of every referent is a sample (the authors' validation during training)",
}


@torch.no_grad()
def predict_referring(model: nn.Module, processor: Any, example: Mapping[str, Any], texts: list[str]) -> torch.Tensor:
    """Segments all expressions of one example; the picture is encoded once.

    Shape:
        Output: (K, H, W), bool, at the picture's size.
    """
    image = np.asarray(example["image"])
    first = next(model.parameters())
    inputs = processor(images=[image], text=[texts], return_tensors="pt")
    outputs = model(
        pixel_values=inputs["pixel_values"].to(first.device, first.dtype),
        input_ids=inputs["input_ids"].to(first.device),
    )
    (masks,) = processor.post_process_referring_segmentation(outputs, [image.shape[:2]])
    return masks


def evaluate_referring(
    model: nn.Module,
    processor: Any,
    dataset: Any,
    *,
    limit: int | None = None,
    expressions_of: Any = None,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, Any]:
    """Measures a model: both protocols at once, and by kind of expression where examples name `kinds`.

    Args:
        model: Gives `logits` (B, K, h, w) of `pixel_values` and `input_ids`, in evaluation mode.
        processor: Its processor.
        dataset: Examples with `image`, `mask`, `expressions` and perhaps `kinds`.
        limit: Examples at most.
        expressions_of: Optional function (index, example) -> expressions to ask in place of the example's, for
            controls; as many.
        rank, ranks: This process and how many share the examples; all of them return the whole set's numbers.

    Returns:
        Fractions as `ReferringSegmentation` names them, over every sentence; the same with the prefix `first_` over
        first sentences; and `kinds`, {kind: fractions}.
    """
    metrics: dict[str, ReferringSegmentation] = {"every": ReferringSegmentation(), "first": ReferringSegmentation()}
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for index in range(rank, count, ranks):
        example = dataset[index]
        texts = list(example["expressions"] if expressions_of is None else expressions_of(index, example))
        masks = predict_referring(model, processor, example, texts).cpu().numpy()
        kinds = example.get("kinds") or [None] * len(texts)
        for position, (mask, kind) in enumerate(zip(masks, kinds)):
            names = ["every"] + (["first"] if position == 0 else []) + ([f"kind {kind}"] if kind else [])
            for name in names:
                metrics.setdefault(name, ReferringSegmentation()).add(prediction=mask, reference=example["mask"])
    if ranks > 1:
        states = gather_object([{name: metric.state_dict() for name, metric in metrics.items()}])
        metrics = {name: ReferringSegmentation() for state in states for name in state}
        for state in states:
            for name, own in state.items():
                metrics[name].merge_state(own)
    numbers: dict[str, Any] = metrics["every"].compute()
    numbers |= {f"first_{name}": value for name, value in metrics["first"].compute().items()}
    numbers["kinds"] = {
        name.removeprefix("kind "): metric.compute() for name, metric in metrics.items() if name.startswith("kind ")
    }
    return numbers


def referring_overlays(model: nn.Module, processor: Any, dataset: Any, count: int = 8) -> list[Image.Image]:
    """Draws the first expression of each of the first examples: picture, truth and prediction side by side."""
    from ..results.drawing import side_by_side

    drawn = []
    for index in range(min(count, len(dataset))):
        example = dataset[index]
        text = example["expressions"][0]
        mask = predict_referring(model, processor, example, [text])[0].cpu().numpy()
        image = np.asarray(example["image"])
        pictures = [image, tinted(image, np.asarray(example["mask"]) != 0), tinted(image, mask)]
        drawn.append(side_by_side(pictures, [text, "truth", "prediction"], minimum_side=192))
    return drawn


def tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tints a mask yellow, outlines it in white and darkens what is outside: seen by the colour-blind as well.

    Shape:
        image: (H, W, 3), uint8; mask: (H, W), bool; output: (H, W, 3), uint8.
    """
    shown = image.astype(np.float32)
    shown[~mask] *= 0.35
    shown[mask] = 0.7 * shown[mask] + 0.3 * np.array([240.0, 228.0, 66.0])
    shown[ndimage.binary_dilation(mask) & ~mask] = 255
    return shown.round().astype(np.uint8)
