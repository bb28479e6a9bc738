# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""SIGTERM and Ctrl-C as a wish that the training loop fulfils after the update in progress."""

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopSignals"]

# A loading process ends with its parent; if the parent cannot see to it, after this many seconds.
PATIENCE = 30


class StopSignals:
    """While entered, the first SIGTERM or SIGINT is only noted; a second one acts as it always did.

    Attributes:
        number: Of the signal that came; None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._former: dict[int, Any] = {}
        self._process = 0

    def __enter__(self) -> "StopSignals":
        self.number, self._process = None, os.getpid()
        if threading.current_thread() is threading.main_thread():  # elsewhere python takes no handlers
            self._former = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loading process, which inherited the handler: its parent decides
            if hasattr(signal, "alarm"):
                signal.alarm(PATIENCE)
            return
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            with contextlib.suppress(TypeError, ValueError):  # a handler that was not python's; another thread
                signal.signal(number, handler)
        self._former = {}

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
