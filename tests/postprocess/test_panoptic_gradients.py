# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Outputs of a model that ran without `torch.no_grad()` are post-processed like any other."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor

import hfseg
from hfseg.pipelines import auto_models

UNIVERSAL = ("panoptic", "instance", "semantic")
CASES = [
    *[(name, subtask) for name in ("proscale-tiny-shapes", "unisegformer-tiny-shapes") for subtask in UNIVERSAL],
    ("vpnext-tiny-shapes", "semantic"),
    ("meddensevit-tiny-hippocampus", "semantic"),
]


def detached(outputs):
    """The same values, without a graph."""
    kept = {key: value.detach() if isinstance(value, torch.Tensor) else value for key, value in outputs.items()}
    return type(outputs)(**kept)


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


@pytest.mark.parametrize("name, subtask", CASES)
def test_closed_vocabulary(name, subtask):
    folder = hfseg.checkpoint(name)
    processor, model = AutoImageProcessor.from_pretrained(folder), hfseg.load(folder).model
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8))
    outputs = model(**processor(image, return_tensors="pt"))
    assert any(value.requires_grad for value in outputs.to_tuple() if isinstance(value, torch.Tensor))
    process = getattr(processor, f"post_process_{subtask}_segmentation")
    assert same(process(outputs, target_sizes=[(70, 90)]), process(detached(outputs), target_sizes=[(70, 90)]))


def test_referring():
    folder = hfseg.checkpoint("cris-tiny-shapes")
    processor = AutoProcessor.from_pretrained(folder)
    model = auto_models.AutoModelForReferringImageSegmentation.from_pretrained(folder).float()
    batch = processor(images=Image.new("RGB", (90, 70), "red"), text="the circle", return_tensors="pt")
    outputs = model(**batch)
    assert outputs.logits.requires_grad
    process = processor.post_process_referring_segmentation
    assert same(process(outputs, [(70, 90)]), process(detached(outputs), [(70, 90)]))


@pytest.mark.parametrize("subtask", UNIVERSAL)
def test_open_vocabulary(subtask):
    folder = hfseg.checkpoint("unpairseg-tiny-shapes")
    processor = AutoProcessor.from_pretrained(folder)
    model = auto_models.AutoModelForOpenVocabularySegmentation.from_pretrained(folder).float()
    batch = processor(images=Image.new("RGB", (90, 70), "red"), return_tensors="pt")
    _, text_embeds = processor.embed_labels(model, ["circle", "square"])
    batch = {name: batch[name] for name in ("pixel_values", "original_sizes")}
    outputs = model(**batch, text_embeds=text_embeds.requires_grad_(), points_per_side=4)
    assert any(value.requires_grad for value in outputs.to_tuple() if isinstance(value, torch.Tensor))
    process = getattr(processor, f"post_process_{subtask}_segmentation")
    assert same(process(outputs, target_sizes=[(70, 90)]), process(detached(outputs), target_sizes=[(70, 90)]))
