# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Saves and restores a model sharded by FSDP2 on two gloo processes; prints `same` if the run goes on bit by bit."""

import sys
from pathlib import Path

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from toy import ToyDataset, ToyModel, toy_arguments

from accelerate import Accelerator
from hfseg.training.checkpointing import Checkpointer, TrainerState
from hfseg.training.optimization import ExponentialMovingAverage, create_optimizer, create_scheduler


class ShardedCheckpointer(Checkpointer):
    """Accelerate shards on accelerators only; this takes the same path on the CPU."""

    _sharded = True


def build(output_dir: Path, accelerator: Accelerator, seed: int) -> Checkpointer:
    torch.manual_seed(seed)
    mesh = init_device_mesh("cpu", (accelerator.num_processes,))
    model = ToyModel()
    fully_shard(model.backbone, mesh=mesh)
    fully_shard(model, mesh=mesh)
    arguments = toy_arguments()
    optimizer = create_optimizer(model, arguments.optimizer)
    scheduler = create_scheduler(optimizer, 12, arguments.schedule)
    ema, state = ExponentialMovingAverage(model, 0.9), TrainerState(world_size=accelerator.num_processes)
    return ShardedCheckpointer(output_dir, accelerator, model, optimizer, scheduler, ema, state, {})


def step(run: Checkpointer, index: int) -> None:
    batch = {name: value[None] for name, value in ToyDataset(noise=False)[index].items()}
    run.model(**batch)["loss"].backward()
    run.optimizer.step()
    run.scheduler.step()
    run.optimizer.zero_grad()
    run.ema.update(run.model)
    run.state.step += 1


def main() -> None:
    accelerator = Accelerator()
    first = build(Path(sys.argv[1]), accelerator, seed=0)
    for index in range(3):
        step(first, index)
    folder = first.save()
    second = build(Path(sys.argv[1]), accelerator, seed=1)
    second.load(folder)
    for index in range(3, 5):
        step(first, index)
        step(second, index)
    pairs = list(zip(first.model.parameters(), second.model.parameters()))
    pairs += [(first.ema.average[name], second.ema.average[name]) for name in first.ema.average]
    same = all(torch.equal(left.full_tensor(), right.full_tensor()) for left, right in pairs)
    if accelerator.is_main_process:
        print("same" if same and first.scheduler.get_last_lr() == second.scheduler.get_last_lr() else "different")


if __name__ == "__main__":
    main()
