# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of models that turn points and boxes into masks: with the mask a user gets, and an oracle's choice."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from tqdm import tqdm

from ..data.readers.promptable import boxes_of_masks, masks_of
from ..metrics.oracle_iou import OracleIoU
from ..results.drawing import overlay, side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .report import Shown

__all__ = ["AVERAGES", "PromptableEvaluator", "evaluate_promptable", "inner_points", "true_masks"]

AVERAGES = {
    "one_point_iou": "IoU of the mask that the model trusts most for one point inside; mean over true masks",
    "one_box_iou": "IoU of the mask that the model trusts most for the true mask's box; mean over true masks",
    "one_point_oracle_iou": "best IoU among all masks of a grid of points (1-pt IoU of papers); mean over true masks",
    "one_box_oracle_iou": "best IoU among the masks of the true mask's box (1-box IoU of papers); mean over true masks",
    "num_masks": "true masks",
}


class EmbedsImages(Protocol):
    """Models that read an image once for many prompts."""

    def get_image_embeddings(self, pixel_values: torch.Tensor) -> Any:
        """Computes what all prompts share."""
        ...


def true_masks(example: Mapping[str, Any]) -> np.ndarray:
    """Draws the true masks of an example of the promptable, universal or semantic schema. Shape: (N, H, W) bool."""
    if any(example.get(name) is not None for name in ("masks", "instances", "segmentation")):
        return masks_of(example)
    label_map = np.asarray(example["segmentation_map"])
    ids = [value for value in np.unique(label_map).tolist() if value != 255]
    return label_map[None] == np.asarray(ids)[:, None, None]


def inner_points(masks: np.ndarray) -> np.ndarray:
    """The pixel of each mask that is farthest from its border, as (x, y) of the pixel's center.

    Shape:
        masks: (N, H, W), bool, none empty; output: (N, 2), float32.
    """
    points = []
    for mask in masks:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((column + 0.5, row + 0.5))
    return np.asarray(points, dtype=np.float32).reshape(-1, 2)


