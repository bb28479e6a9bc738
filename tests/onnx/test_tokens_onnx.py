# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Ids of the tokenizer in plain Python are those of transformers' tokenizer."""

import json

import pytest
from transformers import AutoProcessor

from hfseg.onnx.tokens import Tokenizer, words_of
from hfseg.tasks import model_folder

TEXTS = [
    "the second star from the left", "it's 42 naïve café's!! ring", "¿qué? 日本 <b>&amp;x", "a_b-c...d  e\tf",
    "THE Ring", "don't we'll they've I'm", "²³½ x٣y", "e\u0301te\u0301", "🙂 ok", "''s", "#5 !7", "the " * 30,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_ids(text):
    folder = model_folder("cris-tiny-shapes")
    processor = AutoProcessor.from_pretrained(str(folder))
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    mine = Tokenizer(content, 12)(text)
    assert mine == processor.encode_text([text], padding="max_length", truncation=True)["input_ids"][0]


def test_words_and_refusals():
    assert words_of("it's 42!? ab") == ["it", "'s", "4", "2", "!?", "ab"]
    assert words_of("#5 a1!7") == ["#", "5", "a", "1", "!", "7"]  # a number ends signs too
    with pytest.raises(ValueError, match="no byte-pair tokenizer"):
        Tokenizer({"model": {"type": "WordLevel"}}, 12)
    folder = model_folder("cris-tiny-shapes")
    with pytest.raises(ValueError, match="is empty"):
        Tokenizer(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")), 12)("  ")
