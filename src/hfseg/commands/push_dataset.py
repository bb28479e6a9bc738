# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg push-dataset`: writes a dataset as parquet shards with a card, and publishes it on the Hub.

hfseg push-dataset photos my-name/photos --license cc-by-4.0 --dry_run repository     writes, uploads nothing
hfseg push-dataset shapes:num_scenes=1000,image_size=96 my-name/shapes
hfseg push-dataset refcoco:ROOT my-name/refcoco --split train --split val --license other

datasets.load_dataset("my-name/photos") reads it without hfseg; hfseg train --data my-name/photos trains on it. Shards
are written to disk before they are sent: as many bytes as the images of the dataset have.
"""

import argparse
import json
from collections.abc import Sequence

from .running import describe, read_size, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg push-dataset", **describe(__doc__))
    parser.add_argument("dataset", metavar="SPEC", help="folder, file or NAME[:PATH][,key=value,...]")
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name on the Hub")
    parser.add_argument("--dry_run", metavar="NEW_DIR", help="write what would be uploaded here and upload nothing")
    parser.add_argument("--license", metavar="NAME", help="of the data, as the Hub spells it, e.g. cc-by-4.0")
    parser.add_argument("--split", metavar="NAME", action="append", help="a split; several times; all without it")
    parser.add_argument(
        "--kind", choices=("segmentation", "referring", "medical", "in-context"), help="what samples are for"
    )
    parser.add_argument("--task", metavar="NAME", action="append", help="in-context tasks; several times")
    parser.add_argument("--on_error", choices=("stop", "skip"), default="stop", help="at a damaged sample")
    parser.add_argument("--tag", help="also name this revision, e.g. v1.0")
    parser.add_argument("--private", action="store_true", help="a new repository is hidden from others")
    parser.add_argument("--max_shard_size", type=read_size, default=500 * 10**6, metavar="SIZE", help="(500MB)")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> int:
    """Writes, and publishes."""
    from ..hub.dataset_publishing import push_dataset

    done = push_dataset(
        options.dataset,
        options.repo_id,
        license_name=options.license,
        dry_run=options.dry_run,
        splits=options.split,
        private=options.private,
        tag=options.tag,
        max_shard_size=options.max_shard_size,
        kind=options.kind,
        tasks=options.task,
        on_error=options.on_error,
    )
    text = done.pop("text")
    if options.json:
        print(json.dumps(done, indent=1))
        return 0
    print(text)
    print(", ".join(f"{rows:,} rows in {split}" for split, rows in done["rows"].items()))
    print(f"Published {done['url']}" if done["url"] else f"Dry run: wrote {options.dry_run}; nothing was uploaded.")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg push-dataset`."""
    options = parse(argv)
    return run_command(lambda: run(options))
