# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processes that are forked from the tests' own."""

import torch
from torch._subclasses import FakeTensorMode

from forked_launch import forked_launch


def backward() -> float:
    weight = torch.ones(2, requires_grad=True)
    weight.sum().backward()
    return weight.grad.sum().item()


def test_forks_train_whatever_ran_before(tmp_path):
    """After an export, which uses fake tensors, and a training step, in this process."""
    with FakeTensorMode():
        torch.empty(1)
    assert backward() == 2
    ranks = forked_launch(lambda rank: int(backward() != 2), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
