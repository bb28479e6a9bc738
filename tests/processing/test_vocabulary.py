# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Names of classes as texts: vocabularies, templates, embeddings that are kept."""

import pytest
import torch
import torch.nn.functional as F

from contract import peaked
from hfseg import (
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegImageProcessor,
    UnpairSegProcessor,
)
from hfseg.processing import vocabulary
from hfseg.processing.vocabulary import Vocabulary, clean_text
from unpairseg_inputs import tiny_tokenizer
from unpairseg_models import tiny_config


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
    model = peaked(UnpairSegForOpenVocabularySegmentation(tiny_config())).eval()
    _, embeddings = processor.embed_labels(model, {"one": ["a", "b"], "two": ["c"]}, ["{}", "the {}"])
    assert embeddings.shape == (2, 2, 20)
    assert torch.equal(embeddings[1, 0], embeddings[1, 1])  # repeated
    a, b, c = embeddings[0, 0], embeddings[0, 1], embeddings[1, 0]
    assert max(a @ b, a @ c, b @ c) < 0.999  # else the order of names would not matter
    tokens = processor.tokenizer(["a", "the a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = F.normalize(F.normalize(model.get_text_features(tokens["input_ids"]), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(embeddings[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_many_texts_are_embedded_once_and_as_one_by_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HFSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(vocabulary, "TEXTS_KEPT", 6)
    monkeypatch.setattr(vocabulary, "TEXTS_AT_ONCE", 3)
    processor = UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), tiny_tokenizer())
    torch.manual_seed(0)
    model = peaked(UnpairSegForOpenVocabularySegmentation(tiny_config())).eval()
    names = ["abc", "a", "abcde", "ab", "b"]
    sentences = ["{}", "the {}"]
    plain = torch.cat([processor.embed_labels(model, [name], sentences)[1] for name in names])
    assert not list(tmp_path.rglob("*"))  # two texts each are not kept
    assert torch.triu(plain[:, 0] @ plain[:, 0].T, 1).max() < 0.999
    first = processor.embed_labels(model, names, sentences)[1]
    torch.testing.assert_close(first, plain, rtol=1e-5, atol=1e-5)
    calls = []
    monkeypatch.setattr(model, "get_text_features", lambda *tokens: calls.append(tokens))
    assert torch.equal(processor.embed_labels(model, names, sentences)[1], first) and not calls
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
