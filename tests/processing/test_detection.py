# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes of outputs in the pixels of images, by the processor's own resize rule."""

from types import SimpleNamespace

import pytest
import torch

from hfseg import ProScaleImageProcessor, ProScaleImageProcessorPil


def outputs():
    box = torch.tensor([0.25, 0.25, 0.5, 0.5])
    return SimpleNamespace(
        logits=torch.full((2, 1, 2), 3.0), pred_boxes=box.expand(2, 1, 4), input_sizes=torch.tensor([[64, 128]] * 2)
    )


@pytest.mark.parametrize("kind", [ProScaleImageProcessor, ProScaleImageProcessorPil])
def test_the_resize_rule_finds_the_padding(kind):
    processor = kind(size={"shortest_edge": 50, "longest_edge": 100})
    # 100 x 200 becomes 50 x 100 in a padded input of 64 x 128: a pixel of the input has two of the image.
    found = processor.post_process_object_detection(outputs(), target_sizes=[(100, 200), (50, 100)])
    assert [len(entry["scores"]) for entry in found] == [2, 2]
    torch.testing.assert_close(found[0]["boxes"][0], torch.tensor([0.0, 0.0, 128.0, 64.0]))
    torch.testing.assert_close(found[1]["boxes"][0], torch.tensor([0.0, 0.0, 64.0, 32.0]))
    given = processor.post_process_object_detection(outputs(), image_sizes=[(32, 64)] * 2)
    torch.testing.assert_close(given[0]["boxes"][0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert len(processor.post_process_object_detection(outputs(), threshold=0.99)[0]["scores"]) == 0


def test_faults_are_named():
    processor = ProScaleImageProcessor()
    with pytest.raises(ValueError, match=r"threshold must be between 0 and 1; got 2"):
        processor.post_process_object_detection(outputs(), threshold=2)
    with pytest.raises(ValueError, match="1 entries for a batch of 2"):
        processor.post_process_object_detection(outputs(), target_sizes=[(1, 1)])
