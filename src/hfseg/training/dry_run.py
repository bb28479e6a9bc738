# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a recipe would do, without doing it: parameter groups, one batch's shapes, memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .arguments import TrainingArguments
from .loop import total_steps
from .normalization import accepted_names
from .optimization import schedule_multiplier
from .phases import phase_groups
from .sampler import EndlessBatchSampler, training_loader
from .stream import StreamLoader, is_stream


def activation_bytes(model: nn.Module, batch: Mapping[str, Any], mixed_precision: str | None = None) -> int:
    """Measures the bytes that one forward keeps for backward: every storage that autograd saves, weights left out."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(model.parameters()).device
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision or "no")
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        loss = model(**batch)["loss"]  # held until the end: storages must not be reused while they are counted
    del loss
    return sum(saved.values())


def first_samples(batch: Mapping[str, Any], size: int, count: int) -> dict[str, Any]:
    """Cuts a batch of `size` samples to its first `count`; what is not one per sample stays as it is."""

    def cut(value: Any) -> Any:
        per_sample = isinstance(value, (torch.Tensor, list, tuple)) and not (torch.is_tensor(value) and value.ndim == 0)
        return value[:count] if per_sample and len(value) == size else value

    return {name: cut(value) for name, value in batch.items()}


def _shapes(value: Any) -> str:
    """Writes a value's dtype and shape; of a list, its length and its elements' shapes."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"{len(value)} x [{'; '.join(_shapes(item) for item in value)}]"
    return type(value).__name__


def dry_run(
    model: nn.Module,
    train_dataset: Any,
    collate: Callable[[list], Mapping[str, Any]],
    arguments: TrainingArguments,
    *,
    ranks: int = 1,
) -> str:
    """Describes the run of a recipe: the recipe itself, schedule, parameter groups, a batch, and memory per process.

    The memory is the sum of weights, gradients, optimizer state, EMA and of the activations that one forward of one
    micro-batch saves (measured in mixed precision if the recipe asks for it); workspaces and fragmentation come on top.
    Of large micro-batches the forward takes two samples, or one if it is large by itself, and the result is scaled up.
    """
    lines = ["# recipe", arguments.to_yaml()]
    try:
        arguments.run.check_global_batch(arguments.data.batch_size, ranks)
    except ValueError as error:
        lines += ["# will not start as it is", str(error), ""]
    lines += ["# schedule", *_schedule(train_dataset, arguments, ranks), ""]
    phases = phase_groups(model, arguments)
    lines += ["# parameter groups", *(_group(phase, group) for phase, groups in phases for group in groups), ""]
    batch = _first_batch(train_dataset, collate, arguments)
    lines += ["# one batch", *(f"{name}: {_shapes(value)}" for name, value in batch.items()), ""]
    memory = _memory(model, batch, phases, arguments)
    lines += ["# memory per process (estimate)"]
    lines += [f"{name}: {size / 2**20:,.1f} MiB" for name, size in memory.items()]
    lines.append(f"total: {sum(memory.values()) / 2**20:,.1f} MiB")
    return "\n".join(lines)


def _schedule(train_dataset: Any, arguments: TrainingArguments, ranks: int) -> list[str]:
    """Says how many updates there are, of how many samples, and the learning rate on the way."""
    options, data = arguments.run, arguments.data
    global_batch = data.batch_size * options.gradient_accumulation_steps * ranks
    length = train_dataset.num_samples if is_stream(train_dataset) else len(train_dataset)
    steps = total_steps(options, length, global_batch)
    peak = arguments.optimizer.learning_rate
    rates = (peak * schedule_multiplier(math.floor(steps * i / 4), steps, arguments.schedule) for i in range(5))
    return [
        f"{steps} updates of {global_batch} samples ({data.batch_size} x {options.gradient_accumulation_steps} "
        f"micro-batches x {ranks} processes), "
        + (f"{steps * global_batch / length:.2f} epochs of {length}" if length else "from a stream of unknown length"),
        "learning rate at 0, 25, 50, 75, 100 %: " + ", ".join(f"{rate:.3g}" for rate in rates),
    ]


def _group(phase: str, group: Mapping[str, Any]) -> str:
    """Describes a group of parameters in a line."""
    names, count = group["parameter_names"], sum(parameter.numel() for parameter in group["params"])
    example = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    return (
        f"{phase + ': ' if phase else ''}lr {group['lr']:.3g}, weight decay {group['weight_decay']:g}: "
        f"{len(names)} tensors, {count:,} parameters ({example})"
    )


def _first_batch(
    train_dataset: Any, collate: Callable[[list], Mapping[str, Any]], arguments: TrainingArguments
) -> Mapping[str, Any]:
    """Reads the first micro-batch of the run."""
    options, data = arguments.run, arguments.data
    loader: Any
    if is_stream(train_dataset):
        loader = StreamLoader(train_dataset, collate, data.batch_size, seed=options.seed, buffer=data.shuffle_buffer)
    else:
        sampler = EndlessBatchSampler(
            len(train_dataset), data.batch_size, seed=options.seed, batches=1, shuffle=data.shuffle
        )
        loader = training_loader(train_dataset, collate, sampler)
    _, batch = next(iter(loader))
    return batch


def _memory(
    model: nn.Module, batch: Mapping[str, Any], phases: Sequence[tuple[str, list]], arguments: TrainingArguments
) -> dict[str, int]:
    """Bytes of one process by what they hold."""
    options, size, optimizer = arguments.run, arguments.data.batch_size, arguments.optimizer
    trained = [parameter for _, groups in phases for group in groups for parameter in group["params"]]
    trained_bytes = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    momenta = 2 if optimizer.name == "adamw" else int(optimizer.momentum > 0)
    # A machine that only looks at a recipe need not hold its batch.
    pixels = max((v.numel() for v in batch.values() if torch.is_tensor(v)), default=0) // size
    measured = min(size, 2 if pixels < 1 << 20 else 1)
    accepted, phase = accepted_names(model), phases[0][0]
    inputs = {name: value for name, value in first_samples(batch, size, measured).items() if name in accepted}
    inputs |= {"phase": phase} if phase else {}
    return {
        "weights": sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())),
        "gradients": trained_bytes,
        f"optimizer ({optimizer.name})": momenta * trained_bytes,
        "moving average": sum(p.numel() * 4 for p in trained) if options.ema_decay else 0,
        "activations of one micro-batch": activation_bytes(model.train(), inputs, options.mixed_precision)
        * size
        // measured,
    }
