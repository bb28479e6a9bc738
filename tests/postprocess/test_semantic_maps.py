# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class maps: the authors' results, and half precision resized in float32."""

import pytest
import torch

from hfseg import postprocess

LARGEST_DIFFERENT_SHARE = 0.0005


def test_semantic_equals_the_authors(golden):
    _, logits, sizes, expected, _ = golden
    maps, scores = postprocess.semantic_segmentation(*logits, **sizes, return_scores=True)
    for index in range(2):
        different = maps[index] != expected[f"post_{index}_sem_seg_argmax"]
        assert different.float().mean() <= LARGEST_DIFFERENT_SHARE
        torch.testing.assert_close(scores[index][:, ::3, ::3], expected[f"post_{index}_sem_seg"], atol=1e-5, rtol=0)
        assert torch.equal(scores[index].argmax(0), maps[index])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_resized_in_float32(dtype):
    logits = (torch.randn(1, 6, 5) * 3, torch.randn(1, 6, 8, 8) * 3)
    halves = tuple(value.to(dtype) for value in logits)
    expected, _ = postprocess.semantic_segmentation(*(value.float() for value in halves), output_sizes=[(20, 20)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = postprocess.semantic_segmentation(*halves, output_sizes=[(20, 20)])
    assert torch.equal(found[0], expected[0])
