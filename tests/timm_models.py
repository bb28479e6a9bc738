# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A tiny MViTv2, which timm has not: its smallest has 23 million parameters. Imports timm: load it when needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from timm.models import _registry, mvitv2

TINY_MVIT = "mvitv2_for_tests"
SIZES = mvitv2.MultiScaleVitCfg(depths=(1, 1, 1, 1), embed_dim=16)

# In windows of 8 tokens at stride 4, as the recipes have it in large: two stages attend in windows, the third, whose
# tables of positions are then of another size for each image, globally, and the last in windows again.
WINDOWED_MVIT = {
    "model_type": "timm_backbone",
    "backbone": TINY_MVIT,
    "use_pretrained_backbone": False,
    "out_indices": [0, 1, 2, 3],
    "window_size": 8,
    "global_blocks": [2],
}


def mvitv2_for_tests(pretrained: bool = False, **kwargs: Any) -> mvitv2.MultiScaleVit:
    """Builds four stages of a block each, with heads of 16 channels; `timm.create_model` calls it."""
    return mvitv2._create_mvitv2(TINY_MVIT, pretrained=pretrained, **kwargs)


@contextmanager
def tiny_mvit() -> Iterator[None]:
    """Lets timm know the network, and nobody else."""
    with (
        patch.dict(mvitv2.model_cfgs, {TINY_MVIT: SIZES}),
        patch.dict(_registry._model_entrypoints, {TINY_MVIT: mvitv2_for_tests}),
    ):
        yield
