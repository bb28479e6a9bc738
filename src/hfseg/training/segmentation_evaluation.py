# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of mask-classification models during and after training: the numbers users compare models by."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.schema import semantic_map
from ..metrics.mean_iou import MeanIoU
from ..metrics.panoptic_quality import PanopticQuality


def predict(
    model: nn.Module, image_processor: Any, dataset: Any, batch_size: int = 8
) -> Iterator[tuple[dict[str, Any], Any, tuple[int, int]]]:
    """Runs a model over a data set.

    Args:
        model: A mask-classification model, in evaluation mode.
        image_processor: Its image processor.
        dataset: Examples in the universal or semantic schema.
        batch_size: Images per forward pass; the last batch may be smaller.

    Yields:
        Each example, its outputs (batch of 1) and the size `(height, width)` to post-process to.
    """
    device = next(model.parameters()).device
    for start in range(0, len(dataset), batch_size):
        examples = [dataset[index] for index in range(start, min(start + batch_size, len(dataset)))]
        inputs = image_processor([np.asarray(example["image"]) for example in examples], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(inputs["pixel_values"].to(device))
        for index, example in enumerate(examples):
            one = type(outputs)(
                class_queries_logits=outputs.class_queries_logits[index : index + 1].float(),
                masks_queries_logits=outputs.masks_queries_logits[index : index + 1].float(),
            )
            yield example, one, np.asarray(example["image"]).shape[:2]


def evaluate_segmentation(
    model: nn.Module, image_processor: Any, dataset: Any, batch_size: int = 8
) -> dict[str, float]:
    """Measures mean IoU and, where the data set has segments, panoptic quality.

    Args:
        model: A mask-classification model, in evaluation mode.
        image_processor: Its image processor, whose thresholds are used.
        dataset: Examples in the universal or semantic schema, with `id2label`, `stuff_class_ids` and `ignore_index`.
        batch_size: Images per forward pass.

    Returns:
        `mean_iou` and `pixel_accuracy` of the semantic map; `pq`, `sq`, `rq`, `pq_things`, `pq_stuff` for the universal
        schema. All in percent; averages as `hfseg.metrics` states them.
    """
    iou = MeanIoU(id2label=dataset.id2label, ignore_index=dataset.ignore_index)
    quality = PanopticQuality(id2label=dataset.id2label, stuff_class_ids=dataset.stuff_class_ids)
    panoptic = False
    for example, outputs, size in predict(model, image_processor, dataset, batch_size):
        predicted = image_processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]
        if "segmentation" in example:
            panoptic = True
            truth = semantic_map(example["segmentation"], example["segments_info"], ignore_index=dataset.ignore_index)
            result = image_processor.post_process_panoptic_segmentation(outputs, target_sizes=[size])[0]
            quality.add_batch(
                predictions=[
                    {"segmentation": result["segmentation"].numpy(), "segments_info": result["segments_info"]}
                ],
                references=[{"segmentation": example["segmentation"], "segments_info": example["segments_info"]}],
            )
        else:
            truth = example["segmentation_map"]
        iou.add_batch(predictions=[predicted.cpu().numpy()], references=[truth])
    measured = iou.compute()
    results = {
        "mean_iou": 100 * measured["mean_iou"],
        "pixel_accuracy": 100 * measured["pixel_accuracy"],
    }
    if panoptic:
        measured = quality.compute()
        for name in ("pq", "sq", "rq", "pq_things", "pq_stuff"):
            results[name] = 100 * measured[name]
    return results
