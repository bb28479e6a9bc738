# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's two stages: masks without names, then masks with the nouns of captions that no one paired."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from accelerate import Accelerator

from ...data.promptable import boxes_of_masks, draw_mask
from ...metrics.oracle_iou import OracleIoU
from .base import Task, load_processor
from .other import MaskGenerationTask

READERS = {
    "segment-anything": "hfseg.data.promptable:SegmentAnythingData",
    "coco-masks": "hfseg.data.promptable:CocoMasks",
}


def true_masks(example: Mapping[str, Any]) -> np.ndarray:
    """Draws the true masks of an example of the promptable, universal or semantic schema. Shape: (N, H, W) bool."""
    if example.get("masks") is not None:
        drawn = [draw_mask(mask) for mask in example["masks"]]
        return np.stack(drawn) if drawn else np.zeros((0, 1, 1), dtype=bool)
    if example.get("segmentation") is not None and "segments_info" in example:
        ids = [segment["id"] for segment in example["segments_info"] if not segment.get("iscrowd", 0)]
        return np.asarray(example["segmentation"])[None] == np.asarray(ids)[:, None, None]
    label_map = np.asarray(example["segmentation_map"])
    ids = [value for value in np.unique(label_map).tolist() if value != 255]
    return label_map[None] == np.asarray(ids)[:, None, None]


@torch.no_grad()
def oracle_iou(
    model: nn.Module,
    image_processor: Any,
    dataset: Any,
    points_per_side: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, float]:
    """Measures 1-point and 1-box oracle IoU in percent, the mean over true masks.

    1-point: every true mask takes the best of all masks of a grid of points, without filter or suppression. 1-box: the
    mask of its own box.

    Args:
        model: A mask generation model.
        image_processor: Its image processor.
        dataset: Examples with masks.
        points_per_side: Of the grid; default: the model's.
        rank: Of this process, which takes every `ranks`-th example.
        ranks: Number of processes.
    """
    pool, paired = OracleIoU("pool"), OracleIoU("paired")
    device = next(model.parameters()).device
    for index in range(rank, len(dataset), ranks):
        example = dataset[index]
        masks = true_masks(example)
        if not len(masks):
            continue
        boxes = boxes_of_masks(torch.from_numpy(masks))
        known = (boxes[:, 2] > boxes[:, 0]).numpy()
        masks, boxes = masks[known], boxes[known]
        inputs = image_processor(images=[example["image"]], input_boxes=boxes[None], return_tensors="pt").to(device)
        embeddings = model.get_image_embeddings(inputs["pixel_values"])  # type: ignore[operator]
        sizes = inputs["original_sizes"]
        points = model(image_embeddings=embeddings, original_sizes=sizes, points_per_side=points_per_side)
        framed = model(image_embeddings=embeddings, input_boxes=inputs["input_boxes"])
        best = image_processor.post_process_masks(points.pred_masks, sizes)[0].flatten(0, 1).cpu().numpy()
        own = image_processor.post_process_masks(framed.pred_masks, sizes)[0].cpu().numpy()
        pool.add(prediction=best, reference=masks)
        paired.add(prediction=own, reference=masks)
    first, second = gathered(pool, device), gathered(paired, device)
    return {"1-pt IoU": 100 * first, "1-box IoU": 100 * second}


def gathered(metric: OracleIoU, device: torch.device) -> float:
    """Averages a metric over all masks of all processes."""
    state = metric.state_dict()
    sums = torch.tensor([float(state["sums"][0]), float(state["masks"][0])], dtype=torch.float64)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sums = sums.to(device)
        torch.distributed.all_reduce(sums)
    return float(sums[0] / sums[1].clamp(min=1))


class PromptableTask(MaskGenerationTask):
    """Stage 1: points and boxes become masks. Measures 1-point and 1-box oracle IoU.

    `run.evaluation` takes `points_per_side` (the model's).
    """

    datasets = {**Task.datasets, **READERS}
    collators = {**Task.collators, "promptable": "hfseg.data.promptable:PromptableCollator"}
    default_collator = "promptable"

    def build_collator(
        self, dataset: Any, model: nn.Module, processor: Any, training: bool = True
    ) -> Callable[[list], Mapping[str, Any]]:
        """Builds the collator; its square is that of the image processor unless the recipe says otherwise."""
        collate: Any = super().build_collator(dataset, model, processor, training)
        if hasattr(collate, "training"):
            collate.training = training
            if not training:
                collate.flip_probability, collate.scale_range = 0.0, (1.0, 1.0)
        return collate

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Adds the side of the image processor's square."""
        offered = super().offered(dataset, model, processor)
        side = getattr(getattr(offered["image_processor"], "size", None), "longest_edge", None)
        return offered if side is None else {**offered, "size": int(side)}

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures oracle IoU on held-out data."""
        training = model.training
        model.eval()
        unwrapped = accelerator.unwrap_model(model)
        options = dict(self.arguments.run.evaluation)
        numbers = oracle_iou(
            unwrapped,
            getattr(processor, "image_processor", processor),
            dataset,
            options.get("points_per_side"),
            accelerator.process_index,
            accelerator.num_processes,
        )
        model.train(training)
        return numbers


class AlignmentTask(Task):
    """Stage 2: the adapter learns to describe masks by the entities of captions. It starts from stage 1's folder.

    Entities of the data set are embedded once by the model's text tower before training starts.
    """

    auto_class = "AutoModelForOpenVocabularySegmentation"
    datasets = {
        **Task.datasets,
        "entities": "hfseg.data.entities:EntityDataset",
        "shapes-captions": "hfseg.data.entities:ShapesCaptions",
    }
    collators = {**Task.collators, "entities": "hfseg.data.entities:EntityCollator"}
    default_collator = "entities"

    def build_processor(self, model: nn.Module) -> Any:
        """Loads image processor and tokenizer from a folder."""
        return load_processor(self.arguments.model)

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Adds the embedding of every entity of the data set."""
        names = sorted({name for entities in dataset.all_entities() for name in entities})
        templates = self.arguments.data.collator.get("templates", "vild")
        _, embeddings = processor.embed_labels(model, {name: [name] for name in names}, templates)
        table = dict(zip(names, embeddings[:, 0].cpu()))
        return {**super().offered(dataset, model, processor), "embeddings": table}
