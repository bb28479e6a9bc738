# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation of expressions: which of a referent's is drawn."""

import random

import pytest

from hfseg.data.collators.referring_collation import draw_expression


def test_kinds_are_drawn_by_weight():
    kinds = ["color", "color", "ordinal"]
    texts = ["the red thing", "the ruddy thing", "the second thing from the left"]
    random.seed(0)
    drawn = [draw_expression(texts, kinds) for _ in range(600)]
    assert drawn.count(texts[2]) / 600 == pytest.approx(1 / 2, abs=0.07)
    drawn = [draw_expression(texts, kinds, {"ordinal": 3.0}) for _ in range(600)]
    assert drawn.count(texts[2]) / 600 == pytest.approx(3 / 4, abs=0.07)
