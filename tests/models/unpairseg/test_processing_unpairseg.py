# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's processor: images with prompts, and texts, in one call."""

import pytest

from hfseg import UnpairSegImageProcessor, UnpairSegProcessor
from unpairseg_inputs import photo, tiny_tokenizer


def test_prompts_and_texts_in_one_call():
    processor = UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), tiny_tokenizer())
    batch = processor(photo(30, 60), ["a", "b"], input_points=[[30, 15]], return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 64, 64) and batch["input_ids"].shape[0] == 2
    assert batch["input_points"].tolist() == [[[[32.0, 16.0]]]]
    with pytest.raises(ValueError, match="Give images, text, or both"):
        processor(input_points=[[30, 15]])
