# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processor of open-vocabulary PRO-SCALE: folders, pipeline, evaluation by names."""

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, pipeline

from hfseg import ProScaleImageProcessor, ProScaleProcessor, auto
from tiny_zoo import image, model_folder
from unpairseg_inputs import tiny_tokenizer


def test_images_and_texts_together():
    processor = ProScaleProcessor(ProScaleImageProcessor(size={"shortest_edge": 32}), tiny_tokenizer())
    batch = processor(image(30, 60), ["a", "the b"], return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 32, 64) and batch["input_ids"].shape[0] == 2
    segments = np.ones((30, 60), dtype=np.uint8)
    assert processor(image(30, 60), segmentation_maps=segments, return_tensors="pt")["class_labels"][0].tolist() == [1]
    with pytest.raises(ValueError, match="Give images, text, or both"):
        processor()


def test_the_pipeline_names_segments(tmp_path):
    folder = model_folder("proscale_names", tmp_path)
    assert type(AutoProcessor.from_pretrained(folder)) is ProScaleProcessor
    pipe, labels = pipeline("open-vocabulary-segmentation", model=str(folder)), ["cat", "dog, hound", "sky"]
    for subtask in ("semantic", "panoptic", "instance"):
        found = pipe(
            image(), candidate_labels=labels, subtask=subtask, **({} if subtask == "semantic" else {"threshold": 0.0})
        )
        assert found and {entry["label"] for entry in found} <= {"cat", "dog", "sky"}
        assert all(entry["mask"].size == (90, 60) for entry in found)
    with pytest.raises(ValueError, match="without a grid of points: leave points_per_side out"):
        pipe(image(), candidate_labels=labels, points_per_side=3)
    with pytest.raises(ValueError, match="nms_rule selects among masks of points"):
        pipe(image(), candidate_labels=labels, nms_rule="and")


def test_plain_folders_stay_without_a_tokenizer():
    """The row of the open vocabulary is one of its own: only its folders have a processor with texts."""
    assert auto.find("proscale").processor is None
    assert auto.find("proscale_open_vocabulary").processor is not None
    assert torch.is_tensor(ProScaleImageProcessor()(image(), return_tensors="pt")["pixel_values"])
