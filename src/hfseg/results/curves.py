# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Precision by recall as a drawing that stays sharp at any size (SVG)."""

import html
from collections.abc import Mapping, Sequence

__all__ = ["precision_recall_svg"]

WIDTH, HEIGHT = 640, 420
LEFT, TOP, RIGHT, BOTTOM = 62, 16, 14, 52  # around the axes
# Dark on white, and told apart without color as well.
STYLES = (("#0072b2", ""), ("#d55e00", "9 4"), ("#007a5a", "2 4"), ("#5c4abe", "12 3 2 3"), ("#a0326e", "5 5"))


def precision_recall_svg(curves: Mapping[str, Sequence[float]]) -> str:
    """Draws curves of precision by recall, with the mean precision of each in the legend.

    Args:
        curves: Name to precisions in percent, at recalls that are spread evenly from 0 to 100 %.

    Raises:
        ValueError: There is no curve, more than there are styles, or one of fewer than two points.

    >>> precision_recall_svg({"IoU 0.50": [100.0, 50.0]}).count("<polyline")
    1
    """
    if not 1 <= len(curves) <= len(STYLES):
        raise ValueError(f"There must be 1 to {len(STYLES)} curves; got {len(curves)}.")
    short = [name for name, values in curves.items() if len(values) < 2]
    if short:
        raise ValueError(f"A curve needs two points or more; {short[0]!r} has {len(curves[short[0]])}.")
    title = html.escape("Precision by recall: " + ", ".join(_with_mean(*entry) for entry in curves.items()))
    parts = [f"<title>{title}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"></rect>', *_axes()]
    for (values, (color, dashes)), name in zip(zip(curves.values(), STYLES), curves):
        points = " ".join(
            f"{_x(100 * place / (len(values) - 1)):.1f},{_y(value):.1f}" for place, value in enumerate(values)
        )
        parts.append(
            f'<polyline data-curve="{html.escape(name)}" points="{points}" fill="none" stroke="{color}" '
            f'stroke-width="2.5" stroke-dasharray="{dashes}"></polyline>'
        )
    parts += _legend(curves)
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="15">{"".join(parts)}</svg>'
    )


def _x(recall: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * recall / 100


def _y(precision: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * precision / 100


def _with_mean(name: str, values: Sequence[float]) -> str:
    return f"{name}: {sum(values) / len(values):.1f} %"


def _axes() -> list[str]:
    """Grid, numbers and names of the axes."""
    parts = []
    for tick in range(0, 101, 20):
        x, y = _x(tick), _y(tick)
        parts += [
            f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e1e4e8"></path>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#4a4f57">{tick}</text>',
            f'<text x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end" fill="#4a4f57">{tick}</text>',
        ]
    middle, center = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="#1c1e21">recall, %</text>')
    parts.append(
        f'<text transform="translate(16 {center}) rotate(-90)" text-anchor="middle" fill="#1c1e21">precision, %</text>'
    )
    return parts


def _legend(curves: Mapping[str, Sequence[float]]) -> list[str]:
    """Line, name and mean of each curve: at the lower left, and at the upper right where curves are low."""
    width, height = 76 + 8 * max(len(_with_mean(*entry)) for entry in curves.items()), 24 * len(curves) + 6
    low = all(sum(values) < 50 * len(values) for values in curves.values())
    left, top = (WIDTH - RIGHT - width - 8, TOP + 8) if low else (LEFT + 8, HEIGHT - BOTTOM - height - 8)
    box = f'<rect x="{left}" y="{top}" width="{width}" height="{height}"'
    parts = [f'{box} fill="#fff" fill-opacity="0.85" stroke="#d5d9de" rx="4"></rect>']
    for place, ((name, values), (color, dashes)) in enumerate(zip(curves.items(), STYLES)):
        y = top + 16 + 24 * place
        parts.append(
            f'<path d="M{left + 8} {y}h44" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dashes}"></path>'
            f'<text x="{left + 60}" y="{y + 5}" fill="#1c1e21">{html.escape(_with_mean(name, values))}</text>'
        )
    return parts
