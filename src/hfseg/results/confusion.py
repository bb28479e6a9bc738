# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Drawing of a confusion matrix."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .canvas import font_of

__all__ = ["confusion_plot"]


def confusion_plot(
    confusion: Any, row_names: Sequence[str], column_names: Sequence[str], title: str = ""
) -> Image.Image:
    """Drawing of a confusion matrix: the share of each true class (row) that is predicted as each class (column).

    Shares are written in percent where the cells have room. One hue from white to dark blue carries them, so that the
    order of lightness tells the same as the color. Classes that occur neither in truth nor in prediction are left
    out, and so are rows without truth.

    Args:
        confusion: Counts, row = true class, column = predicted class.
        row_names: Names of the rows.
        column_names: Names of the columns.
        title: Line above the matrix.

    Raises:
        ValueError: If the names do not fit the matrix, or it holds nothing.

    Shape:
        confusion: (R, C).
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.shape != (len(row_names), len(column_names)):
        raise ValueError(
            f"confusion has shape {counts.shape}, but there are {len(row_names)} row and {len(column_names)} column "
            "names; give one name per row and column"
        )
    rows = np.flatnonzero(counts.sum(1) > 0).tolist()
    shown_names = {row_names[row] for row in rows}
    columns = [c for c in range(counts.shape[1]) if counts[:, c].any() or column_names[c] in shown_names]
    if len(rows) == 0:
        raise ValueError("confusion holds no count; there is nothing to draw")
    shares = counts[rows] / counts[rows].sum(1, keepdims=True)
    shares = shares[:, columns]  # (rows, columns)

    cell = int(np.clip(900 // len(columns), 14, 52))
    label_font = font_of(min(max(round(cell * 0.6), 11), 18))
    number_font = font_of(max(round(cell * 0.36), 10))
    title_font = font_of(18)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def extent(names: Sequence[str]) -> int:
        return math.ceil(max(probe.textlength(name, font=label_font) for name in names))

    kept_rows, kept_columns = [row_names[row] for row in rows], [column_names[c] for c in columns]
    left, head = extent(kept_rows) + 44, extent(kept_columns) + 20
    top = head + (34 if title else 8) + 24
    width, height = cell * len(columns), cell * len(rows)
    bar_left = left + width + 24
    right = bar_left + 90
    canvas_width = max(right, math.ceil(probe.textlength(title, font=title_font)) + 24)
    result = Image.new("RGB", (canvas_width, max(top + height + 16, top + 140)), "white")
    draw = ImageDraw.Draw(result)
    if title:
        draw.text((12, 8), title, font=title_font, fill="black")

    lines = (222, 222, 222) if cell >= 28 else (242, 242, 242)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            x, y = left + j * cell, top + i * cell
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=_color_of(share), outline=lines)
            if cell >= 28 and share >= 0.005:
                ink = "white" if share > 0.45 else "black"
                center = (x + cell / 2, y + cell / 2)
                draw.text(center, f"{100 * share:.0f}", font=number_font, fill=ink, anchor="mm")
        draw.text((left - 8, top + i * cell + cell / 2), kept_rows[i], font=label_font, fill="black", anchor="rm")
    for j, name in enumerate(kept_columns):
        text = Image.new("L", (math.ceil(probe.textlength(name, font=label_font)) + 4, cell), 0)
        ImageDraw.Draw(text).text((2, cell / 2), name, font=label_font, fill=255, anchor="lm")
        text = text.rotate(90, expand=True)
        result.paste("black", (left + j * cell, top - 6 - text.height), text)
    draw.text((left + width / 2, top - head - 10), "predicted", font=label_font, fill=(90, 90, 90), anchor="mm")
    side = Image.new("L", (60, 24), 0)
    ImageDraw.Draw(side).text((30, 12), "truth", font=label_font, fill=255, anchor="mm")
    side = side.rotate(90, expand=True)
    result.paste((90, 90, 90), (8, top + max(0, height // 2 - side.height // 2)), side)
    _draw_scale(draw, bar_left, top, max(min(height, 300), 120))
    return result


def _color_of(share: float) -> tuple[int, int, int]:
    """From white to dark blue."""
    red, green, blue = np.round(255 + (np.array([8, 48, 107]) - 255) * share).astype(int).tolist()
    return red, green, blue


def _draw_scale(draw: ImageDraw.ImageDraw, left: int, top: int, length: int) -> None:
    """Draws what the colors mean."""
    for step in range(length):
        draw.line((left, top + step, left + 18, top + step), fill=_color_of(1 - step / (length - 1)))
    draw.rectangle((left, top, left + 18, top + length), outline=(120, 120, 120))
    small = font_of(12)
    for share, name in ((1.0, "100 %"), (0.5, "50 %"), (0.0, "0 %")):
        draw.text((left + 24, top + (1 - share) * length), name, font=small, fill="black", anchor="lm")
