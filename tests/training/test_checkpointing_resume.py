# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A run that is killed and resumed is, bit by bit, the run that was not."""

import json
import random
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SECTIONS = {"run": {"ema_decay": 0.9, "save_every": 4, "max_steps": 12, "gradient_accumulation_steps": 2}}


def options(workers: int, **more) -> dict:
    return {"sections": {**SECTIONS, "data": {"num_workers": workers}}, "dropout": 0.2, "evaluate": True, **more}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_toy) -> Path:
    """The uninterrupted run of one process, without workers."""
    folder = tmp_path_factory.mktemp("resume") / "whole"
    done = run_toy(folder, **options(0))
    assert done.returncode == 0, done.output
    return folder


def assert_same_run(first: Path, second: Path) -> None:
    """Compares weights, optimizer, EMA and generators of the last checkpoints, and the final weights, bitwise."""
    names = sorted(path.name for path in (first / "checkpoint-12").iterdir())
    assert names == sorted(path.name for path in (second / "checkpoint-12").iterdir())
    files = [f"checkpoint-12/{name}" for name in names if name.endswith("safetensors")] + ["model.safetensors"]
    assert len(files) >= 5
    for file in files:
        left, right = load_file(first / file), load_file(second / file)
        assert left.keys() == right.keys()
        for name in left:
            assert torch.equal(left[name], right[name]), f"{file}: {name}"
    states = [json.loads((folder / "checkpoint-12/trainer_state.json").read_text()) for folder in (first, second)]
    for state in states:
        state.pop("seconds")
        state["recipe"]["data"].pop("num_workers")
    assert states[0] == states[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_kill_at_a_random_moment_and_resume_is_bitwise_equal(tmp_path, run_toy, whole, workers):
    step = random.Random().randint(4, 11)  # any moment must do
    killed = run_toy(tmp_path, **options(workers, kill={"after": step}))
    assert killed.returncode == -9, killed.output
    assert not (tmp_path / "model.safetensors").exists()
    resumed = run_toy(tmp_path, **options(workers, resume="latest"))
    assert resumed.returncode == 0, resumed.output
    # killed right after update 8, before its checkpoint: back to 4
    assert f"at step {4 * ((step - 1) // 4) or 0} of 12" in resumed.output or step == 4
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("file", [1, 2, 4])
def test_kill_during_a_save_leaves_the_previous_checkpoint(tmp_path, run_toy, whole, file):
    killed = run_toy(tmp_path, **options(0, kill={"in_save": 2, "file": file}))
    assert killed.returncode == -9, killed.output
    assert (tmp_path / "checkpoint-8.partial").is_dir() and not (tmp_path / "checkpoint-8").exists()
    resumed = run_toy(tmp_path, **options(0, resume="latest"))
    assert resumed.returncode == 0, resumed.output
    assert "at step 4 of 12" in resumed.output
    assert not list(tmp_path.glob("*.partial"))
    assert_same_run(whole, tmp_path)


@pytest.fixture(scope="module")
def whole_pair(tmp_path_factory, run_toy) -> tuple[Path, float]:
    """The uninterrupted run of two processes with two workers each, and the seconds it took."""
    folder, start = tmp_path_factory.mktemp("resume") / "pair", time.monotonic()
    done = run_toy(folder, processes=2, **options(2))
    assert done.returncode == 0, done.output
    return folder, time.monotonic() - start


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_killed_at_a_random_moment(tmp_path, run_toy, whole_pair, workers):
    """Killed from outside, anywhere between the first import and the last file; the moment is printed on a failure."""
    whole, seconds = whole_pair
    moment = random.Random().uniform(0.3, 1.0) * seconds
    print(f"killed after {moment:.3f} s")
    run_toy(tmp_path / "killed", processes=2, kill_at=moment, **options(workers))
    resumed = run_toy(tmp_path / "killed", processes=2, **options(workers, resume="latest"))
    assert resumed.returncode == 0, resumed.output
    assert_same_run(whole, tmp_path / "killed")


@pytest.mark.parametrize(
    ("workers", "kill"),
    [
        (2, {"after": 6}),
        (2, {"in_save": 2, "file": 2, "rank": 0}),
        (0, {"in_save": 2, "file": 1, "rank": 1}),
    ],
)
def test_two_processes_with_workers_killed_and_resumed(tmp_path, run_toy, whole_pair, workers, kill):
    """Both after an update, or one alone during the second save: the other must end too, not wait for it."""
    killed = run_toy(tmp_path / "killed", processes=2, **options(workers, kill=kill))
    assert killed.returncode != 0 and not (tmp_path / "killed/model.safetensors").exists()
    assert (tmp_path / "killed/checkpoint-8.partial").is_dir() == ("in_save" in kill)
    resumed = run_toy(tmp_path / "killed", processes=2, **options(workers, resume="latest"))
    assert resumed.returncode == 0, resumed.output
    assert "at step 4 of 12" in resumed.output
    assert_same_run(whole_pair[0], tmp_path / "killed")
