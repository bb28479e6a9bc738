# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Measures a model: python scripts/evaluate.py --model DIR --dataset SPEC --output_dir DIR; also under torchrun."""

import os
import sys

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]

from hfseg.commands.evaluate import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
