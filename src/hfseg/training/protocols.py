# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the loop asks of a model beyond `torch.nn.Module`, each looked for with `hasattr` before it is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

__all__ = [
    "AccumulationAware",
    "BackboneLoader",
    "CheckpointedEngine",
    "DecayExempting",
    "MemorySaving",
    "PretrainedSaving",
]


class PretrainedSaving(Protocol):
    """Models of transformers and diffusers."""

    def save_pretrained(self, save_directory: str | Path, *, state_dict: dict[str, torch.Tensor]) -> object:
        """Writes a folder that `from_pretrained` reads."""
        ...


class MemorySaving(Protocol):
    """Models of transformers and diffusers that can recompute activations."""

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        """Recomputes activations in the backward pass."""
        ...


class AccumulationAware(Protocol):
    """Models whose loss relates the samples of all accumulated micro-batches."""

    def accumulation_inputs(
        self, batches: list[dict[str, Any]], wrapped: torch.nn.Module, device: torch.device
    ) -> Sequence[dict[str, Any]]:
        """Computes what each micro-batch has to know of the others."""
        ...


class DecayExempting(Protocol):
    """Models that name weights which must not shrink."""

    def no_weight_decay(self) -> set[str]:
        """Names these weights."""
        ...


class BackboneLoader(Protocol):
    """Base models whose encoder reads a checkpoint of another class."""

    def load_backbone(self, source: str) -> list[str]:
        """Loads the encoder's weights; returns the names of those that stay as they are."""
        ...


class CheckpointedEngine(Protocol):
    """A DeepSpeed engine."""

    def save_checkpoint(self, save_dir: str) -> object:
        """Writes what every process holds."""
        ...

    def load_checkpoint(self, load_dir: str) -> object:
        """Reads it back."""
        ...
