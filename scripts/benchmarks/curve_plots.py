# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Plots with a few lines, as PNG: linear or logarithmic axes, circles at the measurements, a legend below."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from hfseg.results.canvas import fitting, font_of

COLORS = ("#1668b4", "#c4601a", "#0b7a55", "#7a3fb0", "#8a6d00", "#a0326e", "#3d4a57", "#008b9a")
WIDTH, HEIGHT = 900, 520
LEFT, TOP, RIGHT = 96, 56, 28
LINE = 26  # height of a line of the legend
INK, GRID = "#1c1f23", "#d8dde2"

Points = Sequence[tuple[float, float]]


def ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Values for an axis that go from `low` or below to `high` or above.

    Example:
        >>> ticks(0.3, 8, logarithmic=True)
        [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
        >>> ticks(0, 7, logarithmic=False)
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if logarithmic:
        steps = [factor * 10.0**power for power in range(-9, 13) for factor in (1, 2, 5)]
        first = max(place for place, value in enumerate(steps) if value <= low)
        last = min(place for place, value in enumerate(steps) if value >= high and place > first)
        return [float(f"{value:.3g}") for value in steps[first : last + 1]]
    span = max(high - low, 1e-12)
    step = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * step for factor in (1, 2, 5, 10) if span / (factor * step) <= 6)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [float(f"{step * place:.6g}") for place in range(first, last + 1)]


def draw_lines(
    title: str,
    lines: Mapping[str, Points],
    across: str,
    up: str,
    logarithmic: tuple[bool, bool] = (False, False),
    notes: Sequence[str] = (),
) -> Image.Image:
    """Draws lines with axes, grid and a legend.

    Args:
        title: Above.
        lines: Name to (x, y) of the measurements.
        across: What the horizontal axis shows, with its unit.
        up: What the vertical axis shows.
        logarithmic: Of the two axes.
        notes: Below the legend.

    Raises:
        ValueError: There is no point, or one that a logarithmic axis cannot show.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("there is nothing to draw: no line has a point")
    for axis, values in enumerate(zip(*points)):
        if logarithmic[axis] and min(values) <= 0:
            raise ValueError("a logarithmic axis shows positive values only")
    marks = [ticks(min(values), max(values), log) for values, log in zip(zip(*points), logarithmic)]
    below = 74 + LINE * (len(lines) + len(notes))
    image = Image.new("RGB", (WIDTH, HEIGHT + below), "white")
    pen, floor, end = ImageDraw.Draw(image), HEIGHT, WIDTH - RIGHT

    def place(value: float, axis: int) -> float:
        low, high = marks[axis][0], marks[axis][-1]
        scale = math.log if logarithmic[axis] else float
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return LEFT + share * (end - LEFT) if axis == 0 else floor - share * (floor - TOP)

    text, font = fitting(title, WIDTH - 40, 22)
    pen.text((LEFT, 16), text, fill=INK, font=font)
    for mark in marks[0]:
        pen.line((place(mark, 0), TOP, place(mark, 0), floor), fill=GRID)
        pen.text((place(mark, 0), floor + 8), f"{mark:g}", fill=INK, font=font_of(16), anchor="ma")
    for mark in marks[1]:
        pen.line((LEFT, place(mark, 1), end, place(mark, 1)), fill=GRID)
        pen.text((LEFT - 8, place(mark, 1)), f"{mark:g}", fill=INK, font=font_of(16), anchor="rm")
    pen.line((LEFT, TOP, LEFT, floor, end, floor), fill=INK, width=2)
    pen.text(((LEFT + end) / 2, floor + 32), across, fill=INK, font=font_of(17), anchor="ma")
    side = Image.new("RGB", (floor - TOP, 24), "white")
    ImageDraw.Draw(side).text(((floor - TOP) / 2, 2), up, fill=INK, font=font_of(17), anchor="ma")
    image.paste(side.rotate(90, expand=True), (10, TOP))
    for number, (name, line) in enumerate(lines.items()):
        color, places = COLORS[number % len(COLORS)], [(place(x, 0), place(y, 1)) for x, y in sorted(line)]
        if len(places) > 1:
            pen.line(places, fill=color, width=3, joint="curve")
        for x, y in places:
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=color)
        y = floor + 72 + LINE * number
        pen.line((LEFT, y + 10, LEFT + 42, y + 10), fill=color, width=3)
        pen.text((LEFT + 54, y), fitting(name, end - LEFT - 54, 17)[0], fill=color, font=font_of(17))
    for number, note in enumerate(notes):
        text, font = fitting(note, end - 20, 15)
        pen.text((20, floor + 72 + LINE * (len(lines) + number)), text, fill=INK, font=font)
    return image


def save_lines(file: Path, *args: object, **kwargs: object) -> None:
    """Draws and writes; see `draw_lines`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_lines(*args, **kwargs).save(file)  # type: ignore[arg-type]
