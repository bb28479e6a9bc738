# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes of a launch, forked instead of started anew, so that nothing is imported again."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate.state import AcceleratorState

__all__ = ["forked_launch"]


def _child(work: Callable[[int], int], rank: int, ranks: int, port: int, files: list[Path]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)  # a forked child must not touch its parent's thread pool
    sys.exit(work(rank))


def forked_launch(
    work: Callable[[int], int], folder: Path, ranks: int = 2, seconds: float = 60
) -> list[SimpleNamespace]:
    """Does `work(rank)` in processes that can join; returns `code`, `out` and `err` of each.

    A process that takes longer than `seconds` hangs, which is an error.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    files = [[folder / f"{rank}.out", folder / f"{rank}.err"] for rank in range(ranks)]
    children = [context.Process(target=_child, args=(work, rank, ranks, port, files[rank])) for rank in range(ranks)]
    for child in children:
        child.start()
    for child in children:
        child.join(seconds)
    hanging = [child for child in children if child.exitcode is None]
    for child in hanging:
        child.kill()
    assert not hanging, "a process hangs"
    return [
        SimpleNamespace(code=child.exitcode, out=out.read_text(), err=err.read_text())
        for child, (out, err) in zip(children, files)
    ]
