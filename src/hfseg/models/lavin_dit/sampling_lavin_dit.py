# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the pipeline needs around its loop: schedulers that fit, evaluation mode, adapters in diffusers' form."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from diffusers import ConfigMixin, FlowMatchEulerDiscreteScheduler

from .scheduling_lavin_dit import PREDICTIONS

__all__ = ["adapter_for_diffusers", "check_scheduler", "evaluation_mode"]

LORA_SETTINGS = ("r", "lora_alpha", "lora_dropout", "bias", "use_rslora", "rank_pattern", "alpha_pattern")


def check_scheduler(scheduler: Any) -> None:
    """Checks that a scheduler moves a velocity along times that ascend from noise to data.

    Raises:
        ValueError: It predicts something else, e.g. the noise.
    """
    predicted = scheduler.config.get("prediction_type", "velocity") if hasattr(scheduler, "config") else None
    if (
        not isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
        or predicted not in PREDICTIONS
        or not cast(ConfigMixin, scheduler).config.get("invert_sigmas")
    ):
        raise ValueError(
            f"The scheduler is a {type(scheduler).__name__} (prediction_type {predicted!r}); LaVin-DiT predicts the "
            "velocity of flow matching from noise (t = 0) to data: use LavinDiTScheduler, or "
            "FlowMatchEulerDiscreteScheduler with invert_sigmas=True."
        )


@contextlib.contextmanager
def evaluation_mode(*models: torch.nn.Module) -> Iterator[None]:
    """Puts models into evaluation mode for a block, and every part back into its own mode after."""
    modes = [(part, part.training) for model in models for part in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def adapter_for_diffusers(
    tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Turns an adapter in peft's form into diffusers': names from `transformer.` on, and the settings that scale it.

    Raises:
        ValueError: It also holds whole modules, or layers that are not the transformer's.
    """
    state = {name.removeprefix("base_model.model."): tensor for name, tensor in tensors.items()}
    foreign = [name for name in state if not name.startswith("transformer.") or ".lora_" not in name]
    if foreign or not state:
        raise ValueError(
            f"The adapter holds {foreign[0] if foreign else 'nothing'}, which is no low-rank layer of the transformer: "
            "train with lora.modules=[transformer], or use the merged folder."
        )
    kept = {key: value for key, value in config.items() if value is not None and key in LORA_SETTINGS}
    targets = [str(name).removeprefix("transformer.") for name in config.get("target_modules") or ()]
    settings = {**kept, "target_modules": targets}
    return state, {f"transformer.{key}": value for key, value in settings.items()}
