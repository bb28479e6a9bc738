# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One sheet of what the shipped models do: each runs on an example of the package and gets a card.

A card has the model's name, its input with what was asked, and what came out. No extra of the package is needed, but
nibabel for volumes and timm for backbones of timm.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from .. import tasks
from ..files.images import load_image
from ..inference import predict_volume
from ..inference.files import write_image
from ..inference.predictor import Prediction, Predictor
from ..inference.volume_images import labels_in_ras, slice_prediction
from ..results.canvas import fitting, font_of
from ..results.drawing import overlay
from ..volumes import read_volume
from .examples import Example, examples_for

__all__ = ["Card", "draw_sheet", "make_card", "overview", "predictors_of"]

CELL = 288  # pixels
COLUMNS = 4
GAP, MARGIN, HEAD, CAPTION = 12, 16, 54, 22
MOST_LABELS = 12  # more hide what they name
PAPER, CARD, EDGE, INK, GRAY = (244, 245, 247), (255, 255, 255), (222, 225, 230), (28, 30, 34), (104, 110, 120)
PLANES = ("sagittal", "coronal", "axial")


@dataclass
class Card:
    """What a model did.

    Attributes:
        title: Name of the model.
        about: Its task, size and time, and the example.
        cells: Captions and images.
        found: What came out, in words.
        seconds: Of the model with its processing.
    """

    title: str
    about: str
    cells: list[tuple[str, Image.Image]]
    found: str
    seconds: float


def predictors_of(folder: str | Path) -> list[Predictor]:
    """Loads a model; one of named classes that can also be asked by points comes twice."""
    predictor = Predictor(folder, progress=False)
    if predictor.task != "open-vocabulary":
        return [predictor]
    other = Predictor(folder, promptable=True, progress=False)
    return [predictor] if other.task == predictor.task else [predictor, other]


# --------------------------------------------------------------------------------------------------------------- cards


def in_cell(image: Image.Image, resample: Any = Image.Resampling.BICUBIC) -> Image.Image:
    """Scales an image into a cell."""
    scale = CELL / max(image.size)
    return image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), resample)


def brightened(image: Image.Image) -> tuple[Image.Image, bool]:
    """Scales a dark image up to white, for the eye; tells whether it did."""
    pixels = np.asarray(image)
    brightest = float(np.percentile(pixels, 99.9))
    if brightest >= 128 or brightest == 0:
        return image, False
    return Image.fromarray((pixels * (255 / brightest)).clip(0, 255).astype(np.uint8)), True


def drawn(prediction: Prediction, only: int | None = None, labels: bool = True, by: str = "class") -> Image.Image:
    """Draws segments over their image, at the size of a cell so that their names can be read.

    Args:
        prediction: With a result.
        only: Position of the one segment that is drawn; None draws all.
        labels: Whether names are written, if they are few.
        by: "class" or "instance": what has a color of its own.
    """
    result: Any = prediction.result
    image = in_cell(brightened(prediction.image)[0])
    segments = [dict(info) for info in result.segments_info]
    if only is not None:
        ids, segments = np.asarray(result.mask(only)).astype(np.int32), [{"id": 1, "label_id": only}]
    else:
        ids = np.asarray(result["segmentation"]).astype(np.int32)
    scaled = np.array(Image.fromarray(ids).resize(image.size, Image.Resampling.NEAREST))
    for segment in segments:
        segment.pop("score", None)
    return overlay(
        image,
        scaled,
        segments,
        prediction.names,
        draw_labels=labels and len(segments) <= MOST_LABELS,
        minimum_side=0,
        color_by=by,
    )


def in_words(prediction: Prediction, most: int = 5) -> str:
    """Counts what was found: "2 square, ring, sky"."""
    counts = Counter(prediction.names.get(int(info["label_id"]), "?") for info in prediction.result.segments_info)  # type: ignore[union-attr]
    words = [name if count == 1 else f"{count} {name}" for name, count in counts.items()]
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "") or "nothing"


