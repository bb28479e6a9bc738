# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Draws the figures of the architectures' pages: `python scripts/draw_figures.py` writes docs/figures/*.svg.

A figure is a grid of boxes and the arrows between them. Colors are those of light and dark pages alike.
"""

import html
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
BOX, GAP, MARGIN = (204, 68), (30, 30), 8
FILLS = {"data": "#dbe9f6", "learned": "#fde7c8", "frozen": "#e4e4e4", "output": "#d9efd6", "training": "#f6dada"}

# name -> boxes {key: (column, row, kind, text)}, arrows [(from, to)].
FIGURES: dict[str, tuple[dict[str, tuple[float, float, str, str]], list[tuple[str, str]]]] = {
    "proscale": (
        {
            "image": (0, 1, "data", "image"),
            "backbone": (1, 1, "learned", "backbone\nstrides 4 to 32"),
            "first": (2, 0, "learned", "p1 layers\non s4"),
            "second": (3, 0, "learned", "p2 layers\non s4, s3"),
            "third": (4, 0, "learned", "p3 layers\non s4, s3, s2"),
            "trc": (2.5, 1, "learned", "TRC: gate from s2"),
            "lpe": (3, 2, "learned", "LPE: max pooling\nof the s1 map"),
            "decoder": (5, 0, "learned", "mask decoder\nqueries"),
            "masks": (5, 2, "output", "masks and classes"),
        },
        [
            ("image", "backbone"), ("backbone", "first"), ("first", "second"), ("second", "third"),
            ("backbone", "trc"), ("trc", "second"), ("trc", "first"), ("backbone", "lpe"), ("third", "decoder"),
            ("lpe", "masks"), ("decoder", "masks"),
        ],
    ),
    "vpnext": (
        {
            "image": (0, 1, "data", "image"),
            "vit": (1, 0, "learned", "plain ViT\nstride 16"),
            "fine": (1, 2, "learned", "the same patch\nembedding, stride 4"),
            "vcr": (2, 0, "training", "VCR: auxiliary losses\nin training only"),
            "hiclr": (2.6, 1.2, "learned", "HiCLR, T times:\ndeformable refinement"),
            "classes": (4, 1.2, "output", "class per pixel"),
        },
        [
            ("image", "vit"), ("image", "fine"), ("vit", "vcr"), ("vit", "hiclr"), ("fine", "hiclr"),
            ("hiclr", "classes"),
        ],
    ),
    "unisegformer": (
        {
            "image": (0, 1, "data", "image"),
            "encoder": (1, 1, "learned", "Swin V2 encoder\nfour levels"),
            "exchange": (2, 0, "learned", "cross-level exchange\nupwards, downwards"),
            "unet": (3, 1, "learned", "U-Net decoder\nclasses per scale"),
            "head": (4, 0, "learned", "queries"),
            "masks": (5, 1, "output", "masks and classes"),
            "pre": (2, 2, "training", "pre-training: masked\npatches, texts"),
        },
        [
            ("image", "encoder"), ("encoder", "exchange"), ("exchange", "unet"), ("unet", "head"), ("head", "masks"),
            ("unet", "masks"), ("encoder", "pre"),
        ],
    ),
    "meddensevit": (
        {
            "volume": (0, 1, "data", "volume"),
            "slices": (1, 1, "data", "slices, 2.5-D\nor CT windows"),
            "vit": (2, 0, "learned", "plain ViT\nfour taps"),
            "stem": (2, 2, "learned", "convolutional stem\nfine detail"),
            "msfa": (3, 0, "learned", "MSFA: each pixel\nweights the taps"),
            "path": (4, 1, "learned", "top-down path"),
            "labels": (5, 1, "output", "labels on the scan"),
        },
        [
            ("volume", "slices"), ("slices", "vit"), ("slices", "stem"), ("vit", "msfa"), ("msfa", "path"),
            ("stem", "path"), ("path", "labels"),
        ],
    ),
    "cris": (
        {
            "image": (0, 0, "data", "image"),
            "text": (0, 2, "data", "expression"),
            "resnet": (1, 0, "learned", "CLIP image tower\nthree levels"),
            "tower": (1, 2, "learned", "CLIP text tower\nwords, sentence"),
            "neck": (2, 1, "learned", "neck: levels and\nsentence together"),
            "decoder": (3, 0, "learned", "decoder: pixels\nattend to words"),
            "projector": (4, 1, "learned", "sentence becomes\na 3x3 convolution"),
            "mask": (5, 1, "output", "mask"),
        },
        [
            ("image", "resnet"), ("text", "tower"), ("resnet", "neck"), ("tower", "neck"), ("neck", "decoder"),
            ("tower", "decoder"), ("decoder", "projector"), ("tower", "projector"), ("projector", "mask"),
        ],
    ),
    "unpairseg": (
        {
            "image": (0, 0, "data", "image"),
            "prompt": (0, 1, "data", "points, boxes"),
            "words": (0, 2, "data", "names"),
            "clip": (1, 0, "frozen", "CLIP ConvNeXt\nfrozen"),
            "pixel": (2, 0, "learned", "pixel decoder"),
            "decoder": (3, 0.6, "learned", "prompt decoder\n(stage 1)"),
            "masks": (4, 0.6, "output", "masks, scores"),
            "adapter": (3, 2, "learned", "adapter (stage 2)\nregion to CLIP space"),
            "text": (1, 2, "frozen", "CLIP text tower\nfrozen"),
            "named": (4, 2, "output", "names of masks"),
        },
        [
            ("image", "clip"), ("clip", "pixel"), ("pixel", "decoder"), ("prompt", "decoder"), ("decoder", "masks"),
            ("masks", "adapter"), ("words", "text"), ("text", "adapter"), ("adapter", "named"),
        ],
    ),
    "lavin_dit": (
        {
            "pairs": (0, 0, "data", "examples: pairs of\ninput and answer"),
            "query": (0, 1, "data", "query"),
            "noise": (0, 2, "data", "noise"),
            "vae": (1, 0.5, "frozen", "ST-VAE encoder"),
            "dit": (2, 1, "learned", "J-DiT: joint attention\n3D rotary positions"),
            "flow": (3, 1, "learned", "flow matching\nN steps"),
            "decode": (4, 1, "frozen", "ST-VAE decoder"),
            "answer": (5, 1, "output", "answer"),
        },
        [
            ("pairs", "vae"), ("query", "vae"), ("vae", "dit"), ("noise", "dit"), ("dit", "flow"), ("flow", "decode"),
            ("decode", "answer"),
        ],
    ),
}  # fmt: skip


def corner(column: float, row: float) -> tuple[float, float]:
    """Upper left corner of a box."""
    return MARGIN + column * (BOX[0] + GAP[0]), MARGIN + row * (BOX[1] + GAP[1])


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A line from one box to another, from side to side or, in one column, from edge to edge."""
    (x0, y0), (x1, y1) = corner(*start), corner(*end)
    middle = BOX[1] / 2
    if x1 >= x0 + BOX[0]:
        points = (x0 + BOX[0], y0 + middle, x1, y1 + middle)
    elif y1 > y0:
        points = (x0 + BOX[0] / 2, y0 + BOX[1], x1 + BOX[0] / 2, y1)
    else:
        points = (x0 + BOX[0] / 2, y0, x1 + BOX[0] / 2, y1 + BOX[1])
    return '<line x1="{:.0f}" y1="{:.0f}" x2="{:.0f}" y2="{:.0f}" marker-end="url(#tip)"/>'.format(*points)


