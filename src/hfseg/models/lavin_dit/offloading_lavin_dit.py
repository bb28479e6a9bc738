# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Adapters whose share changes for a call, and weights that are on the device in `forward` only."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

__all__ = ["adapters_scaled", "offloaded_in_groups", "on_device"]


@contextlib.contextmanager
def adapters_scaled(model: torch.nn.Module, attention_kwargs: Mapping[str, Any] | None) -> Iterator[None]:
    """Multiplies the adapters (LoRA) of a model by `attention_kwargs["scale"]` for a block.

    Behind it every layer has the very factors that it had: diffusers' own decorator loses them at a scale of 0.

    Raises:
        ValueError: There is another key than `scale`, or no finite number.
    """
    given = dict(attention_kwargs or {})
    scale = given.pop("scale", 1.0)
    if given:
        raise ValueError(f"attention_kwargs has {sorted(given)}; it may have 'scale', a factor of LoRA adapters.")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or abs(scale) == float("inf") or scale != scale:
        raise ValueError(f"attention_kwargs has the scale {scale!r}; it must be a finite number.")
    if scale == 1:
        yield
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    factors = [dict(layer.scaling) for layer in layers]
    try:
        for layer, own in zip(layers, factors):
            layer.scaling.update({name: factor * scale for name, factor in own.items()})
        yield
    finally:
        for layer, own in zip(layers, factors):
            layer.scaling.update(own)


def offloaded_in_groups(model: torch.nn.Module) -> bool:
    """Tells whether diffusers moves a model's layers to the device one group at a time, inside of `forward`."""
    from diffusers.hooks.group_offloading import _is_group_offload_enabled

    return _is_group_offload_enabled(model)


@contextlib.contextmanager
def on_device(model: torch.nn.Module) -> Iterator[None]:
    """Brings what diffusers brings for `forward` onto the device for other methods: those of an autoencoder.

    Without group offloading it does nothing; other ways of offloading know such methods themselves.
    """
    from diffusers.hooks.group_offloading import _GROUP_OFFLOADING

    registry = getattr(model, "_diffusers_hook", None)
    hook = registry.get_hook(_GROUP_OFFLOADING) if registry is not None else None
    if hook is None:
        yield
        return
    hook.pre_forward(model)
    try:
        yield
    finally:
        hook.post_forward(model, None)
