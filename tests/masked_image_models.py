# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A tiny model of the task masked-image."""

import torch

from hfseg.models.masked_image import MaskedImageModel
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

TINY = [
    "model.config.backbone_config.hidden_size=16",
    "model.config.backbone_config.intermediate_size=16",
    "model.config.backbone_config.num_hidden_layers=2",
    "model.config.backbone_config.num_attention_heads=2",
    "model.config.hiclr_channels=8",
    "model.config.hiclr_context_channels=8",
]


def model() -> MaskedImageModel:
    torch.manual_seed(0)
    task = build_task(load_recipe("vpnext-tiny-folder", [*TINY, "model.task=masked-image"]))
    return task.build_model(None)
