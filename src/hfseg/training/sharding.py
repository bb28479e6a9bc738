# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What FSDP2 has to know of a model before its weights are divided."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from accelerate.utils import DistributedType
from torch import nn

from accelerate import Accelerator


@contextmanager
def sharding_units(accelerator: Accelerator, model: nn.Module) -> Iterator[None]:
    """Makes accelerate find the units of sharding of any of our models; wrap `Accelerator.prepare` in it.

    Without it a run under FSDP stops before its first step: accelerate insists that every class in a model's
    `_no_split_modules` occurs in it (a model lists those of all its variants), and asks for the input embeddings, for
    which transformers' convolutional backbones raise. Classes that the launch configuration names stay as they are.

    Weights are gathered in float32 and computed with under autocast (`precision_of`), as in data parallelism.
    Accelerate would gather them in the low precision, and then batch norms stop (their statistics are float32) and what
    a model keeps in float32 no longer is; the price is twice the bytes between the devices.

    Does nothing under other kinds of distribution.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        yield
        return
    plugin = accelerator.state.fsdp_plugin
    named_by = plugin.transformer_cls_names_to_wrap
    present = {type(module).__name__ for module in model.modules()}
    if not named_by:
        # A model for training may hold the one that lists them (LaVin-DiT's transformer beside its autoencoder).
        listed = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
        plugin.transformer_cls_names_to_wrap = sorted(listed & present)
    policy, plugin.mixed_precision_policy = plugin.mixed_precision_policy, None
    hidden = False
    try:
        getattr(model, "get_input_embeddings", lambda: None)()
    except (NotImplementedError, AttributeError):
        setattr(model, "get_input_embeddings", lambda: None)  # noqa: B010
        hidden = True
    try:
        yield
    finally:
        plugin.transformer_cls_names_to_wrap = named_by
        plugin.mixed_precision_policy = policy
        if hidden:
            del model.get_input_embeddings


def precision_of(accelerator: Accelerator) -> AbstractContextManager[None]:
    """Returns the context for a forward pass of a prepared model; only FSDP2's models do not bring it themselves."""
    return accelerator.autocast() if accelerator.distributed_type == DistributedType.FSDP else nullcontext()
