# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Counts parameters and FLOPs and measures speed; see `hfseg benchmark --help`."""

import os
import sys

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # read when torch loads: its profiler, which measures memory, is chatty

from hfseg.commands.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
