# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Text embeddings on disk: never stale, never fatal."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hfseg.files import embedding_cache
from hfseg.files.embedding_cache import cache_folder, cached_embeddings

TOKENIZER = SimpleNamespace(model_max_length=8, get_vocab=lambda: {"a": 0, "b": 1})
CPU = torch.device("cpu")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HFSEG_CACHE", str(tmp_path))
    return tmp_path / "text_embeddings"


def asked(encoder=None, tokenizer=TOKENIZER, texts=("a", "b"), value=1.0):
    """Reads or makes embeddings; returns them and whether they were made."""
    made = []

    def embed():
        made.append(True)
        return torch.full((len(texts), 3), value)

    torch.manual_seed(0)
    return cached_embeddings(encoder or nn.Linear(2, 2), tokenizer, texts, CPU, embed), bool(made)


def test_kept_by_weights_tokenizer_and_texts(folder):
    first, made = asked()
    assert made and len(list(folder.iterdir())) == 1
    again, made = asked(value=2.0)
    assert not made and torch.equal(again, first)
    other = nn.Linear(2, 2)
    with torch.no_grad():
        other.weight[0, 0] += 1e-6
    renamed = SimpleNamespace(model_max_length=8, get_vocab=lambda: {"a": 1, "b": 0})
    shorter = SimpleNamespace(model_max_length=7, get_vocab=TOKENIZER.get_vocab)
    torch.manual_seed(0)
    half = nn.Linear(2, 2).half()
    for change in ({"encoder": other}, {"encoder": half}, {"tokenizer": renamed}, {"tokenizer": shorter},
                   {"texts": ("b", "a")}, {"texts": ("a", "b", "c")}, {"texts": ("ab",)}):  # fmt: skip
        assert asked(**change)[1], change
    assert len(list(folder.iterdir())) == 8  # no temporary file stays


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{broken json}..", None])
def test_damaged_files_are_made_again(folder, content, caplog):
    asked()
    (file,) = folder.iterdir()
    if content is None:  # another tensor
        embedding_cache.save_file({"other": torch.zeros(1)}, file)
    else:
        file.write_bytes(content)
    value, made = asked(value=5.0)
    assert made and value[0, 0] == 5
    assert not asked(value=6.0)[1]


def test_a_folder_that_cannot_be_written_costs_time_only(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HFSEG_CACHE", str(tmp_path / "file"))
    assert asked()[1] and asked()[1]


def test_where_and_off(monkeypatch, tmp_path):
    monkeypatch.setenv("HFSEG_CACHE", "")
    assert cache_folder() is None and asked()[1] and asked()[1]
    monkeypatch.delenv("HFSEG_CACHE")
    assert cache_folder().parts[-2:] == ("hfseg", "text_embeddings")
