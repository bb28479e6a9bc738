# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of models that turn points and boxes into masks: with the mask a user gets, and an oracle's choice."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from tqdm import tqdm

from ..data.readers.promptable import boxes_of_masks, masks_of
from ..inference.zoomed_prompts import masks_of_boxes, masks_of_points
from ..metrics.oracle_iou import OracleIoU
from ..results.drawing import overlay, side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .report import Shown

__all__ = [
    "AVERAGES",
    "PROMPTS",
    "PromptableEvaluator",
    "best_of_grid",
    "evaluate_promptable",
    "inner_points",
    "true_masks",
]

PROMPTS = ("point", "box", "grid", "everything")
AVERAGES = {
    "one_point_iou": "IoU of the mask that the model trusts most for one point inside; mean over true masks",
    "one_box_iou": "IoU of the mask that the model trusts most for the true mask's box; mean over true masks",
    "one_point_oracle_iou": "best IoU among all masks of a grid of points (1-pt IoU of papers); mean over true masks",
    "one_box_oracle_iou": "best IoU among the masks of the true mask's box (1-box IoU of papers); mean over true masks",
    "everything_iou": "best IoU among the masks that are generated without a prompt; mean over true masks",
    "everything_recall@0.5": "true masks of which a mask generated without a prompt has an IoU above 0.5",
    "masks_generated": "masks generated without a prompt per image that shows a true mask",
    "num_masks": "true masks",
}
# Key of a result -> kind of prompt, and what its metric calls it.
NUMBERS = {
    "one_point_iou": ("point", "first_iou"),
    "one_box_iou": ("box", "first_iou"),
    "one_point_oracle_iou": ("grid", "oracle_iou"),
    "one_box_oracle_iou": ("box", "oracle_iou"),
    "everything_iou": ("everything", "oracle_iou"),
    "everything_recall@0.5": ("everything", "recall_50"),
}
CHUNK = 16  # prompts of a grid whose masks are compared at a time: bounds memory at 1,600 masks per image


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


# Prompt of each true mask, by kind.
PLACES: Mapping[str, Any] = {
    "point": inner_points,
    "box": lambda masks: boxes_of_masks(torch.from_numpy(masks)).numpy(),
}


def zooms_of(image_processor: Any) -> dict[str, float]:
    """Kinds of prompts that are asked about in parts of the image, with `box_zoom` and `point_zoom`."""
    zooms = {kind: getattr(image_processor, f"{kind}_zoom", None) for kind in PLACES}
    return {kind: zoom for kind, zoom in zooms.items() if zoom is not None}


