# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Draws how cost grows: `python scripts/benchmarks/growth_plots.py` writes docs/figures/growth_*.svg.

A figure has one or two panels, each with logarithmic axes and a few lines, from the results that
`python scripts/benchmark.py growth --parts PART --output model_cards/results/growth_PART.json` writes. Circles are
measurements.
"""

import html
import json
import math
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER, RESULTS = ROOT / "docs" / "figures", ROOT / "model_cards" / "results"
PANEL = (430, 250)  # of the axes, in pixels
LEFT, TOP, BETWEEN, BOTTOM, RIGHT = 74, 86, 110, 58, 24
INK, GRID, PAPER = "#1c1f23", "#d8dde2", "#ffffff"
OURS, PEER = "#1668b4", "#c4601a"


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        column: Of the table.
        name: Beside its last point.
        color: Its color.
        dashed: Whether it is a peer's.
        only: Column and value of the rows that it takes, of tables with several kinds of rows.
    """

    column: str
    name: str
    color: str
    dashed: bool = False
    only: tuple[str, str] | None = None


@dataclass(frozen=True)
class Panel:
    """Axes with lines: what stands above them, what is below and at the left."""

    title: str
    below: str
    lines: tuple[Line, ...]


def _pair(column: str, only: tuple[str, str] | None = None) -> tuple[Line, Line]:
    """Ours and the peer's line of a column."""
    peer = Line(f"peer {column}", "transformers", PEER, True, only)
    return Line(f"ours {column}", "hfseg", OURS, False, only), peer


# Name of figure and result -> the column that grows, and the panels.
FIGURES: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "side": (
        "side",
        (
            Panel("forward pass, ms of CPU", "side of the image, pixels", _pair("ms")),
            Panel("peak of tensor memory, MiB", "side of the image, pixels", _pair("MiB")),
        ),
    ),
    "targets": ("targets", (Panel("loss and gradients, ms of CPU", "targets in the image", _pair("ms")),)),
    "queries": (
        "queries",
        tuple(
            Panel(f"{task}, ms of CPU", "queries that show an object, of 300", _pair("ms", ("task", task)))
            for task in ("panoptic", "instance", "semantic")
        ),
    ),
    "names": (
        "names",
        (
            Panel("an image with known names, ms of CPU", "names", (Line("image ms", "image", OURS),)),
            Panel(
                "embedding of names, ms of CPU",
                "names",
                (Line("embedding ms", "first time", PEER), Line("from disk ms", "again", OURS)),
            ),
        ),
    ),
    "folder": (
        "images",
        (
            Panel("ms of CPU per image after the first", "images in the folder", (
                Line("ms per image after the first", "hfseg predict", OURS),
            )),
            Panel("peak memory of the process, MiB", "images in the folder", (
                Line("peak MiB", "hfseg predict", OURS),
            )),
        ),
    ),
}  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Values for an axis, two at least: 1, 2, 5 times powers of ten, from `low` or below to `high` or above.

    Example:
        >>> ticks(3, 40)
        [2.0, 5.0, 10.0, 20.0, 50.0]
    """
    steps = [factor * 10.0**power for power in range(-3, 8) for factor in (1, 2, 5)]
    first = max((value for value in steps if value <= low), default=steps[0])
    last = min((value for value in steps if value >= high and value > first), default=steps[-1])
    return [value for value in steps if first <= value <= last]


def even_ticks(high: float) -> list[float]:
    """Values for an axis from zero, evenly spaced: by 1, 2 or 5 times a power of ten, to `high` or above.

    Example:
        >>> even_ticks(11.8)
        [0.0, 5.0, 10.0, 15.0]
    """
    step = next(f * 10.0**power for power in range(-3, 8) for f in (1, 2, 5) if high / (f * 10.0**power) <= 4)
    return [step * place for place in range(math.ceil(high / step) + 1)]


def shown(value: float) -> str:
    """A number of an axis: thousands with commas, no needless digits."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def points_of(line: Line, rows: list[dict], grows: str) -> list[tuple[float, float]]:
    """The points of a line, in the order of the table."""
    chosen = [row for row in rows if line.only is None or row[line.only[0]] == line.only[1]]
    return [(float(row[grows]), float(row[line.column])) for row in chosen if row.get(line.column) is not None]


