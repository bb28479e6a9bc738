# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's processor: the authors' warp, tokens, masks back, and bad input."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoProcessor

from hfseg import CrisImageProcessor, CrisProcessor

SIZE = {"height": 96, "width": 96}


def test_saved_folder_gives_the_same(tmp_path):
    # Not with the cut tokenizer: ids with gaps are no vocabulary that `tokenizers` saves.
    processor = CrisProcessor.from_words(["the", "bowl", "wow"], size=SIZE)
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is CrisProcessor and type(AutoImageProcessor.from_pretrained(tmp_path)) is CrisImageProcessor
    image, texts = np.zeros((20, 30, 3), np.uint8), [["the bowl", "wow!"]]
    for name, value in processor([image], texts, return_tensors="pt").items():
        assert torch.equal(again([image], texts, return_tensors="pt")[name], value)


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("", ValueError, "empty"),
        (["a dog", "  "], ValueError, "empty"),
        ("&nbsp;", ValueError, "empty"),
        ([3], TypeError, "3"),
        (None, ValueError, "Give images"),
        (7, TypeError, "text is 7"),
        ([["a", "b"], ["c"]], ValueError, "same number"),
        ([[]], ValueError, "at least one"),
    ],
)
def test_bad_expressions(processor, text, error, message):
    with pytest.raises(error, match=message):
        processor(text=text)


def test_long_expressions_are_cut_with_a_warning(processor, caplog, monkeypatch):
    logger = __import__("logging").getLogger("hfseg.models.cris.processing_cris")
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level("WARNING"):
        ids = processor(text="dog " * 500)["input_ids"][0]
    assert len(ids) == 17 and ids[-1] == 49407 and "more than 17 tokens" in caplog.text


def test_numbers_must_fit(processor):
    image = np.zeros((8, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="2 image"):
        processor([image, image], "a dog")
    with pytest.raises(ValueError, match="mask\\(s\\) for 1 image"):
        processor([image], "a dog", [np.zeros((8, 9)), np.zeros((8, 9))])
    with pytest.raises(ValueError, match="Mask 0 has the shape"):
        processor([image], "a dog", [np.zeros((9, 8))])
    with pytest.raises(ValueError, match="1 original size"):
        processor.post_process_referring_segmentation(SimpleNamespace(logits=torch.zeros(2, 1, 24, 24)), [(4, 4)])


def test_processor_can_be_sent_to_workers(processor):
    assert pickle.loads(pickle.dumps(processor))(text="a dog") == processor(text="a dog")
