# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg quickstart`: runs every model that comes with the package on an example and draws one sheet of the results.

hfseg quickstart                                        seconds; writes outputs/quickstart/overview.png
hfseg quickstart --train                                minutes; trains a tiny model, evaluates, saves and uses it
hfseg quickstart --train --data FOLDER                  the same with your own images and labels

Offline, on two cores. What --train leaves in the output folder is an ordinary model folder with a card, plus
overlay.png and metrics.json. It goes on from the weights of the shipped model, if the recipe has one.
"""

import argparse
import logging
from collections.abc import Sequence

from .. import auto
from .running import command_line, describe, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg quickstart", **describe(__doc__))
    names = [row.model_type for row in auto.ARCHITECTURES]
    parser.add_argument("--output_dir", default="outputs/quickstart", metavar="DIR")
    training = parser.add_argument_group("training")
    training.add_argument("--train", action="store_true", help="train a tiny model instead")
    training.add_argument("--architecture", choices=names, help=f"default: {names[0]}")
    training.add_argument("--from_scratch", action="store_true", help="start from random weights")
    training.add_argument("--data", metavar="FOLDER", help="images and labels (or a COCO json) instead of `shapes`")
    training.add_argument("--minutes", type=float, help="training time; the updates that fit are timed first")
    training.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")
    options = parser.parse_intermixed_args(argv)
    given = [f"--{name}" for name in ("architecture", "from_scratch", "data", "minutes") if getattr(options, name)]
    given += options.overrides[:1]
    if given and not options.train:
        parser.error(f"{given[0]} is about training: add --train")
    return options


def run(options: argparse.Namespace, command: str) -> int:
    """Shows the shipped models, or trains one."""
    if not options.train:
        from ..demo.overview import overview

        print(f"One sheet of all: {overview(options.output_dir)}")
        return 0
    from ..training.quickstart import quickstart

    quickstart(
        options.architecture or auto.ARCHITECTURES[0].model_type,
        *options.overrides,
        data=options.data,
        output_dir=options.output_dir,
        minutes=options.minutes,
        from_scratch=options.from_scratch,
        command=command,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg quickstart` and `scripts/quickstart.py`."""
    logging.basicConfig(level=logging.WARNING)
    options = parse(argv)
    return run_command(lambda: run(options, command_line("quickstart", argv)))
