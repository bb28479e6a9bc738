# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Accumulated micro-batches and several processes give the big batch, with uneven numbers of targets per sample."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import ToyDataset, ToyModel, collate, toy_arguments

from hfseg.training import train


class MeanOverPixels(ToyModel):
    """Way 2 of the contract: a mean over labeled pixels, and forward does not take the normalizer."""

    def forward(self, pixel_values, labels=None):
        return super().forward(pixel_values, labels)


class WithoutContract(torch.nn.Module):
    """Way 3: only the mean of the micro-batches' losses."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ToyModel()

    def forward(self, pixel_values, labels=None):
        return self.model(pixel_values, labels)


def weights(
    tmp_path: Path, name: str, model_class: type, batch_size: int, accumulation: int
) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    arguments = toy_arguments(
        data={"batch_size": batch_size},
        optimizer={"name": "sgd", "learning_rate": 0.5, "clip_norm": 0.5},
        run={"gradient_accumulation_steps": accumulation, "save_every": None},
    )
    train(model_class(), ToyDataset(), collate, arguments, output_dir=tmp_path / name)
    return load_file(tmp_path / name / "model.safetensors")


def difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    return max((left[name] - right[name]).abs().max().item() for name in left)


@pytest.mark.parametrize("model_class", [ToyModel, MeanOverPixels])
@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_equals_the_big_batch(tmp_path, model_class, accumulation):
    whole = weights(tmp_path, "whole", model_class, 4, 1)
    parts = weights(tmp_path, "parts", model_class, 4 // accumulation, accumulation)
    assert difference(whole, parts) < 1e-6


def test_without_the_contract_accumulation_is_only_near(tmp_path):
    whole = weights(tmp_path, "whole", WithoutContract, 4, 1)
    parts = weights(tmp_path, "parts", WithoutContract, 2, 2)
    assert difference(whole, parts) > 1e-4  # else the test above would prove nothing


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_equal_one_with_the_double_batch(tmp_path, run_toy, accumulation):
    sections = {"optimizer": {"name": "sgd", "learning_rate": 0.5}}
    run = {"gradient_accumulation_steps": accumulation, "ema_decay": 0.9}
    torch.manual_seed(0)
    arguments = toy_arguments(**sections, data={"batch_size": 4}, run=run)
    train(ToyModel(), ToyDataset(), collate, arguments, output_dir=tmp_path / "one")
    two = run_toy(
        tmp_path / "two",
        processes=2,
        launcher=accumulation == 2,
        sections={**sections, "data": {"batch_size": 2}, "run": run},
    )
    assert two.returncode == 0, two.output
    for file in ("model.safetensors", "checkpoint-12/model.safetensors"):
        assert difference(load_file(tmp_path / "one" / file), load_file(tmp_path / "two" / file)) < 1e-5
