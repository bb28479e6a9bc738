# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Measures a model on the volumes of a medical data set, in their own voxels and millimetres."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import nn

from ..data.readers.medical import MedicalSlices
from ..inference.volumes import segment_volume
from ..metrics.dice import Dice
from ..metrics.streaming import StreamingMetric
from ..metrics.surface_distance import SurfaceDistance

MEASURES = ("dice", "surface_distance")


@torch.no_grad()
def evaluate_volumes(
    model: nn.Module,
    dataset: MedicalSlices,
    size: tuple[int, int],
    measures: Sequence[str] = ("dice",),
    batch_size: int = 16,
    rank: int = 0,
    ranks: int = 1,
    full: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Segments every volume of a data set and measures it whole.

    Args:
        model: A semantic model, in evaluation mode.
        dataset: The data, which keeps its volumes.
        size: Height and width of the network's input.
        measures: `dice`, `surface_distance` or both (distances of large volumes take seconds per class).
        batch_size: Slices per forward pass.
        rank, ranks: This process and their number; each takes every ranks-th case, and all get the same result.
        full: Whether to return the metrics' whole results (per class, with the counts of empty masks) instead of
            numbers by name.
        **options: Of `segment_volume`.

    Returns:
        `dice` and `dice_<class>` as fractions, `assd`, `hd95` in mm and `nsd`, as asked for.

    Raises:
        ValueError: An unknown measure.
    """
    unknown = sorted(set(measures) - set(MEASURES))
    if unknown or not measures:
        raise ValueError(f"measures are {list(measures)}; legal are {', '.join(MEASURES)}.")
    metrics: dict[str, StreamingMetric] = {}
    if "dice" in measures:
        metrics["dice"] = Dice(dataset.id2label, dataset.ignore_index)
    if "surface_distance" in measures:
        metrics["surface_distance"] = SurfaceDistance(dataset.id2label, ignore_index=dataset.ignore_index)
    parameter = next(model.parameters())
    for number in range(rank, len(dataset.cases), ranks):
        volume = dataset.volumes[number]
        segmentation, _ = segment_volume(
            volume["volumes"],
            lambda pixels: model(pixel_values=pixels),
            **{
                "size": size,
                "input_mode": dataset.input_mode,
                "modality": dataset.cases[number].modality,
                "windows": dataset.windows,
                "batch_size": batch_size,
                "axis": volume["axis"],
                "device": parameter.device,
                "dtype": parameter.dtype,
                "check_values": False,  # when the data were read
                "progress": False,
                **options,
            },
        )
        spacing = volume["volumes"][0].spacing
        for name, metric in metrics.items():
            extra = {"spacing": spacing} if name == "surface_distance" else {}
            metric.add(prediction=segmentation, reference=volume["mask"], **extra)
    for metric in metrics.values():
        if ranks > 1:
            states = gather_object([metric.state_dict()])
            metric.reset()
            for state in states:
                metric.merge_state(state)
    results = {name: metric.compute() for name, metric in metrics.items()}
    if full:
        return results
    numbers: dict[str, Any] = {}
    if "dice" in results:
        numbers["dice"] = results["dice"]["mean_dice"]
        for name, entry in results["dice"]["per_class"].items():
            numbers[f"dice_{name}"] = entry["dice"]
    if "surface_distance" in results:
        numbers |= {name: results["surface_distance"][name] for name in ("assd", "hd95", "nsd")}
    return {name: value for name, value in numbers.items() if value is not None}
