# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Instances: the authors' results."""

import torch

from hfseg import postprocess

LARGEST_DIFFERENT_SHARE = 0.0005


def stuff_ids(config):
    return list(range(config["num_thing_classes"], config["NUM_CLASSES"]))


def test_instances_equal_the_authors(golden):
    config, logits, sizes, expected, _ = golden
    results = postprocess.instance_segmentation(
        *logits, **sizes, num_instances=config["DETECTIONS_PER_IMAGE"], stuff_label_ids=stuff_ids(config)
    )
    for index, instances in enumerate(results):
        torch.testing.assert_close(instances.scores, expected[f"post_{index}_instance_scores"], atol=1e-5, rtol=0)
        assert torch.equal(instances.label_ids, expected[f"post_{index}_instance_classes"])
        masks = expected[f"post_{index}_instance_masks"].bool()
        assert (instances.masks() != masks).float().mean() <= LARGEST_DIFFERENT_SHARE
        assert torch.equal(instances.areas, instances.masks().flatten(1).sum(1))
        # The id map shows the best instance that covers a pixel.
        top = torch.where(masks.any(0), masks.int().argmax(0) + 1, 0)
        assert (instances.segmentation != top).float().mean() <= LARGEST_DIFFERENT_SHARE
