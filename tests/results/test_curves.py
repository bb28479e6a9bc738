# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Curves of precision by recall: the points lie where the numbers say, and text stays text."""

import xml.etree.ElementTree as ElementTree

import pytest

from hfseg.results.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, precision_recall_svg


def test_points_lie_where_the_numbers_say():
    curves = {"IoU 0.50": [100.0, 80.0, 0.0], "<b> & c": [50.0, 50.0, 25.0]}
    root = ElementTree.fromstring(precision_recall_svg(curves))
    lines = root.findall("polyline")
    assert [line.get("data-curve") for line in lines] == list(curves)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for line, values in zip(lines, curves.values()):
        points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        assert [(x - LEFT) / width for x, _ in points] == pytest.approx([0, 0.5, 1], abs=1e-3)
        assert [100 * (HEIGHT - BOTTOM - y) / height for _, y in points] == pytest.approx(values, abs=0.1)
    assert len({(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}) == 2
    box = root.findall("rect")[1]  # of the legend, away from low curves
    low = ElementTree.fromstring(precision_recall_svg({"a": [30.0, 20.0]})).findall("rect")[1]
    assert float(box.get("y")) > HEIGHT / 2 > float(low.get("y")) and float(box.get("x")) < float(low.get("x"))
    texts = [text.text for text in root.findall("text")]
    assert "IoU 0.50: 60.0 %" in texts and "<b> & c: 41.7 %" in texts and "recall, %" in texts


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="There must be 1 to 5 curves; got 0"):
        precision_recall_svg({})
    with pytest.raises(ValueError, match="There must be 1 to 5 curves; got 6"):
        precision_recall_svg({str(number): [0.0, 1.0] for number in range(6)})
    with pytest.raises(ValueError, match="'a' has 1"):
        precision_recall_svg({"a": [1.0]})
