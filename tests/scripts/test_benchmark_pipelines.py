# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Benchmark from JPEG bytes: what it calls agreement and what it shows."""

import numpy as np
import torch
from PIL import Image

from benchmarks.pipelines import LIVE, class_map, photograph, show_ellipses


def test_class_maps_put_small_segments_on_top():
    big, small = np.zeros((4, 4), dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8)
    big[:3] = small[1, 1] = 255
    results = [{"label": "a", "mask": Image.fromarray(small)}, {"label": "b", "mask": Image.fromarray(big)}]
    expected = np.zeros((4, 4), dtype=np.int64)
    expected[:3], expected[1, 1] = 6, 3
    for order in (results, results[::-1]):
        assert np.array_equal(class_map(order, {"a": 2, "b": 5}), expected)


def test_both_sides_are_shown_the_same_objects():
    class Outputs:
        def __init__(self) -> None:
            self.masks_queries_logits = torch.randn(1, 20, 8, 12)
            self.class_queries_logits = torch.randn(1, 20, 134)

    class Model(torch.nn.Module):
        def forward(self):
            return Outputs()

    first, second = Model(), Model()
    for model in (first, second):
        show_ellipses(model)
    one, other = first(), second()
    assert torch.equal(one.masks_queries_logits, other.masks_queries_logits)
    assert torch.equal(one.class_queries_logits, other.class_queries_logits)
    classes = one.class_queries_logits[0].argmax(-1)
    assert (classes[:LIVE] < 133).all() and (classes[LIVE:] == 133).all()
    assert photograph(6, 9)[:2] == b"\xff\xd8"
