# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A training step of ours beside one of transformers' Mask2Former: forward, loss, backward, update of all weights.

Each row has its own peer, of equal backbone, widths and (unless `--peer_layers`) number of encoder layers. Both get the
same images and segments, ours as id maps and theirs as the float masks that it needs, made before the clock starts.
Weights are fresh.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import Mask2FormerForUniversalSegmentation, PreTrainedModel

from .learning import as_masks, peer_config
from .published import Variant
from .speed import SEED, SpeedOptions, compare, interleave, measure_memory, pixel_values, precision


def segment_maps(count: int, batch_size: int, size: tuple[int, int], num_labels: int) -> dict[str, list[torch.Tensor]]:
    """Draws `count` segments per image: the nearest of random points, as id maps counted from 1, and their classes."""
    generator = torch.Generator().manual_seed(SEED)
    y, x = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    masks, classes = [], []
    for _ in range(batch_size):
        points = torch.rand(count, 2, 1, 1, generator=generator)
        masks.append(((y - points[:, 0]) ** 2 + (x - points[:, 1]) ** 2).argmin(0) + 1)  # (H, W)
        classes.append(torch.randint(num_labels, (count,), generator=generator))
    return {"mask_labels": masks, "class_labels": classes}


def training_step(model: PreTrainedModel, batch: dict[str, Any], settings: SpeedOptions) -> Callable[[], torch.Tensor]:
    """Prepares a function that takes one step and returns its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> torch.Tensor:
        with precision(settings):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def training_table(settings: SpeedOptions) -> tuple[dict[str, list[dict]], list[str]]:
    """Compares training steps.

    Raises:
        ValueError: With `compile`: matching queries to targets runs on the host in both models.
    """
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

    if settings.compile:
        raise ValueError("--compile does not go with --training: matching runs on the host; leave one of them out.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    rows = []
    for row in settings.rows:
        config = Variant(settings.backbone, row, "coco").config()
        config.freeze_batch_norm = False  # the peer cannot
        torch.manual_seed(SEED)
        ours = ProScaleForUniversalSegmentation(config).train().to(settings.place)
        torch.manual_seed(SEED)
        their_config = peer_config(config)
        if settings.peer_layers is not None:
            their_config.encoder_layers = settings.peer_layers
        theirs = Mask2FormerForUniversalSegmentation(their_config).train()
        theirs.to(settings.place)  # type: ignore[arg-type]
        for batch_size in settings.batch:
            labels = segment_maps(settings.segments, batch_size, settings.size, len(config.id2label or ()))
            images = pixel_values(settings, batch_size)
            # An empty list of examples: the targets are made already.
            floats = as_masks(lambda _: dict(labels))([])  # noqa: B023
            steps = {}
            for name, model, targets in (("hfseg", ours, labels), ("transformers", theirs, floats)):
                batch: dict[str, Any] = {key: [t.to(settings.place) for t in value] for key, value in targets.items()}
                steps[name] = training_step(model, batch | {"pixel_values": images}, settings)
            times = interleave(steps, settings)
            memory = {name: measure_memory(step, settings) for name, step in steps.items()}
            entry = {"batch": batch_size, **compare(row, times["hfseg"], times["transformers"])}
            entry |= {"ours MiB": memory["hfseg"], "theirs MiB": memory["transformers"]}
            entry["memory ratio"] = memory["hfseg"] / memory["transformers"]
            entry["encoder layers, ours"] = len(config.layer_plan)
            entry["encoder layers, peer"] = their_config.encoder_layers
            rows.append(entry)
        del ours, theirs, steps
    notes = [
        f"{settings.backbone}, input {settings.size[0]}x{settings.size[1]}, {settings.segments} segments per image, "
        f"{settings.dtype}{' autocast' if settings.dtype != 'float32' else ''}, eager, {settings.rounds} rounds; "
        f"clock: {settings.clock}. A step is forward, loss over all predictions, backward and AdamW.",
        "ratio: median over rounds of ours / transformers' Mask2Former with the encoder layers of the last column.",
        "MiB: peak of tensor memory during a step above weights, optimizer state and batch; gradients included.",
    ]
    return {"Speed of a training step": rows}, notes
