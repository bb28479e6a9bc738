# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Synchronized batch normalization: two processes give what one gives with the whole batch."""

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from hfseg.training import load_recipe
from hfseg.training.synchronization import CpuSyncBatchNorm, synchronize_batch_norm


@pytest.mark.parametrize("parts", [[2, 2], [3, 1]])
def test_two_processes_are_one_batch(parts, tmp_path, run_toy):
    """Also in parts of different sizes, with timm's layer with an activation, without weights, with the plain mean."""
    for name, dealt in (("one", [sum(parts)]), ("two", parts)):
        options = {"parts": dealt, "synchronize": name == "two"}
        done = run_toy(tmp_path / name, processes=len(dealt), script="run_batch_norm.py", **options)
        assert done.returncode == 0, done.output
    one, two = torch.load(tmp_path / "one"), torch.load(tmp_path / "two")
    assert list(one) == list(two)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: name + text)


def test_without_it_two_processes_differ(tmp_path, run_toy):
    options = {"parts": [2, 2], "synchronize": False}
    done = run_toy(tmp_path / "plain", processes=2, script="run_batch_norm.py", **options)
    assert done.returncode == 0, done.output
    run_toy(tmp_path / "one", script="run_batch_norm.py", parts=[4], synchronize=False)
    assert not torch.allclose(
        torch.load(tmp_path / "plain")["0.loss"], torch.load(tmp_path / "one")["0.loss"], rtol=1e-3
    )


def test_names_and_frozen_statistics_stay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    names = list(model.state_dict())
    converted = synchronize_batch_norm(model, torch.device("cpu"))
    assert list(converted.state_dict()) == names and type(converted[1]) is CpuSyncBatchNorm
    before = converted.eval()[1].running_mean.clone()
    converted(torch.ones(1, 3, 2, 2))
    assert torch.equal(converted[1].running_mean, before)
    with pytest.raises(ValueError, match="sync_batch_norm"):
        synchronize_batch_norm(nn.Linear(2, 2), torch.device("cpu"))


def test_referring_model_trains_on_two_processes_as_on_one(tmp_path, run_toy):
    """Two updates of two scenes, dealt out to two processes: the weights and the batch statistics are the same."""
    recipe = load_recipe("cris-tiny-shapes", ["data.train.num_scenes=4"]).to_dict() | {"stages": []}
    recipe["data"]["train"]["referents"] = 2
    recipe["data"]["validation"]["num_scenes"] = 1
    recipe["model"]["processor"]["size"] = {"height": 64, "width": 64}
    recipe["schedule"]["warmup_steps"] = 0
    recipe["run"] |= {"max_steps": 2, "sync_batch_norm": True}
    weights = []
    for processes in (1, 2):
        recipe["data"]["batch_size"] = 2 // processes
        (tmp_path / f"{processes}.yaml").write_text(yaml.safe_dump(recipe))
        output = tmp_path / f"out{processes}"
        options = {"recipe": str(tmp_path / f"{processes}.yaml")}
        done = run_toy(output, processes=processes, script="run_recipe.py", **options)
        assert done.returncode == 0, done.output
        weights.append(load_file(output / "model.safetensors"))
    compared = 0
    for name, value in weights[0].items():
        if "running_" in name:  # Adam's steps are signs at first: batch statistics say more than weights
            torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)
            compared += 1
    assert compared > 20
