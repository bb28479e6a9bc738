# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Serves tiny models for the browser test: python run_demo.py PORT FOLDER ..."""

import sys

from hfseg.demo.app import Limits, launch

if __name__ == "__main__":
    launch(sys.argv[2:], limits=Limits(megabytes=2, pixels=200_000), port=int(sys.argv[1]))