def draw_panel(panel: Panel, rows: list[dict], grows: str, left: float) -> list[str]:
    """Axes, grid, lines and their names."""
    lines = [(line, points_of(line, rows, grows)) for line in panel.lines]
    places = sorted({x for _, points in lines for x, _ in points})
    values = [y for _, points in lines for _, y in points]
    grows_little = max(values) < 2 * min(values)  # then from zero, so that it is seen how little
    marks = even_ticks(max(values)) if grows_little else ticks(min(values), max(values))

    def across(x: float) -> float:
        share = math.log(x / places[0]) / math.log(places[-1] / places[0])
        return left + 14 + share * (PANEL[0] - 28)

    def up(y: float) -> float:
        if grows_little:
            return TOP + PANEL[1] * (1 - y / marks[-1])
        return TOP + PANEL[1] * (1 - math.log(y / marks[0]) / math.log(marks[-1] / marks[0]))

    end, floor = left + PANEL[0], TOP + PANEL[1]
    parts = [f'<text x="{left:.0f}" y="24" font-weight="bold">{html.escape(panel.title)}</text>']
    for mark in marks:
        parts.append(f'<line x1="{left:.0f}" y1="{up(mark):.1f}" x2="{end:.0f}" y2="{up(mark):.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{left - 8:.0f}" y="{up(mark) + 5:.1f}" text-anchor="end">{shown(mark)}</text>')
    for place in places:
        parts.append(f'<text x="{across(place):.1f}" y="{floor + 20}" text-anchor="middle">{shown(place)}</text>')
    middle = left + PANEL[0] / 2
    parts.append(f'<text x="{middle:.0f}" y="{floor + 44}" text-anchor="middle">{html.escape(panel.below)}</text>')
    parts.append(f'<path d="M{left:.0f} {TOP} V{floor} H{end:.0f}" fill="none" stroke="{INK}"/>')
    for number, (line, points) in enumerate(lines):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="7 5"' if line.dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="2.4"{dash}/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.6" fill="{line.color}"/>' for x, y in points]
        y = 46 + 21 * number
        parts.append(f'<line x1="{left + 14:.0f}" y1="{y - 5}" x2="{left + 46:.0f}" y2="{y - 5}" stroke="{line.color}" '
                     f'stroke-width="2.4"{dash}/>')  # fmt: skip
        parts.append(f'<text x="{left + 53:.0f}" y="{y}" fill="{line.color}">{html.escape(line.name)}</text>')
    return parts


def draw(name: str) -> str:
    """Draws a figure as SVG from its result."""
    content = json.loads((RESULTS / f"growth_{name}.json").read_text(encoding="utf-8"))
    (rows,) = content["tables"].values()
    grows, panels = FIGURES[name]
    width = LEFT + len(panels) * PANEL[0] + (len(panels) - 1) * BETWEEN + RIGHT
    height = TOP + PANEL[1] + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" '
        f'font-size="15" fill="{INK}"><title>How cost grows with {html.escape(panels[0].below)}</title>',
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
    ]
    for number, panel in enumerate(panels):
        parts += draw_panel(panel, rows, grows, LEFT + number * (PANEL[0] + BETWEEN))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Writes the figures of what was measured."""
    for name in FIGURES:
        if not (RESULTS / f"growth_{name}.json").is_file():
            print(f"{name}: not measured")
            continue
        (FOLDER / f"growth_{name}.svg").write_text(draw(name), encoding="utf-8")


if __name__ == "__main__":
    main()
