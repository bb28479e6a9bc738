# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Counts parameters and FLOPs, measures speed and learning; see `python scripts/benchmark.py --help`."""

import os
import sys

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # read when torch loads: its profiler, which measures memory, is chatty

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]

from benchmarks import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
