# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of referring segmentation on data in the referring schema, by the two protocols of CRIS's authors."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn
from tqdm import tqdm

from ..metrics.referring_segmentation import ReferringSegmentation
from ..results.drawing import side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .report import Shown

__all__ = ["PROTOCOLS", "ReferringEvaluator", "evaluate_referring", "predict_referring", "referring_overlays"]

PROTOCOLS = {
    "every": "every sentence of every referent is a sample (the authors' test)",
    "first": "the first sentence of every referent is a sample (the authors' validation during training)",
}


@torch.no_grad()
def predict_referring(model: nn.Module, processor: Any, example: Mapping[str, Any], texts: list[str]) -> torch.Tensor:
    """Segments all expressions of one example; the image is encoded once.

    Shape:
        Output: (K, H, W), bool, at the image's size.
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
    progress: bool = False,
) -> dict[str, Any]:
    """Evaluates a model: both protocols at once, and by kind of expression where examples name `kinds`.

    Args:
        model: Gives `logits` (B, K, h, w) of `pixel_values` and `input_ids`, in evaluation mode.
        processor: Its processor.
        dataset: Examples with `image`, `mask`, `expressions` and perhaps `kinds`.
        limit: Examples at most.
        expressions_of: Optional function (index, example) -> expressions to ask in place of the example's, for
            controls; as many.
        rank, ranks: This process and how many share the examples; all of them return the whole set's numbers.
        progress: Whether to show a bar.

    Returns:
        Percent as `ReferringSegmentation` names the numbers, over every sentence; the same with the prefix `first_`
        over first sentences; and `kinds`, {kind: percent}. Numbers with `num_` are counts.
    """
    metrics: dict[str, ReferringSegmentation] = {"every": ReferringSegmentation(), "first": ReferringSegmentation()}
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for index in tqdm(range(rank, count, ranks), unit="image", disable=None if progress else True):
        example = dataset[index]
        texts = list(example["expressions"] if expressions_of is None else expressions_of(index, example))
        masks = predict_referring(model, processor, example, texts).cpu().numpy()
        kinds = example.get("kinds") or [None] * len(texts)
        for position, (mask, kind) in enumerate(zip(masks, kinds)):
            names = ["every"] + (["first"] if position == 0 else []) + ([f"kind {kind}"] if kind else [])
            for name in names:
                metrics.setdefault(name, ReferringSegmentation()).add(prediction=mask, reference=example["mask"])
    if ranks > 1:
        states = gathered({name: metric.state_dict() for name, metric in metrics.items()}, ranks)
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
    """Draws the first expression of each of the first examples: image, ground truth and prediction side by side."""
    drawn = []
    for index in range(min(count, len(dataset))):
        example = dataset[index]
        text = example["expressions"][0]
        mask = predict_referring(model, processor, example, [text])[0].cpu().numpy()
        image = np.asarray(example["image"])
        images = [image, tinted(image, np.asarray(example["mask"]) != 0), tinted(image, mask)]
        drawn.append(side_by_side(images, [text, "ground truth", "prediction"], minimum_side=192))
    return drawn


def tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tints a mask yellow, outlines it in white and darkens what is outside: seen by the color-blind as well.

    Shape:
        image: (H, W, 3), uint8; mask: (H, W), bool; output: (H, W, 3), uint8.
    """
    shown = image.astype(np.float32)
    shown[~mask] *= 0.35
    shown[mask] = 0.7 * shown[mask] + 0.3 * np.array([240.0, 228.0, 66.0])
    shown[ndimage.binary_dilation(mask) & ~mask] = 255
    return shown.round().astype(np.uint8)


MEANINGS = {
    "oiou": "intersections of all samples / their unions",
    "miou": "IoU of each sample; mean over samples",
    "precision@": "share of samples whose IoU is above the threshold",
    "without_referent_accuracy": "share of the expressions without a referent whose mask is empty",
    "num_samples": "samples",
    "num_without_referent": "expressions without a referent",
}


def averages(names: Any) -> dict[str, str]:
    """What each number averages over."""
    told = {}
    for name in names:
        base = name.removeprefix("first_")
        meaning = next((text for start, text in MEANINGS.items() if base.startswith(start)), "")
        told[name] = f"{meaning}; {PROTOCOLS['first' if name != base else 'every']}"
    return told


class ReferringEvaluator(TaskEvaluator):
    """Referring models. Option: `threshold`, the smallest probability of a mask's pixels; default: the processor's."""

    options_of_task: ClassVar[Mapping[str, Any]] = {"threshold": None}
    kind = "referring"

    def check_options(self) -> None:
        """Checks the threshold.

        Raises:
            ValueError: It is no probability.
        """
        threshold = self.options.threshold
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie between 0 and 1; got {threshold}.")

    def prepare(self) -> None:
        """Sets the threshold."""
        if self.options.threshold is not None:
            self.loaded.image_processor.threshold = self.options.threshold

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates by both protocols, and by kind of expression."""
        numbers = evaluate_referring(
            self.loaded.model,
            self.loaded.processor,
            self.dataset,
            limit=self.options.limit,
            rank=rank,
            ranks=ranks,
            progress=rank == 0,
        )
        kinds = numbers.pop("kinds")
        rows = [
            {
                "kind": kind,
                "expressions": of_kind["num_samples"],
                "iou": of_kind.get("miou"),
                "precision@0.5": of_kind.get("precision@0.5"),
            }
            for kind, of_kind in sorted(kinds.items())
        ]
        threshold = self.loaded.image_processor.threshold
        return Outcome(
            metrics=numbers,
            number_of_images=self.count,
            averages=averages(numbers),
            unit="percent; num_... are counts",
            headline=("oiou", "miou", "precision@0.5", "first_miou"),
            tables={"Kinds of expressions": rows},
            record={
                "kinds": kinds,
                "protocols": {"(no prefix)": PROTOCOLS["every"], "first_": PROTOCOLS["first"]},
                "threshold": threshold,
            },
            facts={"threshold": str(threshold)},
        )

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws the first expression of the first images."""
        images = referring_overlays(self.loaded.model, self.loaded.processor, self.dataset, min(count, self.count))
        return {
            "The first expressions": [
                Shown(f"{index}: {self.dataset[index]['expressions'][0]}", image, f"{index:02d}")
                for index, image in enumerate(images)
            ]
        }
