# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Signals while training: the first is noted, the second acts, and afterwards everything is as before."""

import os
import signal
import threading

import pytest

from hfseg.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_is_noted_and_the_second_acts(number):
    came = []
    former = signal.signal(number, lambda *arguments: came.append(arguments[0]))
    try:
        own = signal.getsignal(number)
        with StopSignals() as stop:
            assert stop.number is None
            os.kill(os.getpid(), number)
            assert stop.number == number and not came
            os.kill(os.getpid(), number)
            assert came == [number]
        assert signal.getsignal(number) is own
        with stop:
            assert stop.number is None  # entered anew, nothing has come
        assert signal.getsignal(number) is own
    finally:
        signal.signal(number, former)


def test_another_thread_takes_no_handlers():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def enter():
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before] and signal.getsignal(signal.SIGTERM) is before
