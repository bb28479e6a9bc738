# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images and text for drawing: every kind of image becomes RGB, text fits its width."""

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.results.canvas import fitting, font_of, to_pil


def test_images_of_every_kind_are_the_same_image():
    array = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for image in (
        array,
        Image.fromarray(array),
        torch.from_numpy(array.transpose(2, 0, 1).copy()),
        torch.from_numpy(array),
    ):
        np.testing.assert_array_equal(np.asarray(to_pil(image)), array)
    gray = array[..., 0]
    for image in (gray, gray[..., None], torch.from_numpy(gray)[None].clone(), torch.from_numpy(gray.copy())):
        np.testing.assert_array_equal(np.asarray(to_pil(image)), np.repeat(gray[..., None], 3, -1))
    with pytest.raises(ValueError, match="float64"):
        to_pil(array / 255)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 6, 3\)"):
        to_pil(array[None])


def test_text_gets_smaller_before_it_gets_shorter():
    text, font = fitting("traffic light", 1000, 20)
    assert text == "traffic light" and font.size == 20
    width = font_of(14).getlength("traffic light")
    text, font = fitting("traffic light", width, 20)
    assert text == "traffic light" and font.size >= 14 and font.getlength(text) <= width
    text, font = fitting("traffic light", 40, 20)
    assert font.size == 10 and text.endswith("...") and "traffic light".startswith(text[:-3])
    assert font.getlength(text) <= 40
