# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The glossary: words that the project writes in one way only, in identifiers, messages, docstrings and prose."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".md", ".yaml", ".yml", ".toml")
FOLDERS = ("src", "tests", "scripts", "model_cards", "docs")
# Banned pattern -> what is written instead.
BANNED = {
    r"colour": "color",
    r"(?<![a-z])centre|centred": "center",
    r"(?<![a-z])grey": "gray",
    r"normalis": "normaliz",
    r"initialis": "initializ",
    r"optimis": "optimiz",
    r"neighbour": "neighbor",
    r"behaviour": "behavior",
    r"labelled": "labeled",
    r"licence": "license",
    r"metres?\b": "meter",
    r"\bdata[ -]sets?\b": "dataset",
    r"picture": "image",
    r"\blegal are\b": "must be one of",
    r"\bnot to be had\b": "not available",
    r"\bpoints? of time\b": "inference steps, time steps",
    r"\bfrom nothing\b": "from scratch",
    r"\bfreshly initiali": "randomly initialized",
    r"\bauthors' code\b": "official code",
    r"\bauthors' checkpoints?\b": "official checkpoint",
}
FILES = sorted(
    {
        file
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.suffix in SUFFIXES and "fixtures" not in file.parts and file != Path(__file__)
    }
    | set(ROOT.glob("*.md"))
)


def findings(text: str) -> list[str]:
    """Lists the banned words of a text with their lines."""
    return [
        f"line {number}: {match[0]!r}: write {instead!r}"
        for number, line in enumerate(text.splitlines(), start=1)
        if not line.endswith("# spelled as given")  # an old name that is refused, or another's key
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, line, flags=re.IGNORECASE)
    ]


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_one_word_per_idea(folder):
    files = [file for file in FILES if file.relative_to(ROOT).parts[:-1][:1] == ((folder,) if folder else ())]
    found = {str(file.relative_to(ROOT)): findings(file.read_text(encoding="utf-8")) for file in files}
    found = {name: lines for name, lines in found.items() if lines}
    assert not found, "\n".join(f"{name}: {'; '.join(lines[:3])}" for name, lines in found.items())


@pytest.mark.parametrize("text", ["the colour", "nearest_colour", "a data set", "legal are a, b", "my_pictures"])
def test_the_list_finds_its_words(text):
    assert findings(text)
    assert not findings("color, dataset, image, grayscale, concentrate, parameters, geometric")
