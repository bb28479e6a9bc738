# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Writes the cards in model_cards that have a source there, and the results of others, or compares them (--check)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..files.writing import write_text
from ..hub.zoo import CardSourceError, measured_results, render_cards


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `hfseg cards`."""
    parser = argparse.ArgumentParser(prog="hfseg cards", description=__doc__)
    parser.add_argument("--folder", metavar="DIR", default="model_cards", help="holds sources/ and results/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a card differs from its source")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `hfseg cards`."""
    options = build_parser().parse_args(arguments)
    folder = Path(options.folder)
    if not (folder / "sources").is_dir():
        print(f"error: {folder} has no folder sources; run this in a checkout, or give --folder.", file=sys.stderr)
        return 1
    try:
        cards = {**render_cards(folder), **measured_results(folder)}
    except CardSourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    paths = {folder / name: text for name, text in cards.items()}
    changed = [path for path, text in paths.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in changed:
            print(f"error: {path} differs from its source: run hfseg cards.", file=sys.stderr)
        return 1 if changed else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, paths[path])
    print(f"{len(cards)} files, {len(changed)} written anew.")
    return 0
