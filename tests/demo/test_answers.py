# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What is said and drawn of a prediction: nothing found, colors of objects, errors of one line."""

import threading

import numpy as np
import pytest
from PIL import Image

from hfseg.inference.predictor import Prediction, Prompts
from hfseg.results.colors import class_color, distinct_color
from hfseg.results.segmentation_result import SegmentationResult

gradio = pytest.importorskip("gradio", reason="extra `demo`")

SIZE = (20, 30)


def found(*parts, names=None):
    """A prediction of masks given by columns, each (left, right, label, score)."""
    masks = [np.broadcast_to((np.arange(30) >= left) & (np.arange(30) < right), SIZE) for left, right, *_ in parts]
    result = SegmentationResult.from_masks(masks, [part[2] for part in parts], [part[3] for part in parts], SIZE)
    return Prediction(Image.new("RGB", SIZE[::-1]), result, names or {0: "cat", 1: "dog"}, seconds=0.5)


@pytest.mark.parametrize(
    "prediction, prompts, line",
    [
        (found(), Prompts(), "**Nothing found, 0.50 s** for 30 x 20 pixels. Try a smaller score"),
        (found((0, 0, 0, 0.9)), Prompts(text=["cat"]), "**Nothing found, 0.50 s** for 30 x 20 pixels. Try other words"),
        (found((0, 0, 0, 0.9)), Prompts(points=[(1, 1)]), "Try another place"),
        (found((0, 9, 0, 0.9)), Prompts(text=["cat"]), "**1 segment, 0.50 s** for 30 x 20 pixels"),
        (
            found((0, 9, 0, 0.9), (0, 0, 1, 0.2), names={0: "cat", 1: "a <b>dog</b>"}),
            Prompts(text=["cat", "a <b>dog</b>"]),
            r"**1 segment, 0.50 s** for 30 x 20 pixels. Nothing found for “a \<b\>dog\</b\>”.",
        ),
        (found((0, 9, 0, 0.9)), Prompts(labels=["cat, kitten", "dog"]), "Nothing found for “dog”."),
        (found((0, 9, 0, 0.9), (9, 20, 0, 0.8)), Prompts(labels=["cat, kitten"]), "**2 segments, 0.50 s**"),
    ],
)
def test_what_was_found_is_said(prediction, prompts, line):
    from hfseg.demo.answers import status

    said = status(prediction, prompts)
    assert line in said and said.count("Nothing found") == line.count("Nothing found") + ("Try another" in line)


def test_objects_have_colors_of_their_own():
    from hfseg.demo.answers import draw

    shown = draw(found((0, 9, 0, 0.9), (9, 20, 0, 0.8), (20, 30, 1, None)), 0.5)
    colors = {"cat 1 (0.90)": distinct_color(0), "cat 2 (0.80)": distinct_color(1), "dog": class_color(1)}
    assert shown.color_map == {text: "#{:02x}{:02x}{:02x}".format(*color) for text, color in colors.items()}
    assert [mask["label"] for mask in shown.value["annotations"]] == list(colors)


def test_prompts_are_drawn_on_the_result():
    from hfseg.demo.answers import draw

    prompts = Prompts(points=[(5, 5)], negative_points=[(24, 14)])
    with Image.open(draw(found(), 0.5, prompts).value["image"]["path"]) as image:
        drawn = np.asarray(image.convert("RGB"))
    assert drawn[3, 3].min() > 200 and drawn[14, 23].min() > 200  # a white disc; a white minus
    assert drawn[12, 26].max() < 60 and drawn[5, 5].max() < 60  # black around it; a black plus


def test_errors_are_one_line_that_goes_away_and_names_no_folder():
    from types import SimpleNamespace

    from hfseg.demo.answers import LONGEST_ERROR, refusal
    from hfseg.demo.tabs import Loaded

    model = Loaded("tiny", SimpleNamespace(folder="/srv/models/tiny"), threading.Lock())
    error = refusal(ValueError("/srv/models/tiny holds\n<img src=x>  and more. " + "word " * 200), model)
    assert error.message.startswith("tiny holds &lt;img src=x&gt; and more. word")
    assert len(error.message) <= LONGEST_ERROR + 6 and error.message.endswith(" …")
    assert 0 < error.duration <= 10 and not error.print_exception
    assert refusal(MemoryError()).message == "MemoryError"
