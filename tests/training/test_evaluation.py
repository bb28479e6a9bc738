# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The mean loss of held-out data: each sample counts once, a short last batch by its samples."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from torch import nn
from transformers.utils import ModelOutput

from accelerate import Accelerator
from hfseg.training.evaluation import evaluate_loss


class Values(torch.utils.data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return torch.tensor(float(index**2))

    def sample_id(self, index):
        return str(index)


class MeanModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, values):
        return ModelOutput(loss=(values * self.weight).mean())


def collate(items):
    return {"values": torch.stack(items), "not_an_input": torch.zeros(1)}


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_the_mean_is_over_samples_not_batches(batch_size):
    found = evaluate_loss(MeanModel(), Values(), collate, accelerator=Accelerator(cpu=True), batch_size=batch_size)
    assert found == {"loss": pytest.approx(sum(n**2 for n in range(7)) / 7)}


def test_ranks_together_see_every_sample_once():
    totals = []
    for rank in range(3):
        accelerator = SimpleNamespace(
            num_processes=3,
            process_index=rank,
            distributed_type=DistributedType.MULTI_CPU,
            device=torch.device("cpu"),
            autocast=torch.enable_grad,
            reduce=lambda total, how: totals.append(total) or total,
        )
        evaluate_loss(MeanModel(), Values(), collate, accelerator=accelerator, batch_size=2)
    summed = torch.stack(totals).sum(0)
    assert summed.tolist() == [sum(n**2 for n in range(7)), 7]
