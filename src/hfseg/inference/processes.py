# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processes of one launch (`accelerate launch`, `torchrun`): they join before they load, and end together."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from accelerate.utils import gather_object

from accelerate import PartialState

__all__ = ["OtherProcessError", "gathered", "join_processes", "number_of_processes", "starting_together"]

# How long a process waits for the slowest one. The libraries' 10 or 30 minutes end a job whose inputs take unequally
# long, such as a folder of videos.
PATIENCE = timedelta(days=30)


class OtherProcessError(RuntimeError):
    """Another process of this launch could not start, or has ended.

    Attributes:
        is_said: Whether that process says why.
    """

    is_said = False


def number_of_processes() -> int:
    """Processes of this launch, before they have joined."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_processes(device: Any = None) -> PartialState:
    """Joins the processes of this launch; one process alone joins nothing.

    Args:
        device: Where the model will run, as the user names it; None or "auto": an accelerator if there is one.

    Returns:
        Accelerate's state: which of how many processes this is, and its device.
    """
    kind = str(device).partition(":")[0]
    # Accelerate counts a single process where it knows no backend of the accelerator: every process would do all.
    without_backend = not torch.accelerator.is_available() or torch.backends.mps.is_available()
    waits = {"timeout": PATIENCE} if number_of_processes() > 1 else {}
    return PartialState(cpu=kind in ("cpu", "mps") or without_backend, **waits)


@contextlib.contextmanager
def starting_together(state: PartialState) -> Iterator[None]:
    """Does a block in every process; if it fails in one, it fails in all.

    Otherwise the others would wait for a process that has ended until the launcher stops them, and all would print what
    one has to say. The block must not exchange anything with other processes.

    Raises:
        OtherProcessError: In all processes but the first that failed, which raises its own error.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        if state.num_processes == 1:
            raise
        own = error
    if state.num_processes == 1:
        return
    messages = gather_object([None if own is None else str(own) or type(own).__name__])
    failed = [rank for rank, message in enumerate(messages) if message is not None]
    if not failed:
        return
    if own is not None and failed[0] == state.process_index:
        own.in_all_processes = True  # type: ignore[attr-defined]
        raise own
    other = OtherProcessError(f"Process {failed[0]} of this launch could not start: {messages[failed[0]]}")
    other.is_said = True
    raise other


def gathered(own: Any, ranks: int) -> list[Any]:
    """The objects of all processes, in the order of ranks.

    Raises:
        OtherProcessError: The connection to one was lost: it has ended.
    """
    if ranks == 1:
        return [own]
    try:
        return gather_object([own])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise OtherProcessError(f"Another process of this launch ended while this one waited ({reason}).") from error
