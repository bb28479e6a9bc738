# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`scripts/benchmark.py open-vocabulary --model`: the baseline that crops each mask, and its table."""

import json

import pytest
import torch
from PIL import Image

from benchmarks import main
from benchmarks.mask_names import (
    CROPS,
    GRAY,
    PLAIN,
    TOKENS,
    CroppedNames,
    frame,
    named_right,
    without_relative_attention,
)
from contract import peaked
from hfseg import (
    ProScaleForOpenVocabularySegmentation,
    ProScaleImageProcessor,
    ProScaleProcessor,
    UnpairSegForOpenVocabularySegmentation,
)
from hfseg.data import ShapesDataset
from hfseg.data.synthetic.shapes_captions import entity_tokenizer
from models.proscale.test_modeling_proscale import RESNET
from proscale_models import tiny_open_vocabulary_config
from unpairseg_models import tiny_config


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = tiny_open_vocabulary_config(backbone_config=RESNET, decoder_layers=1)
    config.text_config.eos_token_id = entity_tokenizer().eos_token_id
    return peaked(ProScaleForOpenVocabularySegmentation(config)).eval()


def processor():
    tokenizer = entity_tokenizer()
    tokenizer.model_max_length = 8  # of the tiny text tower
    size = {"shortest_edge": 64, "longest_edge": 64}
    return ProScaleProcessor(ProScaleImageProcessor(size=size, threshold=0.0), tokenizer)


def test_frames_are_squares_around_masks_inside_the_image():
    mask = torch.zeros(40, 60, dtype=torch.bool)
    assert frame(mask) == (slice(0, 40), slice(0, 60))
    mask[10:20, 30:36] = True
    assert frame(mask) == (slice(9, 21), slice(27, 39))  # 12 pixels around (15, 33)
    mask[:] = False
    mask[0:10, 50:60] = True
    assert frame(mask) == (slice(0, 12), slice(48, 60))  # pushed inside
    mask[:] = True
    assert frame(mask) == (slice(0, 40), slice(0, 60))


@torch.no_grad()
def test_a_crop_is_an_image_of_its_own(model):
    """The embedding of a mask is that of its part of the image, alone; hidden, of that part on gray."""
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 64, 64)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:18, 20:30] = True
    masks[1] = True
    found = CroppedNames(model).describe(pixels, masks)
    whole = torch.nn.functional.normalize(model.get_image_features(pixels), dim=-1)
    torch.testing.assert_close(found[1:], whole)
    part = torch.nn.functional.normalize(model.get_image_features(pixels[:, :, 7:19, 19:31]), dim=-1)
    torch.testing.assert_close(found[:1], part)
    hidden = torch.zeros_like(pixels)
    hidden[:, :, 8:18, 20:30] = pixels[:, :, 8:18, 20:30]
    part = torch.nn.functional.normalize(model.get_image_features(hidden[:, :, 7:19, 19:31]), dim=-1)
    torch.testing.assert_close(CroppedNames(model, hide=True).describe(pixels, masks)[:1], part)


@torch.no_grad()
def test_masks_and_objectness_stay_the_models(model):
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    texts = torch.randn(3, 1, 20, generator=torch.Generator().manual_seed(2))
    plain, cropped = model(pixels, text_embeds=texts), CroppedNames(model)(pixels, texts)
    torch.testing.assert_close(cropped.masks_queries_logits, plain.masks_queries_logits)
    assert cropped.class_queries_logits.shape == plain.class_queries_logits.shape
    ours, theirs = cropped.class_queries_logits.softmax(-1), plain.class_queries_logits.softmax(-1)
    torch.testing.assert_close(ours[..., -1], theirs[..., -1])
    assert not torch.allclose(ours, theirs)


@torch.no_grad()
def test_without_relative_attention_a_full_mask_is_the_image(model):
    """A token whose mask hides nothing is CLIP's class token; the model itself stays."""
    pixels, masks = torch.randn(1, 3, 64, 64), torch.full((1, 1, 32, 32), 5.0)
    plain = without_relative_attention(model)
    found = plain.mask_class_encoder(model.clip_images(pixels), masks)
    torch.testing.assert_close(found.embeddings[:, 0], model.get_image_features(pixels))
    torch.testing.assert_close(found.masks[-1], masks)
    assert not torch.allclose(model.mask_class_encoder(model.clip_images(pixels), masks).masks[-1], masks)


def test_who_names_true_segments_right(model):
    """With the one text that every segment is nearest to, only segments of that class are right."""
    dataset = ShapesDataset("test", 2, (64, 64))
    texts = torch.zeros(10, 1, 20)
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(model.get_image_features(torch.zeros(1, 3, 64, 64)), dim=-1)
    texts[:] = -embeds
    texts[7] = embeds
    found = named_right(model, processor(), dataset, texts)
    classes = [segment["category_id"] for index in range(2) for segment in dataset[index]["segments_info"]]
    stuff = [one for one in classes if one in dataset.stuff_class_ids]
    # Tiny images of an untrained CLIP are all alike, whichever part of them is seen.
    for name in (CROPS, GRAY):
        assert found[name]["right"] == pytest.approx(100 * classes.count(7) / len(classes), abs=0.06)
        assert found[name]["right of stuff"] == pytest.approx(100 * stuff.count(7) / len(stuff), abs=0.06)
        assert found[name]["right of things"] == 0
    assert set(found) == {TOKENS, PLAIN, CROPS, GRAY}


def test_the_table_and_the_drawing(model, tmp_path, capsys):
    model.save_pretrained(tmp_path / "model")
    processor().save_pretrained(tmp_path / "model")
    words = ["open-vocabulary", "--model", str(tmp_path / "model"), "--scenes", "6"]
    words += ["--image", str(tmp_path / "scenes.png"), "--output", str(tmp_path / "table.json")]
    assert main(words) == 0
    (rows,) = json.loads((tmp_path / "table.json").read_text())["tables"].values()
    assert [row["names from"] for row in rows] == [TOKENS, PLAIN, CROPS, GRAY]
    for row in rows:
        assert all(0 <= row[key] <= 100 for key in ("mIoU", "PQ", "right", "right of things", "right of stuff"))
    assert Image.open(tmp_path / "scenes.png").height > 6 * 96
    UnpairSegForOpenVocabularySegmentation(tiny_config()).save_pretrained(tmp_path / "points")
    assert main(["open-vocabulary", "--model", str(tmp_path / "points")]) == 1
    assert "no mask class tokens" in capsys.readouterr().err
