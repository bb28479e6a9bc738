# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`report.html` of an evaluation: one file with images, curves and numbers, which needs nothing from elsewhere.

What is looked at comes first: headline numbers, images, curves, confusion; then tables; last, how it was measured.
"""

import base64
import html
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from ..files.writing import write_text
from ..results.confusion import MOST_CLASSES, ConfusionMatrix, color_of_share
from ..results.curves import precision_recall_svg
from ..results.drawing import class_color

__all__ = ["EvaluationPage", "Shown", "file_name", "write_report"]

NO_FILE_SYSTEM_NAME = re.compile(r"[^A-Za-z0-9._-]+")

WIDEST = 1800  # pixels of an image in the page
# The largest possible value of a column, for which its bars are full; other columns have none.
PERCENT = (
    *("iou", "accuracy", "pq", "sq", "rq", "ap", "ap50", "ap75", "cityscapes_ap"),
    *("precision", "recall", "dice", "share"),
)
LONGEST_LEGEND = 60
DENSE = 30  # classes from which on the cells of the confusion are small
TOLD_SHARE = 0.005  # of a true class: smaller ones have no number in the confusion
DARK_SHARE = 0.45  # from which on numbers are white

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
th:first-child, td:first-child, td.text, td.name, th.name { text-align: left; }
td.text { color: #4a4f57; white-space: normal; overflow-wrap: anywhere; }
.wide td.text { min-width: 18rem; }
td.bar { background: linear-gradient(#b9d8ee, #b9d8ee) no-repeat left / var(--part) 100%; }
.chip { display: inline-block; width: .9em; height: .9em; border: 1px solid #3c3c3c; border-radius: .15em;
        margin-right: .45em; vertical-align: -.1em; }
ul.legend { list-style: none; padding: 0; margin: 0 0 1rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
figure { margin: 0 0 1.4rem; }
figcaption { margin-bottom: .3rem; overflow-wrap: anywhere; }
figure img { max-width: 100%; max-height: 34rem; width: auto; height: auto; border: 1px solid #d5d9de; display: block; }
figure a { display: inline-block; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: #0b5394; }
svg.curves { display: block; width: 100%; max-width: 44rem; height: auto; }
.matrix { overflow: auto; max-height: 85vh; border: 1px solid #d5d9de; width: fit-content; max-width: 100%; }
.matrix table { border-collapse: separate; border-spacing: 0; font-size: .85rem; }
.matrix th { background: #fff; padding: .1rem .45rem; font-weight: 400; border: 0; }
.matrix thead th { position: sticky; top: 0; z-index: 1; padding: .45rem 0; text-align: left; vertical-align: bottom; }
.matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); line-height: 1; padding: 0 .3rem; }
.matrix thead th:first-child { left: 0; z-index: 2; padding: .45rem; color: #4a4f57; }
.matrix tbody th { position: sticky; left: 0; text-align: right; }
.matrix td { min-width: 2rem; height: 1.7rem; padding: 0; text-align: center; border: 0;
             box-shadow: inset 0 0 0 .5px #eceff2; }
.matrix.dense td { min-width: 1.25rem; height: 1.25rem; line-height: 1.25rem; font-size: .68rem; }
.matrix.dense tbody th { line-height: 1.25rem; padding-top: 0; padding-bottom: 0; }
.matrix td.dark { color: #fff; }
.matrix td.right { outline: 1px solid #3c3c3c; outline-offset: -1px; }
@media (max-width: 40rem) { body { margin: 1rem auto; padding: 0 .8rem; } .headline div { flex: 1; }
  figure { overflow-x: auto; } figure img { max-width: none; width: max(46rem, 100%); max-height: none; }
  .matrix tbody th { max-width: 7.5rem; overflow: hidden; text-overflow: ellipsis; } }
pre { background: #f3f5f7; padding: .7rem 1rem; overflow-x: auto; border-radius: .4rem; white-space: pre-wrap;
      overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Attributes:
        caption: What it shows.
        image: File or image.
        name: Of the file `overlays/NAME.png` that it is saved as; "" is not saved.
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
        images: Heading to images.
        legend: Class number to name, of the colors in the images.
        curves: Precision by recall, name to precisions in percent.
        confusion: Pixels by true and predicted class, or None.
        tables: Heading to rows, dictionaries with the same keys; the first column names the row. Rows of classes that
            do not occur are folded.
        facts: Further conditions, name to text.
        links: Whether images and plots link to their files beside the page.
    """

    title: str
    about: str
    command: str
    headline: Mapping[str, str] = field(default_factory=dict)
    numbers: Sequence[tuple[str, str, str]] = ()
    images: Mapping[str, Sequence[Shown]] = field(default_factory=dict)
    legend: Mapping[int, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    confusion: ConfusionMatrix | None = None
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    links: bool = False


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
    legend = _legend(page.legend)
    for heading, shown in page.images.items():
        if shown:
            parts.append(f"<h2>{_text(heading)}</h2>{legend}" + "".join(_figure(one, page.links) for one in shown))
            legend = ""  # once is enough
    parts += _curves(page) + _confusion(page)
    if page.numbers:
        rows = "".join(
            f'<tr><td>{_text(name)}</td><td>{_text(value)}</td><td class="text">{_text(what)}</td></tr>'
            for name, value, what in page.numbers
        )
        table = f'<div class="wide"><table>{_head(("metric", "value", ""))}<tbody>{rows}</tbody></table></div>'
        parts.append(f"<h2>Numbers</h2>{table}")
    for heading, entries in page.tables.items():
        if entries:
            parts.append(f"<h2>{_text(heading)}</h2>{_folded_table(entries)}")
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


def _head(names: Sequence[str], left: Collection[str] = ()) -> str:
    kinds = [' class="name"' if name in left else "" for name in names]
    cells = "".join(f'<th scope="col"{kind}>{_text(name)}</th>' for name, kind in zip(names, kinds))
    return f"<thead><tr>{cells}</tr></thead>"


def _curves(page: EvaluationPage) -> list[str]:
    """Heading, drawing and explanation of the curves, if there are any."""
    if not page.curves:
        return []
    about = "Mean over the classes that occur; the mean of a curve, in its legend, is the average precision."
    file = ' Points: <a href="precision_recall.csv">precision_recall.csv</a>' if page.links else ""
    return [f"<h2>Precision by recall</h2>{precision_recall_svg(page.curves)}<p>{about}{file}</p>"]


def _confusion(page: EvaluationPage) -> list[str]:
    """Heading, most frequent confusions and the matrix, whose names stay in sight, if there is one."""
    matrix = page.confusion
    if matrix is None:
        return []
    parts = ["<h2>Confusion of classes</h2>"]
    pairs = matrix.most_frequent(10)
    if pairs:
        parts.append(f'<p>The most frequent ones:</p><div class="wide">{_table(pairs)}</div>')
    shares, rows, columns = matrix.shares()
    most = f" The {MOST_CLASSES} classes with the most pixels are shown." if len(rows) == MOST_CLASSES else ""
    files = (
        ' <a href="confusion.png">As a plot</a>, <a href="confusion.csv">as numbers of pixels</a>.'
        if page.links
        else ""
    )
    parts.append(
        f"<p>Rows: true class. Columns: predicted class. Numbers: share of the true class, in %.{most}{files}</p>"
    )
    head = "".join(f'<th scope="col"><span>{_text(name)}</span></th>' for name in columns)
    lines = [
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(_share(share, name, column) for share, column in zip(row, columns))
        + "</tr>"
        for name, row in zip(rows, shares.tolist())
    ]
    dense = " dense" if max(len(rows), len(columns)) > DENSE else ""
    parts.append(
        f'<div class="matrix{dense}" tabindex="0"><table><thead><tr><th>true</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    return parts


def _share(share: float, true: str, predicted: str) -> str:
    """A cell of the confusion, with both names for whoever points at it; empty where hardly a pixel is."""
    kinds = [name for name, holds in (("right", true == predicted), ("dark", share > DARK_SHARE)) if holds]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    if share < TOLD_SHARE:
        return f"<td{kind}></td>"
    color = "#{:02x}{:02x}{:02x}".format(*color_of_share(share))
    title = _text(f"{true} as {predicted}: {100 * share:.1f} %")
    return f'<td{kind} style="background:{color}" title="{title}">{100 * share:.0f}</td>'


def _folded_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table; rows of classes that the ground truth does not show are in a second one, folded."""
    absent = [row for row in rows if _is_absent(row)]
    parts = []
    if len(absent) < len(rows):
        parts.append(f'<div class="wide">{_table([row for row in rows if not _is_absent(row)])}</div>')
    if absent:
        told = "1 class does" if len(absent) == 1 else f"{len(absent)} classes do"
        parts.append(
            f"<details><summary>{told} not occur in the ground truth</summary>"
            f'<div class="wide">{_table(absent)}</div></details>'
        )
    return "".join(parts)


def _is_absent(row: Mapping[str, Any]) -> bool:
    """Whether a class has no pixel (object, case) in the ground truth; without counts, whether it has no number."""
    if "pixels" in row:
        return row["pixels"] == 0
    if "tp" in row and "fn" in row:
        return row["tp"] + row["fn"] == 0
    if "cases" in row:
        return row["cases"] == 0
    values = [value for name, value in row.items() if name not in ("class", "kind")]
    return bool(values) and all(value is None or value != value for value in values)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["".join(_cell(column, row.get(column)) for column in columns) for row in rows]
    named = {column for row in rows for column, value in row.items() if isinstance(value, str)}
    return f"<table>{_head(columns, named)}<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody></table>"


def _cell(column: str, value: Any) -> str:
    """A cell; numbers that are percentages have a bar of that length behind them, names stand at the left."""
    if value is None or value != value:
        return "<td>-</td>"
    if isinstance(value, float):
        part = f"{min(max(value, 0.0), 100.0):.1f}%"
        bar = f' class="bar" style="--part:{part}"' if column.partition(" ")[0] in PERCENT else ""
        return f"<td{bar}>{value:.2f}</td>"
    if isinstance(value, int):
        return f"<td>{value:,}</td>"
    return f'<td class="name">{_text(value)}</td>'


def _legend(names: Mapping[int, str]) -> str:
    if not names or len(names) > LONGEST_LEGEND:
        return ""
    entries = "".join(
        '<li><span class="chip" style="background:rgb({},{},{})"></span>'.format(*class_color(number))
        + f"{_text(name)}</li>"
        for number, name in names.items()
    )
    return f'<ul class="legend">{entries}</ul>'


def _figure(shown: Shown, links: bool) -> str:
    """An image as a part of the page: JPEG, or PNG where that is smaller; it links to its file."""
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
    drawn = f'<img {size} alt="{caption}" src="{source}">'
    if links and shown.name and isinstance(shown.image, Image.Image):
        drawn = f'<a href="overlays/{quote(shown.name)}.png">{drawn}</a>'
    return f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"
