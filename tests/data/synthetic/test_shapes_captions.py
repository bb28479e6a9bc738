# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Captions of shapes, and the vocabularies of their words."""

from hfseg.data.synthetic.shapes_captions import CaptionedShapes, caption_tokenizer, entity_tokenizer


def test_tokenizer_of_entities():
    tokenizer = entity_tokenizer()
    texts = ["An image of circle, sky.", "This is a photo of a LARGE star.", "There is the ring in the scene"]
    tokens = tokenizer(texts, padding="max_length")
    assert all(row[0] == tokenizer.bos_token_id and tokenizer.unk_token_id not in row for row in tokens["input_ids"])
    lengths = [len(row) for row in tokens["input_ids"]]
    assert lengths == [24] * 3 and [sum(mask) for mask in tokens["attention_mask"]] == [9, 11, 9]
    assert tokens["input_ids"][0].index(tokenizer.eos_token_id) == 8  # where CLIP reads
    assert tokenizer.eos_token_id != 2  # which transformers reads as "the largest id", whatever that is
    assert tokenizer("zebra")["input_ids"][1] == tokenizer.unk_token_id


def test_captions_fit_their_vocabulary():
    tokenizer = caption_tokenizer()
    scenes = CaptionedShapes("validation", 40)
    texts = [scenes[index]["text"] for index in range(40)]
    tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
    assert tokens.shape == (40, 40) and len(tokenizer) <= 64
    assert not (tokens == tokenizer.unk_token_id).any() and len(set(texts)) == 40
    assert (tokens[:, -1] != tokenizer.pad_token_id).all()  # the tower reads the last token
