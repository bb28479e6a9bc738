# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers without words, or with more than the model knows, are refused wherever they are read."""

import json
import shutil

import pytest
from PIL import Image
from transformers import AutoProcessor, CLIPTokenizer, pipeline

import hfseg
from hfseg.commands.main import main
from hfseg.files.tokenizers import check_tokenizer, check_vocabulary

EXPRESSION = {"cris": ["--text", "the circle"], "unpairseg": ["--labels", "circle,square"]}


@pytest.fixture(params=["cris", "unpairseg"])
def shipped(request, tmp_path):
    """A copy of a shipped folder, and what `predict` asks it."""
    folder = tmp_path / request.param
    shutil.copytree(hfseg.checkpoint(f"{request.param}-tiny-shapes"), folder)
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "a.png")
    return folder, EXPRESSION[request.param]


def refused(folder, words, capsys):
    out = folder.parent / "out"
    status = main(["predict", str(folder.parent / "a.png"), "--model", str(folder), *words, "-o", str(out)])
    error = capsys.readouterr().err
    assert status == 2 and "Traceback" not in error and not (out / "a.json").exists(), error
    return error


def test_no_vocabulary(shipped, capsys):
    """transformers builds a tokenizer of special tokens where tokenizer.json is missing, and goes on."""
    folder, words = shipped
    (folder / "tokenizer.json").unlink()
    error = refused(folder, words, capsys)
    assert "tokenizer" in error and str(folder) in error


def test_no_vocabulary_through_transformers(tmp_path):
    folder = tmp_path / "cris"
    shutil.copytree(hfseg.checkpoint("cris-tiny-shapes"), folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="no words"):
        AutoProcessor.from_pretrained(folder)
    with pytest.raises(ValueError, match="no words"):
        pipeline("referring-image-segmentation", model=str(folder))


def test_more_tokens_than_embeddings(shipped, capsys):
    """A tokenizer of another model: its ids would read past the embeddings."""
    folder, words = shipped
    read = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = read["model"]["vocab"]
    vocabulary |= {f"further{k}": max(vocabulary.values()) + 1 + k for k in range(2000)}
    (folder / "tokenizer.json").write_text(json.dumps(read))
    assert "do not belong together" in refused(folder, words, capsys)


def test_the_rule():
    empty = CLIPTokenizer()
    with pytest.raises(ValueError, match="no words"):
        check_tokenizer(empty)
    check_tokenizer(None)
    tokenizer = AutoProcessor.from_pretrained(hfseg.checkpoint("cris-tiny-shapes")).tokenizer
    check_tokenizer(tokenizer)
    check_vocabulary(tokenizer, len(tokenizer))
    with pytest.raises(ValueError, match=f"embeddings of {len(tokenizer) - 1} tokens and its tokenizer"):
        check_vocabulary(tokenizer, len(tokenizer) - 1)
