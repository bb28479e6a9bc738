# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Serves the shipped models for the browser tests, with small limits: python run_demo.py PORT"""

import sys

from hfseg.demo.app import Limits, launch

if __name__ == "__main__":
    launch([], limits=Limits(megabytes=2, pixels=200_000), port=int(sys.argv[1]))
