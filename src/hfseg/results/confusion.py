# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A confusion matrix: its most frequent confusions, and a drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .canvas import font_of

__all__ = ["MOST_CLASSES", "ConfusionMatrix", "color_of_share", "confusion_plot"]

MOST_CLASSES = 200  # of a drawing or table; with more, nobody finds a class


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts by true class and predicted class.

    Attributes:
        counts: (R, C), row = true class, column = predicted class; column i < R is the class of row i.
        row_names: Names of the R rows.
        column_names: Names of the C columns.
    """

    counts: np.ndarray
    row_names: Sequence[str]
    column_names: Sequence[str]

    def shares(self, maximum: int = MOST_CLASSES) -> tuple[np.ndarray, list[str], list[str]]:
        """Share of each true class that is predicted as each class, and the names of rows and columns.

        Rows without truth are left out, and columns that neither occur in the truth nor are predicted. Of more than
        `maximum` rows (columns) those with the largest counts are kept, in their order.

        Raises:
            ValueError: If the matrix holds nothing.

        Shape:
            Output: (rows, columns), fractions of the whole row.
        """
        counts = np.asarray(self.counts, dtype=np.float64)
        rows = np.flatnonzero(counts.sum(1) > 0)
        if len(rows) == 0:
            raise ValueError("confusion holds no count; there is nothing to draw")
        rows = _largest(rows, counts.sum(1), maximum)
        names = {self.row_names[row] for row in rows.tolist()}
        in_truth = np.array([name in names for name in self.column_names])
        columns = np.flatnonzero(counts.any(0) | in_truth)
        columns = _largest(columns, np.where(in_truth, np.inf, counts.sum(0)), max(maximum, int(in_truth.sum())))
        shares = counts[np.ix_(rows, columns)] / counts[rows].sum(1, keepdims=True)
        kept = (
            [self.row_names[row] for row in rows.tolist()],
            [self.column_names[column] for column in columns.tolist()],
        )
        return shares, *kept

    def most_frequent(self, count: int = 20) -> list[dict[str, Any]]:
        """Pairs of a true class and another predicted one, those with the most pixels first.

        Returns:
            Rows of `true class`, `predicted class`, `pixels` and `share of true class` in percent.
        """
        counts = np.array(self.counts, dtype=np.int64)
        totals = counts.sum(1)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:count]
        rows = []
        for row, column in zip(*(part.tolist() for part in np.unravel_index(order, counts.shape))):
            if counts[row, column]:
                pixels = int(counts[row, column])
                pair = {"true class": self.row_names[row], "predicted class": self.column_names[column]}
                rows.append({**pair, "pixels": pixels, "share of true class": 100 * pixels / float(totals[row])})
        return rows


def _largest(indices: np.ndarray, sizes: np.ndarray, maximum: int) -> np.ndarray:
    """Those of the indices with the largest sizes, in their order."""
    return np.sort(indices[np.argsort(-sizes[indices], kind="stable")[:maximum]])


def confusion_plot(
    confusion: Any, row_names: Sequence[str], column_names: Sequence[str], title: str = ""
) -> Image.Image:
    """Drawing of a confusion matrix: the share of each true class (row) that is predicted as each class (column).

    Shares are written in percent where the cells have room. One hue from white to dark blue carries them, so that the
    order of lightness tells the same as the color. Classes that occur neither in truth nor in prediction are left
    out, and so are rows without truth, and classes beyond the `MOST_CLASSES` largest.

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
    shares, kept_rows, kept_columns = ConfusionMatrix(counts, row_names, column_names).shares()

    cell = int(np.clip(900 // len(kept_columns), 17, 52))
    label_font = font_of(min(max(round(cell * 0.6), 13), 18))
    number_font = font_of(max(round(cell * 0.36), 10))
    title_font = font_of(18)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def extent(names: Sequence[str]) -> int:
        return math.ceil(max(probe.textlength(name, font=label_font) for name in names))

    left, head = extent(kept_rows) + 44, extent(kept_columns) + 20
    top = head + (34 if title else 8) + 24
    width, height = cell * len(kept_columns), cell * len(kept_rows)
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
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=color_of_share(share), outline=lines)
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
    side = Image.new("L", (120, 24), 0)
    ImageDraw.Draw(side).text((60, 12), "ground truth", font=label_font, fill=255, anchor="mm")
    side = side.rotate(90, expand=True)
    result.paste((90, 90, 90), (8, top + max(0, height // 2 - side.height // 2)), side)
    _draw_scale(draw, bar_left, top, max(min(height, 300), 120))
    return result


def color_of_share(share: float) -> tuple[int, int, int]:
    """From white (0) to dark blue (1)."""
    red, green, blue = np.round(255 + (np.array([8, 48, 107]) - 255) * share).astype(int).tolist()
    return red, green, blue


def _draw_scale(draw: ImageDraw.ImageDraw, left: int, top: int, length: int) -> None:
    """Draws what the colors mean."""
    for step in range(length):
        draw.line((left, top + step, left + 18, top + step), fill=color_of_share(1 - step / (length - 1)))
    draw.rectangle((left, top, left + 18, top + length), outline=(120, 120, 120))
    small = font_of(12)
    for share, name in ((1.0, "100 %"), (0.5, "50 %"), (0.0, "0 %")):
        draw.text((left + 24, top + (1 - share) * length), name, font=small, fill="black", anchor="lm")
