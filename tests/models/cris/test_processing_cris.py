# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's processor: the authors' warp, tokens, masks back, and bad input."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, CLIPTokenizer

from golden import FIXTURES, read_tensors
from hfseg import CrisImageProcessor, CrisImageProcessorPil, CrisProcessor
from hfseg.metrics import ReferringSegmentation
from hfseg.models.cris.tokenization_cris import END, START, byte_symbols, clip_tokenizer, word_tokenizer

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


@pytest.mark.parametrize("processor_class", [CrisImageProcessor, CrisImageProcessorPil])
def test_images_and_masks_are_the_authors(case, processor_class):
    images = [case.inputs[f"image_{index}"].numpy() for index in range(3)]
    masks = [case.inputs[f"mask_{index}"] for index in range(3)]
    batch = processor_class(size=SIZE)(images, masks, return_tensors="pt")
    # One gray level, as OpenCV rounds.
    torch.testing.assert_close(batch["pixel_values"], case.outputs["pixel_values.cv5"], atol=0.016, rtol=0)
    assert (batch["pixel_values"] - case.outputs["pixel_values.cv5"]).abs().mean() < 5e-4
    torch.testing.assert_close(batch["mask_labels"], case.outputs["train_mask.cv5"].float(), atol=1.1 / 255, rtol=0)


def test_masks_come_back_as_the_authors(case, processor):
    every, first = ReferringSegmentation(), ReferringSegmentation()
    start = 0
    for index, sentences in enumerate(case.config["sentences"]):
        logits = case.inputs["logits"][start : start + len(sentences), 0][None]
        size = tuple(case.inputs[f"mask_{index}"].shape)
        outputs = SimpleNamespace(logits=logits)
        (maps,) = processor.post_process_referring_segmentation(outputs, [size], return_probabilities=True)
        (masks,) = processor.post_process_referring_segmentation(outputs, [size])
        for position, (map_, mask) in enumerate(zip(maps, masks)):
            expected = case.outputs[f"prob_back_{start + position}.cv5"].float()
            torch.testing.assert_close(map_, expected, atol=1e-5, rtol=0)
            for metric in (every, first) if position == 0 else (every,):
                metric.add(prediction=mask, reference=case.inputs[f"mask_{index}"])
        start += len(sentences)
    for metric, prefix in ((every, ""), (first, "val_")):
        result = metric.compute()
        assert result["miou"] == pytest.approx(100 * case.outputs[f"{prefix}mean_iou.cv5"].item(), abs=1e-4)
        precisions = [result[f"precision@{limit / 100}"] / 100 for limit in (50, 60, 70, 80, 90)]
        expected = case.outputs[f"{prefix}prec.cv5"].double()
        torch.testing.assert_close(torch.tensor(precisions).double(), expected, atol=1e-6, rtol=0)


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


def test_saved_folder_gives_the_same(tmp_path):
    # Not with the cut tokenizer: ids with gaps are no vocabulary that `tokenizers` saves.
    processor = CrisProcessor.from_words(["the", "bowl", "wow"], size=SIZE)
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is CrisProcessor and type(AutoImageProcessor.from_pretrained(tmp_path)) is CrisImageProcessor
    image, texts = np.zeros((20, 30, 3), np.uint8), [["the bowl", "wow!"]]
    for name, value in processor([image], texts, return_tensors="pt").items():
        assert torch.equal(again([image], texts, return_tensors="pt")[name], value)


def test_words_become_tokens():
    tokenizer = word_tokenizer(["red", "right", "ring", "triangle", "the"], max_length=8)
    assert tokenizer.tokenize("the red triangle") == ["the</w>", "red</w>", "triangle</w>"]
    with pytest.raises(FileNotFoundError, match="bpe_simple_vocab"):
        clip_tokenizer("nowhere.gz")


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


def test_any_text_is_read(processor):
    for text in ("😀 on the left", "人", "a‮b", "É", "!!!"):
        ids = processor(text=text)["input_ids"][0]
        assert len(ids) == 17 and ids[0] == 49406 and 49407 in ids


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


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 3000)])
def test_extreme_sizes_come_back(processor, size):
    image = np.full((*size, 3), 90, np.uint8)
    assert processor([image], "a dog", return_tensors="pt")["pixel_values"].shape == (1, 3, 96, 96)
    outputs = SimpleNamespace(logits=torch.full((1, 1, 24, 24), 9.0))
    (mask,) = processor.post_process_referring_segmentation(outputs, [size])
    assert mask.shape == (1, *size) and mask.float().mean() > 0.9


@pytest.mark.parametrize("mode", ["P", "I;16", "CMYK", "RGBA", "LA", "1", "L"])
def test_every_mode_is_read(processor, mode):
    image = Image.new("L", (30, 20), 128).convert("RGB").convert(mode if mode != "I;16" else "I")
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 30), 128 * 257, np.uint16))
    values = processor([image], "a dog", return_tensors="pt")["pixel_values"]
    assert torch.isfinite(values).all() and values.shape == (1, 3, 96, 96)


def test_images_without_pixels():
    with pytest.raises(ValueError, match="no pixels"):
        CrisImageProcessor()(np.zeros((0, 5, 3), np.uint8))


def test_processor_can_be_sent_to_workers(processor):
    assert pickle.loads(pickle.dumps(processor))(text="a dog") == processor(text="a dog")
