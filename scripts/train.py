# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Trains a model: accelerate launch scripts/train.py --recipe NAME_OR_FILE [section.key=value ...] --output_dir DIR."""

from hfseg.commands.train import main

if __name__ == "__main__":
    main()