class PromptedMasks:
    """Masks of one model for prompts made from true masks, counted by set.

    Args:
        model: A mask generation model, in evaluation mode.
        image_processor: Its image processor.
        points_per_side: Of the grid; default: the model's.
        prompts: Which of `PROMPTS` are asked for.
    """

    def __init__(self, model: nn.Module, image_processor: Any, points_per_side: int | None, prompts: Sequence[str]):
        self.model, self.image_processor, self.points_per_side = model, image_processor, points_per_side
        self.prompts = prompts
        self.sets: dict[str, dict[str, OracleIoU]] = {}
        self.generated: dict[str, list[int]] = {}  # by set: masks generated without a prompt, images

    def metrics_of(self, name: str) -> dict[str, OracleIoU]:
        """Metrics of one set by kind of prompt."""
        matchings = {"grid": "pool", "everything": "pool", "point": "paired", "box": "paired"}
        if name not in self.sets:
            self.sets[name] = {kind: OracleIoU(matchings[kind]) for kind in self.prompts}
        return self.sets[name]

    def add(self, name: str, example: Mapping[str, Any]) -> None:
        """Asks the model for the masks of one image, and compares them with the true ones."""
        masks = true_masks(example)
        masks = masks[masks.any((1, 2))] if len(masks) else masks
        if not len(masks):
            return
        metrics = self.metrics_of(name)
        first = next(self.model.parameters())
        image, zooms, whole = np.asarray(example["image"]), zooms_of(self.image_processor), set(self.prompts)
        for kind, zoom in zooms.items():
            if kind in self.prompts:
                found = _zoomed(self.model, self.image_processor, image, kind, PLACES[kind](masks), zoom)
                metrics[kind].add(prediction=found, reference=masks)
                whole.remove(kind)
        if not whole:
            return
        inputs = self.image_processor(images=[example["image"]], return_tensors="pt").to(first.device)
        sizes = inputs["original_sizes"]
        embeddings = cast(EmbedsImages, self.model).get_image_embeddings(inputs["pixel_values"].to(first.dtype))
        for kind, values in PLACES.items():
            if kind in whole:
                argument = "input_points" if kind == "point" else "input_boxes"
                given = self.image_processor(
                    images=[example["image"]], return_tensors="pt", **{argument: values(masks)[None]}
                ).to(first.device)
                outputs = self.model(image_embeddings=embeddings, original_sizes=sizes, **{argument: given[argument]})
                metrics[kind].add(prediction=_by_trust(self.image_processor, outputs, sizes), reference=masks)
        if {"grid", "everything"} & set(self.prompts):
            grid = self.model(image_embeddings=embeddings, original_sizes=sizes, points_per_side=self.points_per_side)
            self._add_grid(name, grid, sizes, masks)

    def _add_grid(self, name: str, grid: Any, sizes: Any, masks: np.ndarray) -> None:
        """Compares the masks of a grid of points: all of them, and those that score and suppression leave."""
        metrics = self.metrics_of(name)
        if "grid" in self.prompts:
            best = best_of_grid(self.image_processor, grid.pred_masks, sizes, masks)
            metrics["grid"].add(prediction=best, reference=masks)
        if "everything" in self.prompts:
            kept = self.image_processor.post_process_mask_generation(grid, sizes)[0]["masks"].cpu().numpy()
            metrics["everything"].add(prediction=kept, reference=masks)
            count = self.generated.setdefault(name, [0, 0])
            count[0], count[1] = count[0] + len(kept), count[1] + 1

    def state(self) -> dict[str, Any]:
        """What other processes need."""
        metrics = {name: {kind: one.state_dict() for kind, one in kinds.items()} for name, kinds in self.sets.items()}
        return {"metrics": metrics, "generated": self.generated}

    def merge(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Takes the counts of all processes in place of its own."""
        self.sets, self.generated = {}, {}
        for state in states:
            for name, kinds in state["metrics"].items():
                for kind, one in self.metrics_of(name).items():
                    one.merge_state(kinds[kind])
            for name, (masks, images) in state["generated"].items():
                count = self.generated.setdefault(name, [0, 0])
                count[0], count[1] = count[0] + masks, count[1] + images

    def numbers(self, name: str | None = None) -> dict[str, float]:
        """Numbers of one set, or of all masks together."""
        chosen = [name] if name is not None else sorted(self.sets)
        results = {}
        for kind in self.prompts:
            metric = OracleIoU("pool" if kind in ("grid", "everything") else "paired")
            for one in chosen:
                metric.merge_state(self.sets[one][kind].state_dict())
            results[kind] = metric.compute()
        numbers = {key: results[kind][value] for key, (kind, value) in NUMBERS.items() if kind in results}
        if "everything" in results:
            counts = [self.generated.get(one, (0, 0)) for one in chosen]
            numbers["masks_generated"] = sum(c[0] for c in counts) / max(sum(c[1] for c in counts), 1)
        return {**numbers, "num_masks": results[self.prompts[0]]["num_masks"]}


def best_of_grid(image_processor: Any, pred_masks: torch.Tensor, sizes: Any, masks: np.ndarray) -> np.ndarray:
    """Draws, for every true mask, that of a grid's masks which fits it best; on the masks' device, a few at a time.

    Shape:
        pred_masks: (1, Q, M, h, w); masks: (N, H, W) bool; output: (N, H, W) bool.
    """
    true = torch.from_numpy(masks).to(pred_masks.device).flatten(1).float()  # (N, HW): counts are exact below 2^24
    area, best = true.sum(1), torch.full((len(true),), -1.0, device=true.device)
    chosen = torch.zeros((len(true), *masks.shape[1:]), dtype=torch.bool, device=true.device)
    for start in range(0, pred_masks.shape[1], CHUNK):
        part = image_processor.post_process_masks(pred_masks[:, start : start + CHUNK], sizes)[0].flatten(0, 1)
        flat = part.flatten(1).float()  # (C, HW)
        overlap = true @ flat.T
        iou = overlap / (area[:, None] + flat.sum(1)[None] - overlap)  # (N, C)
        value, place = iou.max(1)
        better = value > best
        chosen[better], best[better] = part[place[better]], value[better]
    return chosen.cpu().numpy()


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
    prompts: Sequence[str] = ("point", "box", "grid"),
    sets: dict[str, dict[str, float]] | None = None,
) -> dict[str, float]:
    """Evaluates a mask generation model by points and boxes made from the true masks.

    Args:
        model: A mask generation model, in evaluation mode.
        image_processor: Its image processor.
        dataset: Examples with masks, in the promptable, universal or semantic schema; names are ignored.
        points_per_side: Of the grid of the 1-point oracle and of everything; default: the model's.
        rank, ranks: This process and how many share the images; all of them return the whole set's numbers.
        limit: Images at most.
        progress: Whether to show a bar.
        prompts: Which of `PROMPTS`.
        sets: Gets the numbers of each set of a dataset that has several (`set_of`).

    Returns:
        Percent, as `AVERAGES` explains, and the number of true masks.

    Raises:
        ValueError: There is no true mask.
    """
    asked = PromptedMasks(model, image_processor, points_per_side, prompts)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for index in tqdm(range(rank, count, ranks), unit="image", disable=None if progress else True):
        asked.add(dataset.set_of(index) if hasattr(dataset, "set_of") else "", dataset[index])
    asked.merge(gathered(asked.state(), ranks))
    if not asked.sets:
        raise ValueError("The dataset shows no mask; there is nothing to evaluate on.")
    numbers = asked.numbers()
    if sets is not None and hasattr(dataset, "set_of"):
        sets |= {name: asked.numbers(name) for name in sorted(asked.sets)}
    return numbers


def _by_trust(image_processor: Any, outputs: Any, sizes: Any) -> np.ndarray:
    """Candidates of each prompt, that which the model trusts most first. Shape: (N, C, H, W), bool."""
    masks = image_processor.post_process_masks(outputs.pred_masks, sizes)[0].cpu().numpy()
    order = outputs.iou_scores[0].float().argsort(dim=-1, descending=True, stable=True).cpu().numpy()  # (N, C)
    return np.take_along_axis(masks, order[:, :, None, None], axis=1)


def _zoomed(
    model: nn.Module, image_processor: Any, image: np.ndarray, kind: str, prompts: np.ndarray, zoom: Any
) -> np.ndarray:
    """Candidates of each prompt from parts of the image around it, as `_by_trust`. Shape: prompts (N, 2) or (N, 4)."""
    masks_of = masks_of_points if kind == "point" else masks_of_boxes
    answers = masks_of(model, image_processor, image, prompts[None], zoom)
    return np.stack([masks for masks, _ in answers])


class PromptableEvaluator(TaskEvaluator):
    """Mask generators, on any dataset with masks.

    Options: `points_per_side` of the grid, default: the model's; `prompts`, some of point, box, grid and everything.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {"points_per_side": None, "prompts": PROMPTS}

    def check_options(self) -> None:
        """Checks that the prompts are known.

        Raises:
            ValueError: They are not.
        """
        prompts = self.options.prompts
        prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        if not prompts or set(prompts) - set(PROMPTS):
            raise ValueError(f"prompts must be some of {', '.join(PROMPTS)}; got {', '.join(map(str, prompts))}.")
        self.prompts = tuple(kind for kind in PROMPTS if kind in prompts)

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates with one point, one box, a grid of points, and without prompts."""
        sets: dict[str, dict[str, float]] = {}
        numbers = evaluate_promptable(
            self.loaded.model,
            self.loaded.image_processor,
            self.dataset,
            self.options.points_per_side,
            rank,
            ranks,
            self.options.limit,
            progress=rank == 0,
            prompts=self.prompts,
            sets=sets,
        )
        zooms = {kind: zoom for kind, zoom in zooms_of(self.loaded.image_processor).items() if kind in self.prompts}
        grid = self.options.points_per_side or getattr(self.loaded.model.config, "points_per_side", None)
        return Outcome(
            metrics=dict(numbers),
            number_of_images=self.count,
            averages={key: AVERAGES[key] for key in numbers},
            headline=tuple(key for key in NUMBERS if key in numbers),
            tables={"Sets": [{"set": name, **values} for name, values in sets.items()]} if sets else {},
            record={
                "points_per_side": grid,
                "prompts": list(self.prompts),
                **{f"{kind}_zoom": zoom for kind, zoom in zooms.items()},
                **({"sets": sets} if sets else {}),
            },
            facts={
                "grid of points": f"{grid} x {grid} points",
                **{f"parts of the image around a {kind}": f"{kind}_zoom {zoom:g}" for kind, zoom in zooms.items()},
            },
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
            if (zoom := zooms_of(processor).get("box")) is not None:
                own = _zoomed(model, processor, image, "box", boxes, zoom)[:, 0]
            else:
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
