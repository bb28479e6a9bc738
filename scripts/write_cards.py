# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The zoo's own cards: written from a template and a table per architecture, with numbers from result files only.

`model_cards/sources/<architecture>.yaml` says what each card has, `<architecture>.md` how it reads (Jinja). The cards
beside them are plain files; `python scripts/write_cards.py` writes them, and a test compares. A template gets

- `card`: the entry of the card (it has at least `name`, the file's), and `shared`, what the cards have in common;
- `measured(file, table, column, **where)`: the number in the one row of a file of `model_cards/results` where the
  other columns have these values; `command(file)`: the command line that made the file.

A number that is measured has no other way into a card.

Cards that are written by hand get their `model-index` in the same way: `sources/measured.yaml` says, per card, which
numbers of which file are its results. Where a dataset is a benchmark on the Hub, `hub: owner/name#task` there makes
the newer `.eval_results` files too (see `cards.result_files`), in `eval_results/<card>/`; `hfseg push` makes them from
the card in any case.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from hfseg.files.writing import write_text
from hfseg.hub.cards import Measurement, eval_results, result_files, split_card, with_fields

SOURCES, RESULTS, MEASURED = "sources", "results", "measured.yaml"


class CardSourceError(ValueError):
    """A source of cards that does not fit its template or the results."""


def result_reader(folder: Path) -> dict[str, Callable[..., Any]]:
    """Makes the functions by which templates read result files."""

    @cache
    def read(file: str) -> dict[str, Any]:
        path = folder / file
        if not path.is_file():
            raise CardSourceError(f"There is no {path}: measure first (scripts/benchmark.py ... --output {path}).")
        return json.loads(path.read_text(encoding="utf-8"))

    def measured(file: str, table: str, column: str, **where: Any) -> Any:
        tables = read(file)["tables"]
        if table not in tables:
            raise CardSourceError(f"{file} has no table {table!r}; it has {', '.join(tables)}.")
        rows = [row for row in tables[table] if all(row.get(key) == value for key, value in where.items())]
        if len(rows) != 1 or rows[0].get(column) is None:
            raise CardSourceError(f"{file}, {table}: {len(rows)} rows with {where}, one with {column!r} is needed.")
        return rows[0][column]

    def command(file: str) -> str:
        return read(file)["command"]

    return {"measured": measured, "command": command}


def render_cards(folder: Path) -> dict[str, str]:
    """Renders all cards that have a source.

    Args:
        folder: `model_cards`.

    Returns:
        File name to text.

    Raises:
        CardSourceError: A field, template or result is missing, or two cards have one name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

    environment = Environment(
        loader=FileSystemLoader(folder / SOURCES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(result_reader(folder / RESULTS))
    cards: dict[str, str] = {}
    for path in sorted((folder / SOURCES).glob("*.yaml")):
        if path.name == MEASURED:
            continue
        source = yaml.safe_load(path.read_text(encoding="utf-8"))
        for card in source["cards"]:
            name = f"{card['name']}.md"
            if name in cards:
                raise CardSourceError(f"Two cards are called {name}.")
            try:
                template = environment.get_template(f"{path.stem}.md")
                cards[name] = template.render(card=card, shared=source.get("shared", {}))
            except TemplateError as error:
                raise CardSourceError(f"{path.name}, card {card['name']}: {error}") from error
    return cards


def measured_results(folder: Path) -> dict[str, str]:
    """Renders `model-index`, and result files, of the cards in `sources/measured.yaml`.

    Args:
        folder: `model_cards`.

    Returns:
        Path in the folder to text: the cards with their results, and files below `eval_results`.

    Raises:
        CardSourceError: A card, result or field is missing.
    """
    path = folder / SOURCES / MEASURED
    if not path.is_file():
        return {}
    readers = result_reader(folder / RESULTS)
    texts: dict[str, str] = {}
    for name, card in yaml.safe_load(path.read_text(encoding="utf-8"))["cards"].items():
        file = folder / f"{name}.md"
        if not file.is_file():
            raise CardSourceError(f"{MEASURED}: there is no card {file}.")
        measurements, ids = [], {}
        try:
            for result in card["results"]:
                for metric, about in result["metrics"].items():
                    where = {**result.get("where", {}), **about.get("where", {})}
                    value = readers["measured"](result["file"], result["table"], about["column"], **where)
                    measurements.append(
                        Measurement(
                            metric=about.get("type", metric),
                            value=round(float(value) * about.get("factor", 1), 2),
                            title=about["title"],
                            dataset=result["dataset"],
                            split=result["split"],
                            command=readers["command"](result["file"]),
                        )
                    )
                if "hub" in result:
                    ids[result["dataset"]] = result["hub"]
        except KeyError as error:
            raise CardSourceError(f"{MEASURED}, card {name}: {error} is missing.") from error
        text = file.read_text(encoding="utf-8")
        metadata, _ = split_card(text)
        results = eval_results(measurements, metadata["pipeline_tag"])
        index = ModelCardData(model_name=card["title"], eval_results=results).to_dict()["model-index"]
        texts[file.name] = with_fields(text, {"model-index": index})
        for place, content in result_files({**metadata, "model-index": index}, ids).items():
            texts[f"eval_results/{name}/{Path(place).name}"] = content
    return texts


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `scripts/write_cards.py`."""
    parser = argparse.ArgumentParser(
        prog="write_cards.py", description="Writes the cards that have sources, and the results of others."
    )
    parser.add_argument("--folder", metavar="DIR", default="model_cards", help="holds sources/ and results/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a card differs from its source")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `scripts/write_cards.py`."""
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
            print(f"error: {path} differs from its source: run python scripts/write_cards.py.", file=sys.stderr)
        return 1 if changed else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, paths[path])
    print(f"{len(cards)} files, {len(changed)} written anew.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
