# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The authors' images, masks and tokens, and a processor with CLIP's tokenizer."""

import json
from types import SimpleNamespace

import pytest
from transformers import CLIPTokenizer

from golden import FIXTURES, read_tensors
from hfseg import CrisImageProcessor, CrisProcessor
from hfseg.models.cris.tokenization_cris import END, START, byte_symbols

FOLDER = FIXTURES / "cris" / "processing"
SIZE = {"height": 96, "width": 96}


@pytest.fixture(scope="module")
def case():
    config = json.loads((FOLDER / "config.json").read_text())
    return SimpleNamespace(
        config=config, inputs=read_tensors(FOLDER, "inputs"), outputs=read_tensors(FOLDER, "outputs")
    )


@pytest.fixture(scope="module")
def tokens():
    return json.loads((FOLDER / "tokens.json").read_text())


@pytest.fixture(scope="module")
def tokenizer(tokens):
    """CLIP's tokenizer, cut to the merges that these texts use; ids are CLIP's."""
    symbols = byte_symbols()
    vocabulary = {name: number for number, name in enumerate([*symbols, *(symbol + "</w>" for symbol in symbols)])}
    vocabulary |= {first + second: 512 + rank for rank, first, second in tokens["merges"]}
    vocabulary |= {START: 49406, END: 49407}
    merges = [(first, second) for _, first, second in tokens["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=17)


@pytest.fixture(scope="module")
def processor(tokenizer):
    return CrisProcessor(CrisImageProcessor(size=SIZE), tokenizer)
