# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs the toy in processes of its own, one or several."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Lets every test choose its own mixed precision: accelerate keeps its choice for the process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def run_toy() -> Callable[..., subprocess.CompletedProcess]:
    """Runs `run_toy.py` with options; `processes=2` runs it under torchrun on gloo."""

    def run(output_dir: Path, processes: int = 1, script: str = "run_toy.py", **options) -> subprocess.CompletedProcess:
        launcher = [sys.executable]
        if processes > 1:
            launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
            launcher += ["--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
        return subprocess.run(
            [*launcher, str(HERE / script), str(output_dir), json.dumps(options)],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
