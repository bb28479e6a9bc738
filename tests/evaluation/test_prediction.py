# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Predictions of an evaluation: foreign classes are void, batches equal single images."""

import numpy as np
import pytest
import torch

import oracle
from averaging_model import Averaging
from hfseg.evaluation.labels import LabelMatch
from hfseg.evaluation.prediction import Segmenter, predict_samples


def test_foreign_classes_become_void():
    segment = Segmenter(oracle.processor(), LabelMatch((1, -1, 0, -1), "name"))
    labels = segment.semantic(torch.tensor([[0, 1], [2, 3]]))
    assert labels.tolist() == [[1, -1], [0, -1]]
    table = [{"id": 1, "label_id": 0, "score": 0.9}, {"id": 2, "label_id": 1, "score": 0.8}]
    result = segment.panoptic({"segmentation": torch.tensor([[1, 2, 0]]), "segments_info": table})
    assert result["segmentation"].tolist() == [[1, 0, 0]]
    assert result["segments_info"] == [{"id": 1, "label_id": 1, "score": 0.9}]


def examples():
    sizes = [(64, 96), (32, 32), (40, 90), (64, 96), (96, 64)]
    return [{"image": oracle.image_of(oracle.scene(max(h, 64), w, 3))[:h]} for h, w in sizes]


def test_a_image_gives_the_same_alone_and_in_a_batch():
    processor, model = oracle.processor(), Averaging()
    batched = list(predict_samples(model, processor, examples(), batch_size=5))
    assert [sample.index for sample in batched] == [0, 1, 2, 3, 4]
    # Images 0, 2 and 3 have one padded size.
    assert model.shapes == [(3, 3, 64, 96), (1, 3, 32, 32), (1, 3, 96, 64)]
    alone = list(predict_samples(model, processor, examples(), batch_size=1))
    workers = list(predict_samples(model, processor, examples(), batch_size=2, num_workers=1))
    for other in (alone, workers):
        for one, two in zip(batched, other):
            assert torch.equal(one.outputs.masks_queries_logits, two.outputs.masks_queries_logits)
            assert one.inner_size == two.inner_size == one.size
            assert np.array_equal(one.example["image"], two.example["image"])


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(predict_samples(Averaging(), oracle.processor(), examples(), batch_size=0))


def test_models_without_known_outputs_are_refused():
    model = torch.nn.Linear(1, 1)
    model.forward = lambda pixel_values: {"boxes": pixel_values}
    with pytest.raises(ValueError, match="returns boxes; evaluation needs"):
        next(predict_samples(model, oracle.processor(), examples()))
