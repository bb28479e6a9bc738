# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameter groups, optimizers, learning-rate schedules and the exponential moving average of weights."""

import math
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .arguments import OptimizerArguments, ScheduleArguments
from .protocols import DecayExempting

# Learned per-position vectors and tables, by the names used across the zoo and transformers' backbones. The encoders'
# `level_embed`, a bare parameter, is not among them: Mask2Former's optimizer decays it.
_POSITION_NAMES = (
    "relative_position_bias_table",
    "rel_pos",
    "position_embedding",
    "pos_embed",
    "cls_token",
    "mask_token",
)


def is_norm(module: nn.Module) -> bool:
    """Tells whether a module is a normalization layer, by torch's classes or by a name ending in `Norm`."""
    name = type(module).__name__.lower()
    return name.endswith(("norm", "norm1d", "norm2d", "norm3d", "layernorm2d", "frozenbatchnorm2d"))


def takes_no_weight_decay(module: nn.Module, name: str, *, decay_biases: bool) -> bool:
    """Tells whether a module's own parameter is exempt: norms, embeddings, position tables, and (by choice) biases.

    Args:
        module: The module that owns the parameter.
        name: The parameter's full name in the model.
        decay_biases: False exempts biases too. Mask2Former's recipe decays them, timm's and Swin's do not.
    """
    if is_norm(module) or isinstance(module, nn.Embedding):
        return True
    if any(part in name for part in _POSITION_NAMES):
        return True
    return not decay_biases and name.endswith("bias")


def layer_depths(model: nn.Module) -> tuple[Callable[[str], int], int]:
    """Finds the model's depth function for layer-wise learning-rate decay.

    A model that supports the decay has a method `layer_depth(parameter_name) -> int` (0 for the stem, one more for
    every block, the largest for everything after the backbone) and an attribute or property `max_layer_depth: int`.

    Raises:
        ValueError: The model does not define them.
    """
    depth, maximum = getattr(model, "layer_depth", None), getattr(model, "max_layer_depth", None)
    if depth is None or maximum is None:
        raise ValueError(
            f"optimizer.layer_decay is set, but {type(model).__name__} defines no `layer_depth(name)` and "
            "`max_layer_depth`. Remove optimizer.layer_decay or add them to the model."
        )
    return depth, maximum


def parameter_groups(
    model: nn.Module, arguments: OptimizerArguments, names: Set[str] | None = None
) -> list[dict[str, Any]]:
    """Sorts trainable parameters into groups of equal learning rate and weight decay.

    A parameter's learning rate is `learning_rate`, times `backbone_multiplier` if one part of its name is `backbone` or
    listed in `backbone_names`, times `layer_decay ** (max_layer_depth - depth)` with layer-wise decay. A parameter used
    under several names is counted once. A model may name further parameters without weight decay by a method
    `no_weight_decay() -> set[str]`.

    Args:
        model: The model.
        arguments: The recipe's section.
        names: Only these parameters; None takes all.

    Returns:
        Groups for a torch optimizer; the extra key `parameter_names` lists names in the order of `params`.

    Raises:
        ValueError: Nothing is trainable, or layer-wise decay is asked of a model that does not define depths.
    """
    own_exempt = cast(DecayExempting, model).no_weight_decay() if hasattr(model, "no_weight_decay") else set()
    depth, maximum = layer_depths(model) if arguments.layer_decay is not None else (lambda name: 0, 0)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        for short_name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            name = f"{module_name}.{short_name}" if module_name else short_name
            if names is not None and name not in names:
                continue
            seen.add(id(parameter))
            scale = 1.0
            slow = bool(set(name.split(".")) & set(arguments.backbone_names))
            if slow and not any(part in name for part in arguments.head_names):
                scale *= arguments.backbone_multiplier
            if arguments.layer_decay is not None:
                scale *= arguments.layer_decay ** (maximum - depth(name))
            exempt = name in own_exempt or takes_no_weight_decay(module, name, decay_biases=arguments.decay_biases)
            key = (arguments.learning_rate * scale, 0.0 if exempt else arguments.weight_decay)
            group = groups.setdefault(key, {"params": [], "parameter_names": [], "lr": key[0], "weight_decay": key[1]})
            group["params"].append(parameter)
            group["parameter_names"].append(name)
    if not groups:
        raise ValueError(f"{type(model).__name__} has no trainable parameter; unfreeze some.")
    return list(groups.values())


def create_optimizer(model: nn.Module | list[dict[str, Any]], arguments: OptimizerArguments) -> Optimizer:
    """Builds the optimizer (AdamW or SGD with momentum) over a model's `parameter_groups`, or over given groups."""
    groups = parameter_groups(model, arguments) if isinstance(model, nn.Module) else model
    if arguments.name == "sgd":
        return SGD(groups, lr=arguments.learning_rate, momentum=arguments.momentum, nesterov=arguments.nesterov)
    return AdamW(groups, lr=arguments.learning_rate, betas=arguments.betas, eps=arguments.epsilon)


