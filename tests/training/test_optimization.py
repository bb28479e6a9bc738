# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Schedules against closed forms and torch's own, parameter groups by name, EMA against its sum."""

import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from hfseg.training.arguments import OptimizerArguments, ScheduleArguments
from hfseg.training.optimization import (
    ExponentialMovingAverage,
    create_optimizer,
    create_scheduler,
    parameter_groups,
)


def rates(steps: int, **schedule) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = create_scheduler(optimizer, steps, ScheduleArguments(**schedule))
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def torch_rates(steps: int, make) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(optimizer)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ({"name": "poly", "power": 0.9}, lambda o: lr_scheduler.PolynomialLR(o, total_iters=20, power=0.9)),
        ({"name": "step", "milestones": [8, 15]}, lambda o: lr_scheduler.MultiStepLR(o, [8, 15], gamma=0.1)),
        ({"name": "step", "milestones": [0.4, 0.75]}, lambda o: lr_scheduler.MultiStepLR(o, [8, 15], gamma=0.1)),
        ({"name": "cosine", "floor": 0.02}, lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.01)),
        ({"name": "constant"}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (
            {"name": "constant", "warmup_steps": 5, "warmup_factor": 0.1},
            lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=5),
        ),
    ],
)
def test_schedules_are_torchs(schedule, reference):
    assert rates(20, **schedule) == pytest.approx(torch_rates(20, reference), rel=1e-9)


def test_warmup_meets_the_schedule():
    values = rates(20, name="cosine", warmup_steps=4, floor=0.1)
    assert values[:4] == pytest.approx([0.0, 0.125, 0.25, 0.375])
    after = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * i / 16)) / 2) for i in range(16)]
    assert values[4:] == pytest.approx(after)


def test_decay_from_start_counts_the_warmup_as_progress():
    values = rates(20, name="poly", power=1.0, warmup_steps=4, decay_from_start=True)
    assert values[4:] == pytest.approx([0.5 * (1 - i / 20) for i in range(4, 20)])
    assert values[:4] == pytest.approx([values[4] * i / 4 for i in range(4)])


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps is 30.*20"):
        rates(20, name="constant", warmup_steps=30)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.query = nn.Linear(4, 4)


class Model(nn.Module):
    """A model with one of everything."""

    max_layer_depth = 2

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"attention": Attention(), "norm": nn.LayerNorm(4), "bn": nn.BatchNorm2d(4)})
        self.query_embedding = nn.Embedding(3, 4)
        self.head = nn.Linear(4, 2)
        self.tied = self.head  # the same weights under a second name
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def layer_depth(self, name: str) -> int:
        return 0 if "attention" in name else 1 if name.startswith("backbone") else 2


def by_name(**arguments) -> dict[str, tuple[float, float]]:
    groups = parameter_groups(Model(), OptimizerArguments(learning_rate=1.0, weight_decay=0.1, **arguments))
    return {n: (group["lr"], group["weight_decay"]) for group in groups for n in group["parameter_names"]}


def test_parameter_groups():
    groups = by_name(backbone_multiplier=0.5)
    assert groups == {
        "backbone.attention.relative_position_bias_table": (0.5, 0.0),
        "backbone.attention.query.weight": (0.5, 0.1),
        "backbone.attention.query.bias": (0.5, 0.1),
        "backbone.norm.weight": (0.5, 0.0),
        "backbone.norm.bias": (0.5, 0.0),
        "backbone.bn.weight": (0.5, 0.0),
        "backbone.bn.bias": (0.5, 0.0),
        "query_embedding.weight": (1.0, 0.0),
        "head.weight": (1.0, 0.1),
        "head.bias": (1.0, 0.1),
    }


def test_biases_can_be_exempt():
    groups = by_name(decay_biases=False)
    assert groups["head.bias"] == (1.0, 0.0) and groups["head.weight"] == (1.0, 0.1)


def test_layer_decay():
    groups = by_name(layer_decay=0.5)
    assert groups["backbone.attention.query.weight"][0] == 0.25
    assert groups["backbone.norm.weight"][0] == 0.5
    assert groups["head.weight"][0] == 1.0
    with pytest.raises(ValueError, match="layer_depth"):
        parameter_groups(nn.Linear(2, 2), OptimizerArguments(layer_decay=0.5))


def test_groups_hold_every_trainable_parameter_once():
    model = Model()
    held = [p for g in create_optimizer(model, OptimizerArguments()).param_groups for p in g["params"]]
    assert len(held) == len({id(p) for p in held}) == sum(p.requires_grad for p in model.parameters())


def test_nothing_trainable_is_refused():
    with pytest.raises(ValueError, match="no trainable"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), OptimizerArguments())


def test_ema_is_the_weighted_sum_and_leaves_the_model_alone():
    model = nn.Linear(2, 1)
    ema = ExponentialMovingAverage(model, 0.9)
    expected = model.weight.detach().clone()
    for n in range(30):
        with torch.no_grad():
            model.weight.add_(1.0)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        ema.update(model)
    assert torch.allclose(ema.average["weight"], expected, atol=1e-5)
    trained = model.weight.detach().clone()
    with ema.applied_to(model):
        assert torch.equal(model.weight, ema.average["weight"])
    assert torch.equal(model.weight, trained)


def test_a_model_names_parameters_without_weight_decay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 4, 2), nn.Linear(4, 2)

        def no_weight_decay(self):
            return {"patches.weight"}

    decay = {
        name: group["weight_decay"]
        for group in parameter_groups(Model(), OptimizerArguments(weight_decay=0.05, decay_biases=False))
        for name in group["parameter_names"]
    }
    assert decay == {"patches.weight": 0, "patches.bias": 0, "head.weight": 0.05, "head.bias": 0}
