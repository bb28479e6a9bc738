# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a tab shows of a prediction: the image with colored segments, a line about them, and errors in one line."""

import html
import re
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image, ImageDraw

from ..inference.predictor import Prediction, Prompts
from ..results.colors import segment_colors
from ..results.drawing import outlined

__all__ = ["LARGEST_COUNT", "draw", "in_words", "one_line", "refusal", "status"]

LARGEST_COUNT = 40  # segments that are drawn; the files have all
LONGEST_ERROR = 240  # characters
SHOWN_SECONDS = 8  # of an error


def one_line(text: str, longest: int = LONGEST_ERROR) -> str:
    """Joins a text to one line, cut between words where it is too long.

    >>> one_line("first\\nsecond  third", 14)
    'first second …'
    """
    words = " ".join(text.split())
    return words if len(words) <= longest else words[: longest - 1].rpartition(" ")[0] + " …"


def refusal(error: Exception, model: Any = None) -> gr.Error:
    """The message of an input error: one line, which goes away.

    Args:
        error: What was raised.
        model: Model that was asked; its folder on the server is nobody's business.
    """
    message = str(error).strip() or type(error).__name__
    if model is not None:
        message = message.replace(str(getattr(model.predictor, "folder", "")) or "\0", model.name)
    # Gradio shows messages as HTML.
    return gr.Error(html.escape(one_line(message), quote=False), duration=SHOWN_SECONDS, print_exception=False)


def in_words(texts: Sequence[str]) -> str:
    """Quotes what a user typed, so that Markdown shows it as it is.

    >>> in_words(["a *dog*", "sofa"])
    '“a \\\\*dog\\\\*”, “sofa”'
    """
    escaped = (re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$&])", r"\\\1", one_line(text, 60)) for text in texts)
    return ", ".join(f"“{text}”" for text in escaped)


def _areas(prediction: Prediction) -> list[int]:
    """Pixels of each segment."""
    return [] if prediction.result is None else [int(entry["area"]) for entry in prediction.result.to_coco(1)]


def _labels(prediction: Prediction) -> list[tuple[int, str, tuple[int, int, int]]]:
    """Position, text and color of the segments that are drawn: the largest, each with a text of its own."""
    result = prediction.result
    if result is None:
        return []
    areas, info = _areas(prediction), result.segments_info
    classes = [int(segment["label_id"]) for segment in info]
    colors, _ = segment_colors(info, classes, "instance")
    chosen = sorted(sorted(range(len(areas)), key=lambda index: -areas[index])[:LARGEST_COUNT])
    texts: set[str] = set()
    shown = []
    for index in chosen:
        text = prediction.names.get(classes[index], str(classes[index]))
        if classes.count(classes[index]) > 1:
            text += f" {classes[: index + 1].count(classes[index])}"
        score = info[index].get("score")
        text += "" if score is None else f" ({score:.2f})"
        while text in texts:  # two classes of one name
            text += "'"
        texts.add(text)
        if areas[index]:
            shown.append((index, text, colors[index]))
    return shown


def _draw_prompts(image: Image.Image, prompts: Prompts) -> None:
    """Draws points (+), points that no mask may cover (-) and boxes, as the page draws them on the input."""
    pen, size = ImageDraw.Draw(image), max(round(max(image.size) / 60), 4)
    line = max(size // 3, 1)
    for box in prompts.boxes:
        pen.rectangle(tuple(box), outline="black", width=2 * line)
        pen.rectangle(tuple(box), outline="white", width=line)
    for points, fill, ink in ((prompts.points, "white", "black"), (prompts.negative_points, "black", "white")):
        for x, y in points:
            pen.ellipse((x - size, y - size, x + size, y + size), fill=fill, outline=ink, width=line)
            reach = size - 2 * line
            pen.line((x - reach, y, x + reach, y), fill=ink, width=line)
            if fill == "white":
                pen.line((x, y - reach, x, y + reach), fill=ink, width=line)


def draw(prediction: Prediction | None, opacity: float, prompts: Prompts | None = None) -> Any:
    """What the image with hover labels shows: the image with prompts, and masks of the given opacity."""
    if prediction is None:
        return None
    if prediction.result is not None:
        base = outlined(prediction.image, prediction.result.segmentation)
    else:
        base = (prediction.answer or prediction.image).copy()
    if prompts is not None:
        _draw_prompts(base, prompts)
    result = prediction.result
    shown = _labels(prediction)
    masks: list[Any] = (
        [(result.mask(index) * float(opacity), text) for index, text, _ in shown] if result is not None else []
    )
    colors = {text: "#{:02x}{:02x}{:02x}".format(*color) for _, text, color in shown}
    return gr.AnnotatedImage(value=(base, masks), color_map=colors)


def _missing(prediction: Prediction, prompts: Prompts, areas: Sequence[int]) -> list[str]:
    """Expressions or names that nothing was found for."""
    assert prediction.result is not None
    found = {
        prediction.names.get(int(segment["label_id"]), "")
        for segment, area in zip(prediction.result.segments_info, areas)
        if area
    }
    missing = [text for text in prompts.text if text not in found]
    # A class is reported under the first of its synonyms.
    return missing + [text for text in prompts.labels if text.split(",")[0].strip() not in found]


def _advice(prompts: Prompts) -> str:
    """What may be tried where nothing was found."""
    if prompts.text or prompts.labels:
        return "Try other words."
    if prompts.points or prompts.boxes:
        return "Try another place, or take a point away."
    return "Try a smaller score, another kind of segments or another model."


def status(prediction: Prediction, prompts: Prompts) -> str:
    """A line with the number of segments and the time; it says so where nothing was found."""
    width, height = prediction.image.size
    time_taken, size = f"{prediction.seconds:.2f} s**", f"for {width} x {height} pixels"
    if prediction.result is None:
        return f"**{time_taken} {size}"
    areas = _areas(prediction)
    count = sum(area > 0 for area in areas)
    if not count:
        return f"**Nothing found, {time_taken} {size}. {_advice(prompts)}"
    more = f" (the {LARGEST_COUNT} largest are drawn)" if count > LARGEST_COUNT else ""
    line = f"**{count} segment{'' if count == 1 else 's'}, {time_taken} {size}{more}"
    missing = _missing(prediction, prompts, areas)
    return f"{line}. Nothing found for {in_words(missing)}." if missing else line
