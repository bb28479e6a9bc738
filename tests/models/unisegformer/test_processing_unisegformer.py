# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One checkpoint in the pipeline for three subtasks, dense logits, the warning, and heads for other classes."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from contract import peaked
from hfseg import (
    UniSegFormerForSemanticSegmentation,
    UniSegFormerForUniversalSegmentation,
    UniSegFormerImageProcessor,
)
from hfseg.data.collators.collation import UniversalCollator
from hfseg.training.arguments import ModelArguments
from hfseg.training.tasks.base import build_model
from unisegformer_models import tiny_config

SIZE = {"shortest_edge": 48, "longest_edge": 96}


def folder_of(cls, path, **fields):
    model = peaked(cls(tiny_config(**fields)))
    model.save_pretrained(path)
    UniSegFormerImageProcessor(size=SIZE, threshold=0.0, overlap_mask_area_threshold=0.0).save_pretrained(path)
    return model


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 70, 3), dtype=np.uint8))


def test_dense_head_in_the_pipeline(tmp_path, image):
    model = folder_of(UniSegFormerForSemanticSegmentation, tmp_path)
    segmenter = pipeline("image-segmentation", model=str(tmp_path))
    assert type(segmenter.model) is UniSegFormerForSemanticSegmentation
    segments = segmenter(image)
    processor = segmenter.image_processor
    inputs = processor(image, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**inputs).logits
    padded = inputs["pixel_values"].shape[-2:]
    assert tuple(padded) == (64, 96)  # 48 x 84, padded
    scores = torch.nn.functional.interpolate(logits, size=tuple(padded), mode="bilinear")[..., :48, :84]
    expected = torch.nn.functional.interpolate(scores, size=(40, 70), mode="bilinear")[0].argmax(0)
    for segment in segments:
        label = model.config.label2id[segment["label"]]
        assert ((np.asarray(segment["mask"]) > 0) == (expected == label).numpy()).mean() > 0.99
    with pytest.raises(ValueError, match="not supported"):
        segmenter(image, subtask="panoptic")


def test_says_when_nothing_is_left(caplog, monkeypatch):
    from transformers.utils import logging as transformers_logging

    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    logger = logging.getLogger("hfseg.models.unisegformer.processing")
    logger.warning_once.cache_clear() if hasattr(logger.warning_once, "cache_clear") else None
    model = UniSegFormerForUniversalSegmentation(tiny_config()).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 64, 64))
    with caplog.at_level(logging.WARNING):
        results = UniSegFormerImageProcessor(size=SIZE).post_process_panoptic_segmentation(outputs, threshold=0.97)
    assert not results[0]["segments_info"]
    assert any("threshold of 0.97" in record.message for record in caplog.records)


def test_other_classes_make_new_heads(tmp_path, caplog):
    folder_of(UniSegFormerForUniversalSegmentation, tmp_path)
    arguments = ModelArguments(pretrained=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        model = build_model(arguments, {0: "cat", 1: "dog"}, [])
    said = " ".join(record.getMessage() for record in caplog.records)
    assert model.config.num_labels == 2 and model.mask_head.class_predictor.out_features == 3
    assert "mask_head.class_predictor.weight (6, 32) -> (3, 32)" in said
    assert "dense_head.classifiers.0.weight (5, 16, 1, 1) -> (2, 16, 1, 1)" in said


def test_task_mixture_and_void():
    ids = np.array([[1, 1, 2], [3, 3, 0]], dtype=np.int32)
    info = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 0}, {"id": 3, "category_id": 2}]
    example = {"image": np.zeros((2, 3, 3), np.uint8), "segmentation": ids, "segments_info": info}

    def batch(task, **more):
        return UniversalCollator(task_mixture={task: 1}, stuff_class_ids=[2], size_divisor=1, **more)([example])

    panoptic, instance, semantic = (batch(task, mark_void=True) for task in ("panoptic", "instance", "semantic"))
    assert panoptic["class_labels"][0].tolist() == [0, 0, 2]
    assert instance["class_labels"][0].tolist() == [0, 0]
    assert semantic["class_labels"][0].tolist() == [0, 2]
    assert instance["mask_labels"][0].tolist() == [[1, 1, 2], [0, 0, 0]]
    for made in (panoptic, instance, semantic):  # stuff is background of instances, not void
        assert made["void_masks"][0].tolist() == [[False] * 3, [False, False, True]]
    known = UniversalCollator(num_labels=4)([{**example, "verified_classes": [1]}, example])["known_classes"]
    assert known.tolist() == [[True, True, True, False], [True] * 4]
    with pytest.raises(ValueError, match="task_mixture"):
        UniversalCollator(task_mixture={"depth": 1})
