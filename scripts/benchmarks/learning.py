# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Learning beside transformers' Mask2Former: same backbone, decoder size, data, order, updates, seed and evaluation."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from hfseg.evaluation.segmentation import TASKS, evaluate_segmentation
from hfseg.training import train
from hfseg.training.quickstart import set_up

NOTES = [
    "Both sides are trained by the same loop from scratch: same backbone, sizes, number of encoder and decoder layers, "
    "data, order, augmentation, updates, learning rate and seed; both are evaluated by hfseg's post-processing.",
    "Mask2Former gets its targets as float masks, which it needs; ours as id maps.",
]


def peer_config(config: Any) -> Mask2FormerConfig:
    """Derives the configuration of a Mask2Former of equal backbone and widths, and equally many encoder layers."""
    return Mask2FormerConfig(
        backbone_config=config.backbone_config,
        feature_size=config.feature_size,
        mask_feature_size=config.mask_feature_size,
        hidden_dim=config.hidden_size,
        encoder_feedforward_dim=config.encoder_feedforward_dim,
        encoder_layers=len(config.layer_plan),
        decoder_layers=config.decoder_layers + 1,
        num_attention_heads=config.num_attention_heads,
        dim_feedforward=config.dim_feedforward,
        num_queries=config.num_queries,
        train_num_points=config.train_num_points,
        no_object_weight=config.no_object_weight,
        id2label=config.id2label,
        label2id=config.label2id,
    )


def as_masks(collate: Callable[[list], Mapping[str, Any]]) -> Callable[[list], Mapping[str, Any]]:
    """Wraps a collator: id maps become stacks of float masks, transformers' form of targets."""

    def collate_masks(examples: list) -> Mapping[str, Any]:
        batch = dict(collate(examples))
        batch["mask_labels"] = [
            (ids == torch.arange(1, len(classes) + 1)[:, None, None]).float()
            for ids, classes in zip(batch["mask_labels"], batch["class_labels"])
        ]
        return batch

    return collate_masks


def learning_table(
    data: str | None, minutes: float | None, overrides: list[str], sides: Sequence[str] = ("ours", "theirs")
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains both sides and compares held-out metrics and speed.

    Args:
        data: Folder of images and labels; None for `shapes`.
        minutes: Training time of our side, from which the number of updates follows; None takes the recipe's.
        overrides: Changes of the recipe, `section.key=value`.
        sides: Which sides to train: `ours`, `theirs`.

    Raises:
        ValueError: As the recipe and the data say.
    """
    job = set_up("proscale", data, overrides, minutes)
    arguments, ours = job.arguments, job.model
    set_seed(arguments.run.seed)
    candidates: dict[str, tuple[str, torch.nn.Module, Callable[[list], Mapping[str, Any]]]] = {
        "ours": ("PRO-SCALE", ours, job.collate),
        "theirs": (
            "Mask2Former (transformers)",
            Mask2FormerForUniversalSegmentation(peer_config(ours.config)),
            as_masks(job.collate),
        ),
    }
    rows = []
    for name, model, function in (candidates[side] for side in sides):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            result = train(
                model,
                job.training,
                function,
                arguments,
                output_dir=Path(folder) / "run",
                evaluate_fn=lambda trained: evaluate_segmentation(
                    trained, job.image_processor, job.held_out, tasks=TASKS
                ),
            )
        rows.append(
            {
                "model": name,
                "parameters (M)": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
                "updates": result.state.step,
                "minutes": (time.perf_counter() - start) / 60,
                "images/s": result.samples_per_second,
                **{metric: round(value, 2) for metric, value in result.metrics.items()},
            }
        )
    return {f"Learning on {data or 'shapes'}": rows}, NOTES
