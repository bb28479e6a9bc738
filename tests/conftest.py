# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Settings of all tests: offline, and readable assertions in the shared test code."""

import gc
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fresh_process import run_python

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HFSEG_CACHE", "")  # nothing is kept on disk
if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# At the end: evaluate.py there must not hide the package `evaluate`.
SCRIPTS = str(Path(__file__).parents[1] / "scripts")
sys.path.append(SCRIPTS)
pytest.register_assert_rewrite("contract", "golden", "oracle")


@pytest.fixture(scope="session", autouse=True)
def short_collections():
    """What the tests' modules hold stays, and need not be looked through whenever garbage is collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def forks_can_train():
    """Starts autograd before the first test.

    Fake tensors (export, compilation) register a stand-in for a CUDA device. An engine that starts after that starts a
    thread for it, and processes forked from this one could not train any more.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session", autouse=True)
def loading_checks_start_soon():
    """What `push` loads in a new process is loaded in a forked one (see fresh_process.py); gives the real module."""
    from hfseg.hub import checks

    real = checks.subprocess

    def run(command, *, input, capture_output, text, **options):
        assert command[:2] == [sys.executable, "-"] and capture_output and text
        return run_python(["-c", input, *command[2:]], **options)

    checks.subprocess = SimpleNamespace(run=run, TimeoutExpired=real.TimeoutExpired)
    yield real
    checks.subprocess = real


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Forgets accelerate's settings of the process (precision, ranks), which the next test may want otherwise."""
    yield
    from accelerate.state import AcceleratorState, GradientState, PartialState

    if AcceleratorState._shared_state or PartialState._shared_state:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


@pytest.fixture(autouse=True)
def same_path():
    """Python's path is for the next test what it was: processes started there get it too."""
    if SCRIPTS not in sys.path:  # a module or a fixture of many tests has taken it away
        sys.path.append(SCRIPTS)
    kept = list(sys.path)
    yield
    if sys.path != kept:
        sys.path[:] = kept


@pytest.fixture
def refuses(capsys):
    """Runs a command that must refuse: exit code 2 and one line, which is returned."""

    def run(command, words):
        capsys.readouterr()
        assert command([str(word) for word in words]) == 2
        lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, lines
        return lines[0]

    return run
