# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs the toy in processes of its own, one or several, that may be killed."""

import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

import hfseg.training  # noqa: F401  once, before the forks

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Lets every test choose its own mixed precision: accelerate keeps its choice for the process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _child(script: str, arguments: list[str], environment: dict[str, str], output: Path) -> None:
    """Becomes one process of a run: what torchrun would have started, without importing everything again."""
    handle = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(environment)
    torch.set_num_threads(1)  # a forked child must not touch its parent's thread pool
    sys.argv = [script, *arguments]
    runpy.run_path(str(HERE / script), run_name="__main__")


@pytest.fixture(scope="session")
def run_toy() -> Callable[..., SimpleNamespace]:
    """Runs a script of this folder with options; returns the largest exit code and the output of rank 0.

    `processes=2` joins two processes by gloo; `launcher=True` starts them by torchrun instead of forking.
    `kill_at` kills them (SIGKILL, or `number`) that many seconds after their start, wherever they are.
    """

    def run(
        output_dir: Path,
        processes: int = 1,
        script: str = "run_toy.py",
        launcher: bool = False,
        kill_at: float | None = None,
        number: int = signal.SIGKILL,
        **options,
    ):
        arguments = [str(output_dir), json.dumps(options)]
        port = str(_free_port())
        if launcher:
            command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
            command += ["--master-addr", "127.0.0.1", "--master-port", port, str(HERE / script), *arguments]
            environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
            return SimpleNamespace(returncode=done.returncode, output=done.stdout + done.stderr)
        AcceleratorState._reset_state(reset_partial_state=True)
        context = multiprocessing.get_context("fork")
        children, outputs = [], []
        for rank in range(processes):
            environment = {"ACCELERATE_USE_CPU": "true"}
            if processes > 1:
                environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                environment |= {"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            output_dir.parent.mkdir(parents=True, exist_ok=True)
            outputs.append(output_dir.parent / f"{output_dir.name}-{rank}.txt")
            outputs[-1].unlink(missing_ok=True)
            children.append(context.Process(target=_child, args=(script, arguments, environment, outputs[-1])))
        for child in children:
            child.start()
        if kill_at is not None:
            time.sleep(kill_at)
            for child in children:
                if child.exitcode is None:
                    os.kill(child.pid, number)
        # Not `join`: it waits for a killed child's loading workers too, which notice after five seconds.
        deadline = time.monotonic() + 180
        while any(child.exitcode is None for child in children) and time.monotonic() < deadline:
            time.sleep(0.02)
        hanging = [child for child in children if child.exitcode is None]
        for child in hanging:
            child.kill()
        assert not hanging, "a process hangs"
        codes = [child.exitcode for child in children]
        return SimpleNamespace(returncode=max(codes, key=abs), output=outputs[0].read_text())

    return run
