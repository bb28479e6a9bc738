# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What tasks share: models from recipes and from shipped models."""

import re

import pytest
import torch
from safetensors.torch import load_file

from hfseg import tasks
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
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


def test_augmentation_that_a_collator_cannot_take_is_refused():
    for key in ("transforms", "validation_transforms"):
        task = build_task(load_recipe("lavin-dit-tiny-shapes", [f"data.{key}={{name: color}}"]))
        with pytest.raises(ValueError, match=f"data.{key} is set, and data.collate=in-context takes no augmentation"):
            task.build_collator(None, None, None, training=key == "transforms")


@pytest.mark.parametrize(
    "recipe", ["proscale-tiny-shapes", "vpnext-tiny-shapes", "cris-tiny-shapes", "unpairseg-tiny-stage1"]
)
def test_cards_show_the_pipeline_of_the_task(recipe):
    """That which the table of tasks names for models of this class."""
    task = build_task(load_recipe(recipe))
    shown = re.findall(r'pipeline\("([a-z-]+)"', task.example("NAME"))
    assert len(shown) == 1
    assert shown[0] in {row.pipeline for row in tasks.TASKS.values() if row.auto_class == task.auto_class}
