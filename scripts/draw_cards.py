# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Draws the images of the cards of shipped models: `python scripts/draw_cards.py [NAME ...]`.

`examples.webp` by a shipped model's card is its part of the quickstart's sheet; an image in model_cards/images shows
what `hfseg evaluate` draws of the first scenes of the split `test`, which no model was trained or chosen on; that of
LaVin-DiT is drawn by `scripts/benchmark.py in-context --image`.
"""

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]

import hfseg  # noqa: E402
from hfseg import tasks  # noqa: E402
from hfseg.demo.examples import examples_for  # noqa: E402
from hfseg.demo.overview import draw_sheet, make_card, predictors_of  # noqa: E402

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


def example(name: str) -> Image.Image:
    """Runs a shipped model on its example, as the quickstart does; without the empty part of the sheet."""
    cards = [make_card(predictor, examples_for(predictor)[0]) for predictor in predictors_of(hfseg.checkpoint(name))]
    sheet = draw_sheet(cards)
    paper = Image.new("RGB", sheet.size, sheet.getpixel((0, 0)))
    return sheet.crop(ImageChops.difference(sheet, paper).getbbox())


def save(image: Image.Image, file: Path) -> None:
    """Writes a PNG of at most 256 colors."""
    image.quantize(256).save(file, optimize=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or tasks.shipped_checkpoints():
        example(name).save(Path(hfseg.checkpoint(name)) / "examples.webp", quality=60)  # all eight take 0.2 MB
        if name in CARDS:
            save(draw(name), FOLDER / f"{name}.png")