def _segments(predictor: Predictor, example: Example, prediction: Prediction) -> tuple[list, str]:
    found = in_words(prediction)
    one_class = len(predictor.labels) == 1
    shown = drawn(prediction, labels=not one_class, by="instance" if one_class else "class")
    photo, changed = brightened(prediction.image)
    first = f"names: {', '.join(example.labels)}" if example.labels else "image, brightened" if changed else "image"
    return [(first, in_cell(photo)), (found, shown)], found


def _masks(predictor: Predictor, example: Example, prediction: Prediction) -> tuple[list, str]:
    image = in_cell(prediction.image)
    pen, scale = ImageDraw.Draw(image), image.width / prediction.image.width
    for x, y in example.points:
        x, y = x * scale, y * scale
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill="white", outline="black", width=2)
    for box in example.boxes:
        pen.rectangle([value * scale for value in box], outline="black", width=4)
        pen.rectangle([value * scale for value in box], outline="white", width=2)
    asked = ", ".join(
        f"{count} {kind}{'s' * (count != 1)}"
        for kind, count in (("point", len(example.points)), ("box", len(example.boxes)))
        if count
    )
    found = f"{len(prediction)} mask{'s' * (len(prediction) != 1)}"
    return [(asked or "image", image), (found, drawn(prediction, labels=False, by="instance"))], found


def _expressions(predictor: Predictor, example: Example, prediction: Prediction) -> tuple[list, str]:
    cells = [("image", in_cell(prediction.image))]
    places = {int(info["label_id"]): place for place, info in enumerate(prediction.result.segments_info)}  # type: ignore[union-attr]
    for number, text in enumerate(example.text):
        shown = in_cell(prediction.image) if number not in places else drawn(prediction, places[number], labels=False)
        cells.append((f"“{text}”", shown))
    return cells, f"{len(places)} of {len(example.text)} expressions"


def _answer(predictor: Predictor, example: Example, prediction: Prediction) -> tuple[list, str]:
    cells = [(f"example: {kind}", in_cell(load_image(path))) for kind, path in zip(("input", "target"), example.pair)]
    cells += [("query", in_cell(prediction.image)), ("generated", in_cell(prediction.answer))]  # type: ignore[arg-type]
    return cells, f"an image of {prediction.answer.width} x {prediction.answer.height}"  # type: ignore[union-attr]


_DRAWN: dict[str, Callable[..., tuple[list, str]]] = {
    "segments": _segments,
    "labels": _segments,
    "prompts": _masks,
    "text": _expressions,
    "examples": _answer,
}


def _volume(predictor: Predictor, example: Example) -> tuple[list, str, float]:
    """Three planes through the middle of what was found, and the first of them without colors."""
    start = time.perf_counter()
    volume = read_volume(example.path, "MR")
    found = predict_volume(predictor.pipe.model, predictor.image_processor, volume, modality="MR", progress=False)
    seconds = time.perf_counter() - start
    labels = labels_in_ras(found)
    places = np.argwhere(labels > 0)
    center = places.mean(0).round().astype(int) if len(places) else np.array(labels.shape) // 2
    cells: list[tuple[str, Image.Image]] = []
    for axis, plane in enumerate(PLANES):
        prediction = slice_prediction(volume, labels, axis, int(center[axis]), predictor.labels)
        if not cells:
            cells.append((f"{plane} slice", in_cell(prediction.image)))
        cells.append((f"{plane}: {in_words(prediction)}", drawn(prediction)))
    amounts = list(found.milliliters_per_class.items())[1:]
    return cells, ", ".join(f"{name} {amount:.1f} ml" for name, amount in amounts), seconds