@torch.no_grad()
def evaluate_promptable(
    model: nn.Module,
    image_processor: Any,
    dataset: Any,
    points_per_side: int | None = None,
    rank: int = 0,
    ranks: int = 1,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Evaluates a mask generation model by points and boxes made from the true masks.

    Args:
        model: A mask generation model, in evaluation mode.
        image_processor: Its image processor.
        dataset: Examples with masks, in the promptable, universal or semantic schema; names are ignored.
        points_per_side: Of the grid of the 1-point oracle; default: the model's.
        rank, ranks: This process and how many share the images; all of them return the whole set's numbers.
        limit: Images at most.
        progress: Whether to show a bar.

    Returns:
        Percent, as `AVERAGES` explains, and the number of true masks.

    Raises:
        ValueError: There is no true mask.
    """
    metrics = {name: OracleIoU("pool" if name == "grid" else "paired") for name in ("grid", "point", "box")}
    device = next(model.parameters()).device
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for index in tqdm(range(rank, count, ranks), unit="image", disable=None if progress else True):
        example = dataset[index]
        masks = true_masks(example)
        masks = masks[masks.any((1, 2))] if len(masks) else masks
        if not len(masks):
            continue
        image = example["image"]
        prompts = {"point": inner_points(masks), "box": boxes_of_masks(torch.from_numpy(masks)).numpy()}
        embeddings = sizes = None
        for kind, values in prompts.items():
            name = f"input_{kind}s" if kind == "point" else "input_boxes"
            inputs = image_processor(images=[image], return_tensors="pt", **{name: values[None]}).to(device)
            if embeddings is None:
                pixel_values = inputs["pixel_values"].to(next(model.parameters()).dtype)
                embeddings = cast(EmbedsImages, model).get_image_embeddings(pixel_values)
                sizes = inputs["original_sizes"]
            given = {name: inputs[name], "original_sizes": sizes}
            outputs = model(image_embeddings=embeddings, **given)
            metrics[kind].add(prediction=_by_trust(image_processor, outputs, sizes), reference=masks)
        grid = model(image_embeddings=embeddings, original_sizes=sizes, points_per_side=points_per_side)
        candidates = image_processor.post_process_masks(grid.pred_masks, sizes)[0].flatten(0, 1).cpu().numpy()
        metrics["grid"].add(prediction=candidates, reference=masks)
    results = {}
    for name, metric in metrics.items():
        states = gathered(metric.state_dict(), ranks)
        metric.reset()
        for state in states:
            metric.merge_state(state)
        results[name] = metric.compute()
    if not results["box"]["num_masks"]:
        raise ValueError("The dataset shows no mask; there is nothing to evaluate on.")
    return {
        "one_point_iou": results["point"]["first_iou"],
        "one_box_iou": results["box"]["first_iou"],
        "one_point_oracle_iou": results["grid"]["oracle_iou"],
        "one_box_oracle_iou": results["box"]["oracle_iou"],
        "num_masks": results["box"]["num_masks"],
    }


def _by_trust(image_processor: Any, outputs: Any, sizes: Any) -> np.ndarray:
    """Candidates of each prompt, that which the model trusts most first. Shape: (N, C, H, W), bool."""
    masks = image_processor.post_process_masks(outputs.pred_masks, sizes)[0].cpu().numpy()
    order = outputs.iou_scores[0].float().argsort(dim=-1, descending=True, stable=True).cpu().numpy()  # (N, C)
    return np.take_along_axis(masks, order[:, :, None, None], axis=1)


class PromptableEvaluator(TaskEvaluator):
    """Mask generators, on any dataset with masks. Option: `points_per_side` of the grid; default: the model's."""

    options_of_task: ClassVar[Mapping[str, Any]] = {"points_per_side": None}

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates with one point, one box, and the oracles."""
        numbers = evaluate_promptable(
            self.loaded.model,
            self.loaded.image_processor,
            self.dataset,
            self.options.points_per_side,
            rank,
            ranks,
            self.options.limit,
            progress=rank == 0,
        )
        grid = self.options.points_per_side or getattr(self.loaded.model.config, "points_per_side", None)
        return Outcome(
            metrics=dict(numbers),
            number_of_images=self.count,
            averages=AVERAGES,
            headline=("one_point_iou", "one_box_iou", "one_point_oracle_iou", "one_box_oracle_iou"),
            record={"points_per_side": grid},
            facts={"grid of the 1-point oracle": f"{grid} x {grid} points"},
        )

    @torch.no_grad()
    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws image, true masks and the masks of their boxes, for the first images."""
        processor, model = self.loaded.image_processor, self.loaded.model
        shown = []
        for index in range(min(count, self.count)):
            example = self.dataset[index]
            image, masks = np.asarray(example["image"]), true_masks(example)
            masks = masks[masks.any((1, 2))] if len(masks) else masks
            if not len(masks):
                continue
            boxes = boxes_of_masks(torch.from_numpy(masks)).numpy()
            inputs = processor(images=[image], input_boxes=boxes[None], return_tensors="pt")
            first = next(model.parameters())
            inputs = inputs.to(first.device)
            outputs = model(pixel_values=inputs["pixel_values"].to(first.dtype), input_boxes=inputs["input_boxes"])
            own = _by_trust(processor, outputs, inputs["original_sizes"])[:, 0]
            names = {number: "" for number in range(1, len(masks) + 1)}
            info = [{"id": number, "label_id": number} for number in names]
            drawn = [image]
            for side in (masks, own):
                ids = np.zeros(image.shape[:2], dtype=np.int32)
                for number in sorted(names, key=lambda number: -int(side[number - 1].sum())):
                    ids[side[number - 1]] = number
                drawn.append(np.asarray(overlay(image, ids, info, names, draw_labels=False)))
            titles = ["image", "ground truth", "masks of the boxes"]
            shown.append(Shown(f"{index}: {len(masks)} masks", side_by_side(drawn, titles), f"{index:02d}"))
        return {"The first images": shown}
