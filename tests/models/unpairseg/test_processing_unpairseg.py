# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: images, prompts, names and results; the authors' numbers, both backends, bad input, pipelines."""

import pytest
import torch
import torch.nn.functional as F

from hfseg import (
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegImageProcessor,
    UnpairSegProcessor,
)
from hfseg.models.unpairseg.processing_unpairseg import Vocabulary, clean_text
from unpairseg_inputs import tiny_tokenizer
from unpairseg_models import tiny_config

# The authors' numbers.


# Prompts.


# Results.


# Names.


def test_vocabularies():
    assert Vocabulary.read(["car", "person, pedestrian"]).names == (("car",), ("person", "pedestrian"))
    assert Vocabulary.read({"vehicle": ["car", "bus"], "road": []}).names == (("car", "bus"), ("road",))
    for wrong, message in (([], "is empty"), ({}, "is empty"), (["a", " a"], "twice"), (["a", " "], "position 1")):
        with pytest.raises(ValueError, match=message):
            Vocabulary.read(wrong)
    assert clean_text("  fish &amp;amp; chips \n") == "fish & chips"


def test_synonyms_are_averaged_over_templates_and_kept_apart():
    processor = UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), tiny_tokenizer())
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(tiny_config()).eval()
    _, embeddings = processor.embed_labels(model, {"one": ["a", "b"], "two": ["c"]}, ["{}", "the {}"])
    assert embeddings.shape == (2, 2, 20)
    assert torch.equal(embeddings[1, 0], embeddings[1, 1])  # repeated
    tokens = processor.tokenizer(["a", "the a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = F.normalize(F.normalize(model.get_text_features(tokens["input_ids"]), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(embeddings[0, 0], expected, rtol=1e-5, atol=1e-5)


# Pipelines.
