# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`report.html` of an evaluation: one file with numbers, classes and images, which needs nothing from elsewhere."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.writing import write_text
from ..results.drawing import class_color

__all__ = ["EvaluationPage", "Shown", "file_name", "write_report"]

NO_FILE_SYSTEM_NAME = re.compile(r"[^A-Za-z0-9._-]+")

WIDEST = 1800  # pixels of an image in the page
# The largest possible value of a column, for which its bars are full; other columns have none.
PERCENT = ("iou", "accuracy", "pq", "sq", "rq", "ap", "ap50", "ap75", "precision", "recall", "dice")
LONGEST_LEGEND = 60

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; max-width: 76rem; margin: 2rem auto;
       padding: 0 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #d5d9de; padding-bottom: .25rem; }
p.about { margin: 0 0 1.2rem; color: #4a4f57; }
.headline { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.headline div { border: 1px solid #d5d9de; border-radius: .5rem; padding: .5rem 1rem; min-width: 7rem; }
.headline b { display: block; font-size: 1.7rem; line-height: 1.2; }
.headline span { color: #4a4f57; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e6e9ec; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text { text-align: left; }
td.text { color: #4a4f57; white-space: normal; }
td.bar { background: linear-gradient(#b9d8ee, #b9d8ee) no-repeat left / var(--part) 100%; }
.chip { display: inline-block; width: .9em; height: .9em; border: 1px solid #3c3c3c; border-radius: .15em;
        margin-right: .45em; vertical-align: -.1em; }
ul.legend { list-style: none; padding: 0; margin: 0 0 1rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
figure { margin: 0 0 1.4rem; }
figcaption { margin-bottom: .3rem; }
figure img { max-width: 100%; max-height: 34rem; width: auto; height: auto; border: 1px solid #d5d9de; display: block; }
pre { background: #f3f5f7; padding: .7rem 1rem; overflow-x: auto; border-radius: .4rem; white-space: pre-wrap;
      overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Attributes:
        caption: What it shows.
        image: File or image.
        name: Of the file that it is saved as, without its ending; "" is not saved.
    """

    caption: str
    image: Path | Image.Image
    name: str = ""


@dataclass
class EvaluationPage:
    """What a page says.

    Attributes:
        title: First heading.
        about: A line under it.
        command: Command line of the evaluation.
        headline: The most telling numbers, name to value as it is to be read.
        numbers: Rows of name, value and what it is.
        tables: Heading to rows, dictionaries with the same keys; the first column names the row.
        images: Heading to images.
        legend: Class number to name, of the colors in the images.
        facts: Further conditions, name to text.
    """

    title: str
    about: str
    command: str
    headline: Mapping[str, str] = field(default_factory=dict)
    numbers: Sequence[tuple[str, str, str]] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    images: Mapping[str, Sequence[Shown]] = field(default_factory=dict)
    legend: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def file_name(text: str) -> str:
    """A text as the name of a file."""
    return NO_FILE_SYSTEM_NAME.sub("-", text)


def write_report(file: Path, page: EvaluationPage) -> Path:
    """Writes a page in one step."""
    return write_text(file, render(page))


def render(page: EvaluationPage) -> str:
    """Renders a page as HTML; whatever text it is given is shown as text."""
    parts = [f"<h1>{_text(page.title)}</h1>", f'<p class="about">{_text(page.about)}</p>']
    if page.headline:
        boxes = "".join(
            f"<div><b>{_text(value)}</b><span>{_text(name)}</span></div>" for name, value in page.headline.items()
        )
        parts.append(f'<div class="headline">{boxes}</div>')
    if page.numbers:
        rows = "".join(
            f'<tr><td>{_text(name)}</td><td>{_text(value)}</td><td class="text">{_text(what)}</td></tr>'
            for name, value, what in page.numbers
        )
        table = f'<div class="wide"><table>{_head(("metric", "value", ""))}<tbody>{rows}</tbody></table></div>'
        parts.append(f"<h2>Numbers</h2>{table}")
    for heading, entries in page.tables.items():
        if entries:
            parts.append(f'<h2>{_text(heading)}</h2><div class="wide">{_table(entries)}</div>')
    legend = _legend(page.legend)
    for heading, shown in page.images.items():
        if shown:
            parts.append(f"<h2>{_text(heading)}</h2>{legend}" + "".join(_figure(one) for one in shown))
            legend = ""  # once is enough
    facts = "".join(
        f'<tr><td>{_text(name)}</td><td class="text">{_text(value)}</td></tr>' for name, value in page.facts.items()
    )
    parts.append(f"<h2>How it was measured</h2><pre>{_text(page.command)}</pre><table><tbody>{facts}</tbody></table>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(page.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _head(names: Sequence[str]) -> str:
    return "<thead><tr>" + "".join(f'<th scope="col">{_text(name)}</th>' for name in names) + "</tr></thead>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["".join(_cell(column, row.get(column)) for column in columns) for row in rows]
    return f"<table>{_head(columns)}<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody></table>"


def _cell(column: str, value: Any) -> str:
    """A cell; numbers that are percentages have a bar of that length behind them."""
    if value is None or value != value:
        return "<td>-</td>"
    if isinstance(value, float):
        part = f"{min(max(value, 0.0), 100.0):.1f}%"
        bar = f' class="bar" style="--part:{part}"' if column.partition(" ")[0] in PERCENT else ""
        return f"<td{bar}>{value:.2f}</td>"
    return f"<td>{_text(value)}</td>"


def _legend(names: Mapping[int, str]) -> str:
    if not names or len(names) > LONGEST_LEGEND:
        return ""
    entries = "".join(
        '<li><span class="chip" style="background:rgb({},{},{})"></span>'.format(*class_color(number))
        + f"{_text(name)}</li>"
        for number, name in names.items()
    )
    return f'<ul class="legend">{entries}</ul>'


def _figure(shown: Shown) -> str:
    """An image as a part of the page: JPEG, or PNG where that is smaller."""
    if isinstance(shown.image, Image.Image):
        image = shown.image.convert("RGB")
    else:
        with Image.open(shown.image) as opened:
            image = opened.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    encoded = {}
    for kind, settings in (("jpeg", {"quality": 90, "subsampling": 0}), ("png", {"optimize": True})):
        stream = io.BytesIO()
        image.save(stream, kind, **settings)
        encoded[kind] = stream.getvalue()
    kind = min(encoded, key=lambda name: len(encoded[name]))
    source = f"data:image/{kind};base64,{base64.b64encode(encoded[kind]).decode()}"
    caption = _text(shown.caption)
    size = f'width="{image.width}" height="{image.height}"'
    return f'<figure><figcaption>{caption}</figcaption><img {size} alt="{caption}" src="{source}"></figure>'
