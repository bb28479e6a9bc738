# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Measures a model: python scripts/evaluate.py --model DIR --dataset SPEC --output_dir DIR; also under torchrun."""

import sys

from hfseg.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