def make_card(predictor: Predictor, example: Example) -> Card:
    """Runs a model on an example.

    Raises:
        ImportError, ValueError: As the model and its readers say.
    """
    if example.is_volume:
        cells, found, seconds = _volume(predictor, example)
    else:
        prediction = predictor(load_image(example.path), example.prompts())
        cells, found = _DRAWN[tasks.find(predictor.task).demo](predictor, example, prediction)
        seconds = prediction.seconds
    size = predictor.loaded.num_parameters / 1e6
    task = "medical volumes" if example.is_volume else predictor.task
    about = f"{task}, {size:.1f} M parameters, {seconds:.2f} s · {example.about}"
    return Card(predictor.folder.resolve().name, about, cells, found, seconds)


# --------------------------------------------------------------------------------------------------------------- sheet


def _place(cards: Sequence[Card]) -> list[tuple[int, int, int]]:
    """Row, first column and width in columns of every card; narrow ones share a row."""
    places, rows, open_row = [], 0, None
    for card in cards:
        width = 2 if len(card.cells) <= 2 else COLUMNS
        if width < COLUMNS and open_row is not None:
            places.append((open_row, COLUMNS - width, width))
            open_row = None
            continue
        places.append((rows, 0, width))
        open_row = rows if width < COLUMNS else open_row
        rows += 1
    return places


def draw_sheet(cards: Sequence[Card]) -> Image.Image:
    """Draws cards on one sheet, four cells wide.

    Raises:
        ValueError: Without cards.
    """
    if not cards:
        raise ValueError("There is nothing to draw: no model is shipped with this package.")
    places = _place(cards)
    column = CELL + GAP
    width = MARGIN * 2 + COLUMNS * column + 2 * GAP
    height = HEAD + CAPTION + CELL + 2 * GAP  # of a card
    rows = max(row for row, _, _ in places) + 1
    sheet = Image.new("RGB", (width, MARGIN * 2 + rows * height + (rows - 1) * GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for card, (row, first, columns) in zip(cards, places):
        left = MARGIN + first * (column + GAP // 2)
        right = left + columns * column + (GAP if columns == COLUMNS else 0) + GAP // 2
        top = MARGIN + row * (height + GAP)
        pen.rounded_rectangle((left, top, right, top + height), radius=10, fill=CARD, outline=EDGE)
        inside = right - left - 2 * GAP
        for text, size, color, down in ((card.title, 21, INK, 20), (card.about, 14, GRAY, 43)):
            words, font = fitting(text, inside, size)
            pen.text((left + GAP, top + down), words, font=font, fill=color, anchor="lm")
        for number, (caption, image) in enumerate(card.cells[:columns]):
            x, y = left + GAP + number * column, top + HEAD + CAPTION
            words, font = fitting(caption, CELL, 14)
            pen.text((x, y - CAPTION / 2), words, font=font, fill=INK, anchor="lm")
            sheet.paste(image, (x, y))
    return sheet


def _order(name: str) -> tuple[bool, str]:
    """Real images before drawn scenes."""
    return name.endswith("-shapes"), name


def overview(output_dir: str | Path = "outputs/quickstart", say: Callable[[str], None] = print) -> Path:
    """Runs every shipped model on an example and draws the sheet `overview.png`.

    A model that needs an extra which is not installed is named and left out.

    Args:
        output_dir: Folder of the sheet.
        say: Takes a line per model.

    Returns:
        The file.

    Raises:
        ValueError: No model is shipped.
    """
    font_of(12)  # fails at once, not after the models, where Pillow has no fonts
    cards = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more do nothing for networks this small, and stall where the machine is busy
    try:
        for name in sorted(tasks.shipped_checkpoints(), key=_order):
            try:
                for predictor in predictors_of(tasks.checkpoint(name)):
                    card = make_card(predictor, examples_for(predictor)[0])
                    cards.append(card)
                    say(f"{name:<29} {predictor.task:<16} {card.found} ({card.seconds:.2f} s)")
            except ImportError as error:
                say(f"{name:<29} left out: {str(error).strip().splitlines()[0]}")
    finally:
        torch.set_num_threads(threads)
    file = Path(output_dir) / "overview.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_image(file, draw_sheet(cards))
