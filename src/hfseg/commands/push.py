# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishes a model folder on the Hub, or writes what would be published (--dry_run DIR).

The folder is checked first: safe files, complete settings and card, and it must load in a new process. No code that
comes with it is run or uploaded, no link out of it is followed, and paths of this machine leave card and settings.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..hub.publishing import MAX_SHARD_SIZE, PublishingError
from ..hub.pushing import push
from .running import read_size, run_command


def read_dataset(text: str) -> tuple[str, str]:
    """Reads `NAME[:METRIC]=OWNER/DATASET[#TASK]`."""
    name, separator, dataset_id = text.partition("=")
    if not separator or not name or "/" not in dataset_id:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair; give NAME=owner/dataset or NAME=owner/dataset#task")
    return name, dataset_id


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `hfseg push`."""
    parser = argparse.ArgumentParser(prog="hfseg push", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="folder of a trained or converted model with README.md")
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name on the Hub")
    parser.add_argument("--dry_run", metavar="NEW_DIR", help="write what would be uploaded here and upload nothing")
    parser.add_argument("--tag", help="also name this revision, e.g. v1.0")
    parser.add_argument("--private", action="store_true", help="a new repository is hidden from others")
    parser.add_argument("--commit_message", metavar="TEXT", default="Upload model with hfseg")
    parser.add_argument("--license", metavar="NAME", help="license for a card that names none, e.g. apache-2.0")
    parser.add_argument(
        "--dataset",
        metavar="NAME[:METRIC]=ID",
        type=read_dataset,
        action="append",
        default=[],
        help="benchmark on the Hub, owner/name or owner/name#task, that a dataset of the card's results is, for files "
        "in .eval_results; a task has one number: name its METRIC, else it is the card's first",
    )
    parser.add_argument(
        "--evaluation", metavar="DIR", type=Path, help="folder of hfseg evaluate: its results go into the card"
    )
    parser.add_argument(
        "--include", metavar="PATTERN", action="append", default=[], help="also files like this, e.g. onnx/*.onnx"
    )
    parser.add_argument(
        "--max_shard_size", type=read_size, default=MAX_SHARD_SIZE, metavar="SIZE", help="of weights (5GB)"
    )
    parser.add_argument("--endpoint", action="store_true", help="add handler.py for Inference Endpoints")
    parser.add_argument("--json", action="store_true", help="print the plan, and problems, as JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `hfseg push`; returns 2 if nothing could be published."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Publishes, or writes what would be published."""
    try:
        found = push(
            options.folder,
            options.repo_id,
            dry_run=options.dry_run,
            tag=options.tag,
            private=options.private,
            commit_message=options.commit_message,
            license_name=options.license,
            dataset_ids=dict(options.dataset),
            evaluation=options.evaluation,
            include=options.include,
            max_shard_size=options.max_shard_size,
            endpoint=options.endpoint,
            show=(lambda text: None) if options.json else print,
        )
    except (PublishingError, ValueError, OSError) as error:
        if options.json:
            print(json.dumps({"problems": [str(error)], "url": None}))
        raise
    if options.json:
        print(json.dumps(found, indent=1))
    for problem in found["problems"]:
        print(f"error: {problem}", file=sys.stderr)
    if found["problems"]:
        print(f"{len(found['problems'])} problem(s): nothing was uploaded.", file=sys.stderr)
        return 2
    done = f"Published {found['url']}" if found["url"] else f"Dry run: wrote {options.dry_run}; nothing was uploaded."
    print(done, file=sys.stderr if options.json else sys.stdout)
    return 0
