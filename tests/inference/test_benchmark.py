# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What `hfseg benchmark` says of a model: counts that can be worked out, every model in every row, and refusals."""

import pytest
import torch
from torch import nn

from hfseg import ProScaleForUniversalSegmentation, UnpairSegForMaskGeneration
from hfseg.inference.benchmark import BenchmarkOptions, benchmark_models, multiply_adds
from proscale_models import tiny_config as proscale_config
from unpairseg_models import tiny_config as unpairseg_config


def test_multiply_adds_by_hand():
    layer = nn.Conv2d(3, 8, 3, padding=1, bias=False).requires_grad_(False)
    assert multiply_adds(lambda: layer(torch.zeros(1, 3, 10, 12))) == 10 * 12 * 8 * 3 * 9


def test_models_are_compared():
    models = {
        "a": ProScaleForUniversalSegmentation(proscale_config()),
        "b": UnpairSegForMaskGeneration(unpairseg_config()),
    }
    tables, notes = benchmark_models(models, BenchmarkOptions(size=(64, 64), batch=[1, 2], rounds=1, warmup=0))
    for row, model in zip(tables["Size"], models.values()):
        assert row["class"] == type(model).__name__ and row["multiply-adds (G)"] > 0
        assert row["parameters (M)"] == sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert [(row["batch"], row["model"]) for row in tables["Speed"]] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    for first, second in (tables["Speed"][:2], tables["Speed"][2:]):
        assert second["a takes"] == pytest.approx(first["ms"] / second["ms"]) and "a takes" not in first
        assert first["MiB"] > 0 and first["images per second"] == pytest.approx(1000 * first["batch"] / first["ms"])
    assert any("64x64" in note for note in notes)
