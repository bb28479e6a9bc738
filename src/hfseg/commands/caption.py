# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg caption`: describes images with a vision-language model and extracts the entities they name.

accelerate launch -m hfseg caption --images DIR --model DIR_OR_ID --output FILE.jsonl

The work is shared by the processes of `accelerate launch` and goes on where a broken run stopped. Without --model,
captions are read from --captions.
"""

import argparse
from collections.abc import Sequence

from .running import describe, refuse_old, run_command

EXTRACTORS = ("list", "nltk", "rules", "spacy")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg caption", allow_abbrev=False, **describe(__doc__))
    parser.add_argument("--images", required=True, metavar="DIR")
    parser.add_argument("--output", required=True, metavar="FILE.jsonl", help="or FILE.parquet")
    parser.add_argument("--model", metavar="DIR_OR_ID", help="any image-text-to-text model of transformers")
    parser.add_argument("--captions", metavar="FILE.jsonl", help="captions by image instead: {image, caption} lines")
    parser.add_argument("--extractor", choices=EXTRACTORS, help="default: list with a model, else rules")
    parser.add_argument("--instruction", default=argparse.SUPPRESS, help="for the caption")
    parser.add_argument("--list_instruction", default=argparse.SUPPRESS, help="for the list of entities")
    parser.add_argument("--max_new_tokens", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=1, help="images that the model is asked about together")
    parser.add_argument(
        "--allow_remote_code", action="store_true",
        help="RUNS PYTHON OF THE MODEL'S FOLDER: for InternLM-XComposer2, which answers by code of its own",
    )  # fmt: skip
    parser.add_argument("--revision", metavar="SHA", help="commit of such a model on the Hub")
    refuse_old(parser, {"--list-instruction": "--list_instruction", "--max-new-tokens": "--max_new_tokens"})
    options = parser.parse_args(argv)
    if (options.model is None) == (options.captions is None):
        parser.error("give --model or --captions, one of them")
    return options


def run(options: argparse.Namespace) -> int:
    """Captions."""
    from ..data.captioning import caption_folder

    number = caption_folder(**vars(options))
    if number is not None:
        print(f"Wrote {options.output}: {number} images.")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg caption` and `scripts/caption_entities.py`."""
    options = parse(argv)
    return run_command(lambda: run(options))
