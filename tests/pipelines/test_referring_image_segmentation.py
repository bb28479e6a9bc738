# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("referring-image-segmentation")` from a folder."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from hfseg import CrisConfig, CrisForReferringImageSegmentation, CrisProcessor

WORDS = ["the", "red", "blue", "star", "circle"]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cris")
    processor = CrisProcessor.from_words(WORDS, size={"height": 64, "width": 64})
    size = len(processor.tokenizer)
    text = {"vocab_size": size, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "projection_dim": 16, "max_position_embeddings": 17}
    text |= {"bos_token_id": size - 2, "eos_token_id": size - 1}
    torch.manual_seed(0)
    config = CrisConfig(
        text_config=text,
        vision_layers=(1, 1, 1, 1),
        vision_width=8,
        image_size=64,
        neck_sizes=(16, 32, 32),
        hidden_size=32,
        num_decoder_layers=1,
        num_attention_heads=2,
        dim_feedforward=32,
    )
    CrisForReferringImageSegmentation(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return pipeline("referring-image-segmentation", model=str(folder), device="cpu")


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8))


def test_one_expression(pipe, image, tmp_path):
    (result,) = pipe(image, text="the red star", return_logits=True, threshold=0.4)
    assert result["label"] == "the red star" and result["mask"].size == (80, 50) and result["mask"].mode == "L"
    assert set(np.unique(result["mask"])) <= {0, 255} and result["logits"].shape == (16, 16)
    # The score is the mean probability inside the mask.
    inputs = pipe.processor([image], ["the red star"], return_tensors="pt")
    with torch.no_grad():
        outputs = pipe.model(**inputs)
    (maps,) = pipe.processor.post_process_referring_segmentation(outputs, [(50, 80)], return_probabilities=True)
    mask = maps[0] > 0.4
    assert np.array_equal(np.asarray(result["mask"]) > 0, mask.numpy())
    assert result["score"] == pytest.approx(maps[0][mask].mean().item() if mask.any() else 0.0, abs=1e-5)
    image.save(tmp_path / "x.png")
    (from_file,) = pipe(str(tmp_path / "x.png"), text="the red star", threshold=0.4)
    assert from_file["score"] == pytest.approx(result["score"], abs=1e-6)


def test_the_image_is_encoded_once(pipe, image):
    calls = []
    handle = pipe.model.model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    texts = ["the red star", "the blue circle", "the star"]
    together = pipe(image, text=texts, expressions_per_batch=2)
    handle.remove()
    assert len(calls) == 1 and [entry["label"] for entry in together] == texts
    for text, entry in zip(texts, together):
        assert entry["score"] == pytest.approx(pipe(image, text=text)[0]["score"], abs=1e-5)


def test_many_images(pipe, image):
    other = image.resize((33, 20))
    results = pipe([image, other], text=[["the star"], ["the red star", "the circle"]])
    assert [len(result) for result in results] == [1, 2] and results[1][0]["mask"].size == (33, 20)
    assert [len(result) for result in pipe([image, other], text="the star")] == [1, 1]


@pytest.mark.parametrize("size", [(1, 1), (20000, 10)])
def test_extreme_images_and_texts(pipe, size):
    texts = ["😀 left of the star", "人", "the " * 200 + "star"]
    results = pipe(Image.new("RGB", size), text=texts)
    assert [result["mask"].size for result in results] == [size] * 3
    assert [result["label"] for result in results] == texts


@pytest.mark.parametrize("mode", ["P", "I;16", "CMYK", "RGBA", "LA", "1"])
def test_every_mode_is_read(pipe, mode):
    plain = Image.new("L", (30, 20), 128)
    image = Image.fromarray(np.full((20, 30), 128 * 257, np.uint16)) if mode == "I;16" else plain.convert("RGB")
    (result,) = pipe(image if mode == "I;16" else image.convert(mode), text="the star")
    assert result["mask"].size == (30, 20)


def test_high_threshold_leaves_nothing(pipe, image):
    (result,) = pipe(image, text="the star", threshold=1.0)
    assert result["score"] == 0.0 and not np.asarray(result["mask"]).any()


@pytest.mark.parametrize(
    "text, options, error, message",
    [
        (None, {}, ValueError, "needs an image and an expression"),
        ([], {}, ValueError, "list of expressions is empty"),
        ("", {}, ValueError, "empty"),
        ([5], {}, TypeError, "5"),
        ("the star", {"threshold": 2.0}, ValueError, "threshold"),
        ("the star", {"expressions_per_batch": 0}, ValueError, "expressions_per_batch"),
        ("the star", {"treshold": 0.2}, ValueError, "treshold"),
    ],
)
def test_bad_calls(pipe, image, text, options, error, message):
    with pytest.raises(error, match=message):
        pipe(image, text=text, **options)


def test_numbers_of_images_and_lists_must_fit(pipe, image):
    with pytest.raises(ValueError, match="2 image"):
        pipe([image, image], text=[["the star"]])
