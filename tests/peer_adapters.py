# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entries for the common tests of transformers and diffusers (`own_checks` and `peer_table` come with that harness)."""

from peer_table import ImageProcessor

PROSCALE = "hfseg.models.proscale"


def universal_outputs(tester):
    """Random query logits at stride 4 of a padded input, for the semantic post-processing test."""
    from types import SimpleNamespace

    import torch

    outputs = SimpleNamespace(
        class_queries_logits=torch.randn(tester.batch_size, 5, 4),
        masks_queries_logits=torch.randn(tester.batch_size, 5, 8, 8),
    )
    return {"outputs": outputs}, {"num_labels": 3, "height": 32, "width": 32}


def padded_batch_shape(tester, images):
    """Shape (C, H, W) of a batch: aspect-keeping resize rounded half up, then padding to a multiple of 32."""
    import numpy as np

    shortest, longest = tester.size["shortest_edge"], tester.size["longest_edge"]
    heights, widths, channels = [], [], 3
    for image in images:
        if hasattr(image, "size") and not hasattr(image, "shape"):
            width, height = image.size
        else:
            shape = tuple(image.shape)
            first = shape[0] in (1, 3, 4)
            channels, (height, width) = (shape[0], shape[1:]) if first else (shape[2], shape[:2])
        scale = min(shortest / min(height, width), longest / max(height, width))
        heights.append(int(np.floor(height * scale + 0.5)))
        widths.append(int(np.floor(width * scale + 0.5)))
    return channels, int(np.ceil(max(heights) / 32) * 32), int(np.ceil(max(widths) / 32) * 32)


ENTRIES = [
    ImageProcessor(
        name="proscale-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{PROSCALE}.image_processing_proscale:ProScaleImageProcessor",
            "pil": f"{PROSCALE}.image_processing_pil_proscale:ProScaleImageProcessorPil",
        },
        kwargs={"size": {"shortest_edge": 20, "longest_edge": 40}},
        expected_shape=padded_batch_shape,
        semantic_inputs=universal_outputs,
    ),
]
