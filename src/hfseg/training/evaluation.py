# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Validation during training that needs nothing but the loss."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import DistributedType, send_to_device
from torch import nn

from accelerate import Accelerator

from .normalization import LossNormalizer, LossScaling, accepted_names
from .sampler import EndlessBatchSampler, training_loader

# What says whether something is learned, the strictest first.
JUDGES = ("pq", "ap", "box_ap", "dice", "mean_iou")


def learns_nothing(measured: Mapping[str, float], classes: int | None = None) -> str | None:
    """Name of the metric that is no better than nothing, or None.

    Nothing are 0, and for mean IoU of several classes what one of them everywhere can have at most.

    Args:
        measured: Metrics in percent; without any of `JUDGES` nothing is said.
        classes: Number of classes.
    """
    name = next((name for name in JUDGES if name in measured), None)
    if name is None:
        return None
    floor = 100 / classes if name == "mean_iou" and classes is not None and classes > 1 else 0.0
    return name if measured[name] <= floor else None


def evaluate_loss(
    model: nn.Module,
    dataset: Any,
    collate: Callable[[list], Mapping[str, Any]],
    *,
    accelerator: Accelerator,
    batch_size: int = 1,
    num_workers: int = 0,
    loss_normalizer: LossNormalizer | None = None,
) -> dict[str, float]:
    """Computes the mean loss of a dataset as `{"loss": ...}`; every rank calls it and gets the same number.

    The loss of each batch is normalized over that batch alone; batches are averaged with the number of their samples
    as weight. The order is the dataset's, each rank takes every W-th batch, and each sample counts once.
    """
    scaling = LossScaling.of(model, loss_normalizer)
    ranks, rank = accelerator.num_processes, accelerator.process_index
    if accelerator.distributed_type == DistributedType.FSDP:  # sharded weights: all ranks must do equal passes
        ranks, rank = 1, 0
    length = len(dataset)
    own = [start for start in range(rank * batch_size, length, batch_size * ranks)]
    total = torch.zeros(2, dtype=torch.float64)
    if own:
        sampler = EndlessBatchSampler(
            length, batch_size, rank=rank, world_size=ranks, batches=len(own), shuffle=False, wrap=False
        )
        for keys, batch in training_loader(dataset, collate, sampler, num_workers=num_workers):
            extra = {}
            if scaling.in_forward and scaling.count is not None:
                extra = {"loss_normalizer": scaling.count(batch).float().clamp(min=1.0).to(accelerator.device)}
            with accelerator.autocast():
                inputs = send_to_device(
                    {name: value for name, value in batch.items() if name in accepted_names(model)}, accelerator.device
                )
                loss = model(**inputs, **extra)["loss"]
            total += torch.tensor([loss.item() * len(keys), len(keys)], dtype=torch.float64)
    summed = accelerator.reduce(total.to(accelerator.device, torch.float32), "sum")
    return {"loss": (summed[0] / summed[1]).item()}
