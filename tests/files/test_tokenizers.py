# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers without words, with more than the model knows or with another end are refused wherever they are read."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

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
    size = len(tokenizer)
    for passes in ({}, {"eos_token_id": size - 1}, {"eos_token_id": 2}):  # the end has the largest id there
        check_vocabulary(tokenizer, SimpleNamespace(vocab_size=size, **passes))
    check_vocabulary(None, SimpleNamespace())
    with pytest.raises(ValueError, match=f"embeddings of {size - 1} tokens and its tokenizer"):
        check_vocabulary(tokenizer, SimpleNamespace(vocab_size=size - 1))
    with pytest.raises(ValueError, match=f"reads a text at token 7 .*ends texts with {size - 1}"):
        check_vocabulary(tokenizer, SimpleNamespace(vocab_size=size, eos_token_id=7))


def words_with_an_end(number):
    """A tokenizer of a few words whose end has a given id."""
    words = ["circle", "cross", "star", "an", "image", "of"]
    words[number - 1 : number - 1] = ["<end>"]
    vocabulary = {word: index for index, word in enumerate(["<unk>", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[("<end>", number)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<end>")


@pytest.mark.parametrize(("end", "stated"), [(2, 2), (3, 3), (7, 2), (3, 7), (1, 2)])
def test_a_tower_that_would_not_read_the_last_word_is_refused(end, stated):
    """The truth is transformers' own tower: names that differ must have embeddings that differ."""
    tokenizer = words_with_an_end(end)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=8, bos_token_id=None, eos_token_id=stated, pad_token_id=end,
    )  # fmt: skip
    tower = CLIPTextModelWithProjection(config).eval()
    texts = tokenizer([f"an image of {name}" for name in ("circle", "cross", "star")], return_tensors="pt")
    embeddings = tower(texts["input_ids"], texts["attention_mask"]).text_embeds
    reads_all = all(not torch.equal(embeddings[i], embeddings[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert reads_all == ((end, stated) in [(3, 3), (7, 2)])  # the others lose a word, or read the first token only
    if reads_all:
        check_vocabulary(tokenizer, config)
    else:
        with pytest.raises(ValueError, match="reads a text at"):
            check_vocabulary(tokenizer, config)
