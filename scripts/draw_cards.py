# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Draws the images of the cards of shipped models: `python scripts/draw_cards.py [NAME ...]` writes model_cards/images.

Each shows what `hfseg evaluate` draws of the first scenes of the split `test`, which no model was trained or chosen on.
The image of LaVin-DiT is drawn by `scripts/benchmark.py in-context --image`.
"""

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]

import hfseg  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent / "model_cards" / "images"
SCENES = 6
# Model -> options of `hfseg.evaluate`.
CARDS: dict[str, dict] = {
    "unisegformer-tiny-shapes": {"dataset": f"shapes:num_scenes={SCENES},image_size=96"},
    "cris-tiny-shapes": {"dataset": f"shapes:num_scenes={SCENES}"},
    "unpairseg-tiny-shapes": {"dataset": f"shapes:num_scenes={SCENES},image_size=96", "task": "mask-generation"},
}


def draw(name: str) -> Image.Image:
    """Evaluates a shipped model and puts its overlays into two columns."""
    with tempfile.TemporaryDirectory() as place:
        hfseg.evaluate(name, split="test", overlays=SCENES, **CARDS[name]).save(place)
        files = {file.name.rpartition("_")[2]: file for file in Path(place).glob("overlays/*")}
        images = {name: Image.open(file).convert("RGB") for name, file in files.items()}
    images = [images[key] for key in sorted(images)][:SCENES]  # an image may be among the best and the worst
    width, height = min(images[0].width, 900), round(images[0].height * min(1, 900 / images[0].width))
    sheet = Image.new("RGB", (2 * width, height * ((len(images) + 1) // 2)), "white")
    for number, image in enumerate(images):
        sheet.paste(image.resize((width, height)), (number % 2 * width, number // 2 * height))
    return sheet


if __name__ == "__main__":
    for name in sys.argv[1:] or CARDS:
        draw(name).quantize(256).save(FOLDER / f"{name}.png", optimize=True)
