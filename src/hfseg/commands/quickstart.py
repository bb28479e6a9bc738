# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg quickstart`: trains a tiny model, evaluates it, saves it, loads it back and segments an image with it.

Runs offline on two cores: on embedded scenes in about two minutes, or with --data on your own images. What it leaves
in the output folder is an ordinary model folder, plus overlay.png and metrics.json.
"""

import argparse
import logging
from collections.abc import Sequence

from .. import auto
from .running import describe, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg quickstart", **describe(__doc__))  # type: ignore[arg-type]
    names = [row.model_type for row in auto.ARCHITECTURES]
    parser.add_argument("--architecture", default=names[0], choices=names)
    parser.add_argument("--data", metavar="FOLDER", help="images and labels (or a COCO json) instead of `shapes`")
    parser.add_argument("--output_dir", default="outputs/quickstart", metavar="DIR")
    parser.add_argument("--minutes", type=float, help="training time; the updates that fit are timed first")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")
    return parser.parse_intermixed_args(argv)


def run(options: argparse.Namespace) -> int:
    """Trains and shows."""
    from ..training.quickstart import quickstart

    quickstart(
        options.architecture,
        *options.overrides,
        data=options.data,
        output_dir=options.output_dir,
        minutes=options.minutes,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg quickstart` and `scripts/quickstart.py`."""
    logging.basicConfig(level=logging.WARNING)
    options = parse(argv)
    return run_command(lambda: run(options))
