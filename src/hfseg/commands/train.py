# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: trains a model from a recipe; the same as `hfseg.train`.

hfseg train --data FOLDER --output_dir OUT          everything is chosen from the data, and said
hfseg train --recipe proscale-tiny-shapes --output_dir OUT [section.key=value ...]
hfseg train --recipe proscale-tiny-folder --data FOLDER --output_dir OUT [section.key=value ...]
hfseg train --recipe proscale-tiny-shapes --data OWNER/NAME --output_dir OUT
accelerate launch -m hfseg train --recipe FILE.yaml --output_dir OUT --resume_from_checkpoint latest
hfseg train --recipe NAME --dry_run                 groups, shapes and memory; nothing is trained

The output folder is a `from_pretrained` folder with processor, metrics.json, training_args.json and a filled model
card. `hfseg list recipes` lists the recipes; what one can say is documented in `hfseg.training.arguments`.
"""

import argparse
import sys
from collections.abc import Sequence

from .running import command_line, describe, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg train", **describe(__doc__))
    parser.add_argument(
        "--recipe", metavar="NAME|FILE", help="packaged recipe or YAML file; default: chosen for --data, and shown"
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe, as YAML")
    parser.add_argument(
        "--data", metavar="FOLDER|HUB_ID", help="your images and labels: a folder, or a dataset of the Hub"
    )
    parser.add_argument("--output_dir", metavar="DIR", help="folder of checkpoints and of the trained model")
    parser.add_argument("--resume_from_checkpoint", metavar="latest|FOLDER", help="go on from a checkpoint")
    parser.add_argument(
        "--allow_changed_data", action="store_true", help="resume although the training data are not those of before"
    )
    parser.add_argument("--dry_run", action="store_true", help="show what would be done: groups, shapes, memory")
    options = parser.parse_intermixed_args(argv)
    if options.output_dir is None and not options.dry_run:
        parser.error("--output_dir is required (or --dry_run)")
    if options.recipe is None and options.data is None and options.resume_from_checkpoint is None:
        parser.error("--recipe or --data is required")
    options.command = command_line("train", argv)
    return options


def run(options: argparse.Namespace) -> int:
    """Trains."""
    from ..training.runner import train

    train(
        options.recipe,
        *options.overrides,
        output_dir=options.output_dir,
        data=options.data,
        resume_from_checkpoint=options.resume_from_checkpoint,
        dry_run=options.dry_run,
        command=options.command,
        allow_changed_data=options.allow_changed_data,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg train` and `scripts/train.py`."""
    options = parse(argv)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
