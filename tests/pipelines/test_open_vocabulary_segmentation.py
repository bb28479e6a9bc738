# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The pipeline `open-vocabulary-segmentation`."""

import pytest
from transformers import AutoProcessor, pipeline

from hfseg import UnpairSegProcessor
from unpairseg_inputs import photo


def test_open_vocabulary_pipeline(folders, monkeypatch):
    pipe = pipeline("open-vocabulary-segmentation", model=str(folders / "open"))
    assert isinstance(AutoProcessor.from_pretrained(folders / "open"), UnpairSegProcessor)
    image, labels = photo(30, 60), ["cat", "dog, hound", "sky"]
    embedded = []
    embed = pipe.model.get_text_features
    monkeypatch.setattr(pipe.model, "get_text_features", lambda *a: embedded.append(1) or embed(*a))
    for subtask in ("semantic", "panoptic", "instance"):
        found = pipe(image, candidate_labels=labels, subtask=subtask)
        assert found and {entry["label"] for entry in found} <= {"cat", "dog", "sky"}
        assert all(entry["mask"].size == (60, 30) for entry in found)
    assert len(embedded) == 1, "texts are embedded once for all images"
    pipe(image, candidate_labels=labels, templates="simple")
    assert len(embedded) == 2
    both = pipe([image, photo(20, 20)], candidate_labels={"animal": ["cat", "dog"], "sky": []}, subtask="semantic")
    assert [entry["mask"].size for result in both for entry in result[:1]] == [(60, 30), (20, 20)]
    assert pipe(image, candidate_labels=labels, score_threshold=1.1) == []
    stuff = pipe(image, candidate_labels=labels, stuff_labels=["cat", "dog", "sky"])
    assert len({entry["label"] for entry in stuff}) == len(stuff)
    for wrong, message in (
        ({}, "candidate_labels is missing"),
        ({"candidate_labels": []}, "is empty"),
        ({"candidate_labels": ["a", "a"]}, "twice"),
        ({"candidate_labels": ["a"], "subtask": "depth"}, "choose one of panoptic"),
        ({"candidate_labels": ["a"], "templates": "x"}, "not known"),
        ({"candidate_labels": ["a"], "stuff_labels": ["b"]}, "lacks"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(image, **wrong)
