# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What tasks share: models from recipes and from shipped models."""

import torch
from safetensors.torch import load_file

from hfseg import tasks
from hfseg.training import load_recipe
from hfseg.training.tasks.base import build_model


def test_training_starts_from_shipped_models_by_name():
    name = "proscale-tiny-nuclei"
    arguments = load_recipe("proscale-tiny-nuclei", [f"model.pretrained={name}"])
    assert arguments.model.pretrained == name  # and not a place on this machine, which the record would keep
    arguments.model.config = {}
    model = build_model(arguments.model, auto_class="AutoModelForUniversalSegmentation")
    shipped = load_file(tasks.CHECKPOINTS / name / "model.safetensors")
    state = model.state_dict()
    assert shipped and all(torch.equal(state[key].float(), value.float()) for key, value in shipped.items())
