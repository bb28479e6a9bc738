# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the pipeline needs around its loop: schedulers that fit, adapters in diffusers' form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from diffusers import ConfigMixin, FlowMatchEulerDiscreteScheduler

from .scheduling_lavin_dit import PREDICTIONS, LavinDiTScheduler

__all__ = ["LavinDiTExamples", "adapter_for_diffusers", "check_scheduler", "set_times"]

LORA_SETTINGS = ("r", "lora_alpha", "lora_dropout", "bias", "use_rslora", "rank_pattern", "alpha_pattern")


@dataclass
class LavinDiTExamples:
    """Examples of a task, encoded once for any number of queries (`prepare_examples`).

    Attributes:
        latents: Latent frames, input and target of the first pair, of the second, ...
        tokens: Their embeddings; valid while the transformer's weights stay as they are. None: not yet computed, as
            where the weights are offloaded in groups.
        height: Height of the images in pixels.
        width: Width.
        input_frames: Pixel frames of every input.
        target_frames: Pixel frames of every target.

    Shape:
        latents: (1 or B, C, F, h, w). tokens: (1 or B, tokens, D).
    """

    latents: torch.Tensor
    tokens: torch.Tensor | None
    height: int
    width: int
    input_frames: int
    target_frames: int

    @classmethod
    def join(cls, parts: Sequence["LavinDiTExamples"]) -> "LavinDiTExamples":
        """Joins examples for one query each to examples for a batch of queries.

        Raises:
            ValueError: Their numbers or sizes differ.
        """
        first = parts[0]
        if len({(part.latents.shape, part.input_frames, part.target_frames) for part in parts}) > 1:
            raise ValueError("Examples of different numbers or sizes cannot be joined; prepare them alike.")
        latents, embedded = torch.cat([part.latents for part in parts]), [part.tokens for part in parts]
        known = [tokens for tokens in embedded if tokens is not None]
        tokens = torch.cat(known) if len(known) == len(parts) else None
        return cls(latents, tokens, first.height, first.width, first.input_frames, first.target_frames)

    def repeated(self, count: int) -> "LavinDiTExamples":
        """Repeats the examples of each of several queries for `count` answers to it."""
        tokens = None if self.tokens is None else self.tokens.repeat_interleave(count, dim=0)
        return replace(self, latents=self.latents.repeat_interleave(count, dim=0), tokens=tokens)


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


def set_times(
    scheduler: Any, num_inference_steps: int, sigmas: Sequence[float] | None, device: torch.device | str | None
) -> None:
    """Sets the steps of a scheduler that `check_scheduler` lets pass.

    Args:
        scheduler: Is changed.
        num_inference_steps: Number of Euler steps, at least 1; not used with `sigmas`.
        sigmas: Where the steps begin: shares of noise that descend from 1, as everywhere in diffusers, or this
            model's times, which ascend from 0. The end of the last step, without noise, is added.
        device: Where they are needed.

    Raises:
        ValueError: There is no step, or sigmas neither descend in (0, 1] nor ascend in [0, 1).
    """
    if sigmas is None:
        if isinstance(num_inference_steps, bool) or not isinstance(num_inference_steps, int) or num_inference_steps < 1:
            raise ValueError(f"num_inference_steps is {num_inference_steps!r}; give a whole number of at least 1.")
        scheduler.set_timesteps(num_inference_steps, device=device)
        return
    given = [float(value) for value in sigmas]
    between = list(pairwise(given))
    if given and all(first > second for first, second in between) and 0 < given[-1] <= given[0] == 1:
        times = [1 - value for value in given]
    elif given and all(first < second for first, second in between) and given[0] == 0 and given[-1] < 1:
        times = given
    else:
        raise ValueError(
            f"sigmas is {given}; give shares of noise that descend from 1 (the end, 0, is added), or times that "
            "ascend from 0 (the end, 1, is added)."
        )
    own = isinstance(scheduler, LavinDiTScheduler)
    scheduler.set_timesteps(sigmas=times if own else [1 - time for time in times], device=device)


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
