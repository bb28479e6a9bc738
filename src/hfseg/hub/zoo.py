# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The zoo's own cards: written from a template and a table per architecture, with numbers from result files only.

`model_cards/sources/<architecture>.yaml` says what each card has, `<architecture>.md` how it reads (Jinja). The cards
beside them are plain files; `hfseg cards` writes them, and a test compares. A template gets

- `card`: the entry of the card (it has at least `name`, the file's), and `shared`, what the cards have in common;
- `measured(file, table, column, **where)`: the number in the one row of a file of `model_cards/results` where the
  other columns have these values; `command(file)`: the command line that made the file.

A number that is measured has no other way into a card.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SOURCES, RESULTS = "sources", "results"


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
