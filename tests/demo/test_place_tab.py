# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Points and boxes of the demo: what the field means, and how clicks fill it and are taken back."""

import threading

import pytest

from hfseg import tasks
from hfseg.demo.examples import FOLDER
from hfseg.inference.predictor import Predictor, Prompts

gradio = pytest.importorskip("gradio", reason="extra `demo`")


def test_places_are_read_and_written():
    from hfseg.demo.place_tab import read_places, write_places

    assert read_places("1,2; 3,4").points == [[1, 2], [3, 4]] and read_places("1,2,3,4").boxes == [[1, 2, 3, 4]]
    given = read_places("1,2;\n-3,4.5")
    assert given == Prompts(points=[[1, 2]], negative_points=[[3, 4.5]], boxes=[])
    assert read_places(write_places(given)) == given and not read_places("").points
    for text in ("1", "1,2,3", "a,b", "nan,1", "inf,1", "-1,2,3,4", "--1,2", "1,-2", "-"):
        with pytest.raises(ValueError, match="neither a point"):
            read_places(text)
    with pytest.raises(ValueError, match="Click on an object first"):
        read_places("-1,2")


def test_clicks_fill_the_field_and_are_taken_back():
    from hfseg.demo.place_tab import add_place, undo_place

    text = ""
    for entry in ("1,2#1", "-3,4#2", "1,2#3"):
        text = add_place(text, entry)
    assert text == "1,2; -3,4; 1,2"
    assert undo_place(text) == "1,2; -3,4" and undo_place("1,2") == "" == undo_place("")
    # One kind at a time: what belonged to the other goes, negative points too.
    boxed = add_place(text, "0,0,9,9#4")
    assert boxed == "0,0,9,9" and add_place(boxed, "-5,5#5") == "0,0,9,9; -5,5"
    assert add_place("0,0,9,9; -5,5", "7,7#6") == "7,7" and add_place("-5,5", "7,7#7") == "-5,5; 7,7"


def test_what_the_tab_answers(tmp_path):
    from hfseg.demo.place_tab import PlaceTab
    from hfseg.demo.tabs import Loaded
    from hfseg.demo.visits import Limits

    predictor = Predictor(tasks.checkpoint("unpairseg-tiny-shapes"), promptable=True, progress=False)
    tab = PlaceTab([Loaded("tiny", predictor, threading.Lock())], Limits(prompts=3), tmp_path)
    file = str(FOLDER / "places.png")
    _, status, files, (prediction, prompts) = tab.run("tiny", file, "59,29; -124,160", 0.5)
    assert "1 segment," in status and len(files) == 3 and prompts.negative_points == [[124, 160]]
    assert prediction.result.mask(0)[29, 59] and not prediction.result.mask(0)[160, 124]
    for text, words in (
        ("-1,1", "Click on an object first"),
        ("1,1; 2,2; -3,3; -4,4", "4 prompts at once; the limit is 3"),
        ("500,1", "is not in the image of 192 x 192"),
    ):
        with pytest.raises(gradio.Error, match=words):
            tab.run("tiny", file, text, 0.5)
    # After the last entry is taken back nothing is shown; everything is segmented only when it is asked for.
    assert tab._again("tiny", file, "", 0.5) == tab._again("tiny", file, "-1,1", 0.5) == (None, "", None, None)
    assert "1 segment," in tab._again("tiny", file, "59,29", 0.5)[1]