def draw(name: str) -> str:
    """Draws a figure as SVG."""
    boxes, arrows = FIGURES[name]
    width = max(corner(column, 0)[0] for column, _, _, _ in boxes.values()) + BOX[0] + MARGIN
    height = max(corner(0, row)[1] for _, row, _, _ in boxes.values()) + BOX[1] + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="sans-serif" font-size="19" text-anchor="middle"><title>{name}</title>',
        '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        '<path d="M0 0 L9 4 L0 8 z" fill="#808890"/></marker></defs>',
        '<g stroke="#808890" stroke-width="1.6">',
        *(arrow(boxes[start][:2], boxes[end][:2]) for start, end in arrows),
        "</g>",
    ]
    for column, row, kind, text in boxes.values():
        x, y = corner(column, row)
        lines = text.split("\n")
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="7" fill="{FILLS[kind]}" '
            'stroke="#808890"/>'
        )
        for number, line in enumerate(lines):
            offset = BOX[1] / 2 + 6.5 + 23 * (number - (len(lines) - 1) / 2)
            parts.append(
                f'<text x="{x + BOX[0] / 2:.0f}" y="{y + offset:.1f}" fill="#1c1f23">{html.escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Writes all figures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        (FOLDER / f"{name}.svg").write_text(draw(name), encoding="utf-8")


if __name__ == "__main__":
    main()
