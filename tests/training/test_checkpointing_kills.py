# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs that are killed or stopped at random moments, resumed until they end: the final weights are bitwise the same.

`HFSEG_KILLS=N` does N kills and N / 3 stops instead of the suite's few; `pytest -s` shows how many met the training.
Every other moment lies after the first checkpoint: most of a short run is its start.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

KILLS = int(os.environ.get("HFSEG_KILLS", "2"))
SEED = int(os.environ.get("HFSEG_KILLS_SEED", str(int(time.time()))))  # any moment must do
OPTIONS = {
    "sections": {"run": {"ema_decay": 0.9, "save_every": 3, "max_steps": 24}, "data": {"num_workers": 0}},
    "dropout": 0.2,
    "evaluate": True,
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = [*sorted((folder / "checkpoint-24").glob("*.safetensors")), folder / "model.safetensors"]
    return {f"{path.name}: {name}": tensor for path in files for name, tensor in load_file(path).items()}


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def whole(request, tmp_path_factory, run_toy):
    """The run that nobody disturbs, its processes, and the seconds it takes."""
    folder, start = tmp_path_factory.mktemp("kills") / "whole", time.monotonic()
    since = time.time()
    done = run_toy(folder, processes=request.param, **OPTIONS)
    assert done.returncode == 0, done.output
    first = min(path.stat().st_mtime for path in folder.glob("checkpoint-*/*")) - since
    return folder, request.param, time.monotonic() - start, first


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_random_moments(whole, tmp_path, run_toy, number):
    folder, processes, seconds, first = whole
    expected = weights(folder)
    count = KILLS if number == signal.SIGKILL else -(-KILLS // 3)
    draw = random.Random(f"{SEED} {processes} {number}")
    while_training = said = 0
    for case in range(count):
        target = tmp_path / str(case)
        moment = draw.uniform(first if case % 2 else 0.1 * seconds, seconds)
        broken = run_toy(target, processes=processes, kill_at=moment, number=number, **OPTIONS)
        ended = broken.returncode == 0
        while_training += not ended and any(target.glob("checkpoint-*"))
        said += "--resume_from_checkpoint latest" in broken.output
        resumed = run_toy(target, processes=processes, resume="latest", **OPTIONS)
        assert resumed.returncode == 0, (SEED, moment, resumed.output)
        found = weights(target)
        assert found.keys() == expected.keys()
        different = [name for name in expected if not torch.equal(found[name], expected[name])]
        assert not different, (SEED, moment, different[:5])
    name = signal.Signals(number).name
    print(f"{count} x {name}, {processes} process(es): all equal; {while_training} after a checkpoint, {said} said how")