def schedule_multiplier(step: int, max_steps: int, arguments: ScheduleArguments) -> float:
    """Computes the factor of the learning rate at a step (0 before the first update).

    During the first `warmup_steps` w the factor rises linearly from `warmup_factor` to what the schedule says at w.
    With progress p = (step - w) / (max_steps - w) for poly and cosine:

    * constant: 1
    * step: gamma ** (number of milestones <= step); a milestone below 1 is a fraction of `max_steps`
    * poly: floor + (1 - floor) (1 - p) ** power
    * cosine: floor + (1 - floor) (1 + cos(pi p)) / 2

    `decay_from_start` counts progress from step 0 instead of w (the convention of detectron2 and mmsegmentation).
    """
    warmup = arguments.warmup_steps
    if step < warmup:
        target = schedule_multiplier(warmup, max_steps, arguments)
        return target * (arguments.warmup_factor + (1 - arguments.warmup_factor) * step / warmup)
    if arguments.name == "constant":
        return 1.0
    if arguments.name == "step":
        milestones = (m * max_steps if m < 1 else m for m in arguments.milestones)
        return arguments.gamma ** sum(step >= milestone for milestone in milestones)
    begin = 0 if arguments.decay_from_start else warmup
    progress = min(max((step - begin) / max(max_steps - begin, 1), 0.0), 1.0)
    shape = (1 - progress) ** arguments.power if arguments.name == "poly" else (1 + math.cos(math.pi * progress)) / 2
    return arguments.floor + (1 - arguments.floor) * shape


def create_scheduler(optimizer: Optimizer, max_steps: int, arguments: ScheduleArguments) -> LambdaLR:
    """Builds the schedule of `schedule_multiplier` for all groups of an optimizer; stepped once per update."""
    if arguments.warmup_steps > max_steps:
        raise ValueError(
            f"schedule.warmup_steps is {arguments.warmup_steps}, more than the run's {max_steps} steps. "
            "Lower it or raise run.max_steps."
        )
    until = arguments.backbone_full_rate_until
    until = until * max_steps if until < 1 else until
    base = max(group["lr"] for group in optimizer.param_groups)

    def factor(full: float) -> Callable[[int], float]:
        """Factor of one group; `full` brings its rate to that of the fastest group."""
        return lambda step: schedule_multiplier(step, max_steps, arguments) * (full if step < until else 1.0)

    # A group that does not learn (rate 0) stays where it is.
    return LambdaLR(optimizer, [factor(base / (group["lr"] or base or 1.0)) for group in optimizer.param_groups])


class ExponentialMovingAverage:
    """Keeps the exponential moving average of a model's trainable parameters in float32 beside the model.

    average <- d average + (1 - d) weights after every update, with d = min(decay, (1 + n) / (10 + n)) at update n, so
    that the first steps of a run do not weigh for thousands. Buffers (batch-norm statistics) are already averages and
    are used as they are.

    Args:
        model: The unwrapped model, on its final device.
        decay: Limit of d, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"run.ema_decay is {decay}; it must be in (0, 1), e.g. 0.9999.")
        self.decay, self.updates = decay, 0
        self.average = {
            name: parameter.detach().clone().float()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def _current(self, model: nn.Module) -> list[torch.Tensor]:
        for module in model.modules():  # an evaluation may have left whole weights in the modules
            if isinstance(module, FSDPModule):
                module.reshard()
        parameters = dict(model.named_parameters())
        return [_own_part(parameters[name].detach()) for name in self.average]

    def _averages(self) -> list[torch.Tensor]:
        return [_own_part(average) for average in self.average.values()]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model's weights; called after every update of the optimizer."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = self._averages()
        current = [weight.to(average.dtype) for weight, average in zip(self._current(model), averages)]
        get_ema_multi_avg_fn(decay)(averages, current, self.updates)
        self.updates += 1

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Puts the averaged weights into the model for a block (evaluation, saving) and the trained ones back after."""
        current = self._current(model)
        trained = [weight.clone() for weight in current]
        torch._foreach_copy_(current, self._averages())
        try:
            yield
        finally:
            # By the tensors, not by their names: saving may have taken adapters out of the model.
            torch._foreach_copy_(current, trained)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Returns the averages by parameter name; the number of updates is kept by the checkpoint's counters."""
        return dict(self.average)

    def load_state_dict(self, state: Mapping[str, torch.Tensor], updates: int) -> None:
        """Takes averages back; raises ValueError if the names differ."""
        if set(state) != set(self.average):
            difference = sorted(set(state) ^ set(self.average))
            raise ValueError(
                f"The checkpoint's EMA holds other parameters than the model; they differ in {difference[:5]}."
            )
        for name, average in self.average.items():
            value = state[name]
            if isinstance(average, DTensor):  # sharded by FSDP
                value = distribute_tensor(value.to(average.device), average.device_mesh, average.placements)
            average.copy_(value)
        self.updates = updates


def _own_part(tensor: torch.Tensor) -> torch.Tensor:
    """Returns this process's part of a tensor sharded by FSDP, in the same memory; others as they are."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
