# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`model.pretrained=NAME`: every recipe goes on from a model of its architecture, whose network and processor stay."""

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hfseg
from hfseg import tasks
from hfseg.training.arguments import load_recipe
from hfseg.training.tasks import build_task

# Shipped model and a recipe of its architecture: its own, and others that describe another network.
STARTS = [
    ("proscale-tiny-shapes", "proscale-tiny-shapes"),
    ("proscale-tiny-nuclei", "proscale-tiny-nuclei"),
    ("proscale-tiny-nuclei", "proscale-tiny-folder"),
    ("unisegformer-tiny-shapes", "unisegformer-tiny-shapes"),
    ("unisegformer-tiny-shapes", "unisegformer-tiny-instances"),
    ("vpnext-tiny-shapes", "vpnext-tiny-shapes"),
    ("vpnext-tiny-shapes", "vpnext-tiny-folder"),
    ("meddensevit-tiny-hippocampus", "meddensevit-tiny-hippocampus"),
    ("unpairseg-tiny-shapes", "unpairseg-tiny-shapes"),
    ("unpairseg-tiny-shapes", "unpairseg-tiny-stage1"),
    ("unpairseg-tiny-shapes", "unpairseg-tiny-stage2"),
    ("unpairseg-tiny-shapes", "unpairseg-tiny-nuclei"),
    ("lavin-dit-tiny-shapes", "lavin-dit-tiny-shapes"),
    ("cris-tiny-shapes", "cris-tiny-shapes"),
]


def test_every_shipped_model_is_gone_on_from():
    assert {name for name, _ in STARTS} == set(tasks.shipped_checkpoints())


def classes_of(folder) -> Any:
    config = folder / "config.json"
    content = json.loads(config.read_text()) if config.is_file() else {}
    names = {int(key): name for key, name in content.get("id2label", {}).items()}
    return SimpleNamespace(id2label=names or None, stuff_class_ids=content.get("stuff_class_ids"))


@pytest.mark.parametrize(("name", "recipe"), STARTS)
def test_a_recipe_goes_on_from_a_shipped_model(name, recipe):
    """Every tensor of the model is the folder's, none is new; so is the size of images."""
    if name == "proscale-tiny-nuclei":
        pytest.importorskip("timm")
    folder = tasks.checkpoint(name)
    _, arguments = load_recipe(recipe, [f"model.pretrained={name}"]).stage_arguments()[0]
    task = build_task(arguments)
    model = task.build_model(classes_of(folder))
    processor = task.build_processor(model)
    loaded = hfseg.load(name)
    saved = loaded.modules.get("transformer", next(iter(loaded.modules.values()))).state_dict()
    inner = model.transformer if "transformer" in loaded.modules else getattr(model, "model", model)
    own = model.state_dict() if set(model.state_dict()) & set(saved) else inner.state_dict()
    optional = getattr(inner, "_keys_to_ignore_on_load_missing", None) or ["(?!)"]  # heads of training alone
    new = [key for key in set(own) - set(saved) if not any(re.search(pattern, key) for pattern in optional)]
    assert set(own) & set(saved) and not new
    for key in set(own) & set(saved):
        assert torch.equal(own[key], saved[key]), key
    settings = getattr(processor, "image_processor", processor)
    if settings is not None and recipe != "unpairseg-tiny-nuclei":  # which says its own size, for such a start
        assert settings.size == getattr(loaded.processor, "image_processor", loaded.processor).size


def test_a_field_that_the_user_gives_changes_the_folder():
    arguments = load_recipe("vpnext-tiny-folder", ["model.pretrained=x", "model.config.focal_gamma=1.0"])
    assert arguments.model.config == {"focal_gamma": 1.0} and arguments.model.processor == {}
    assert arguments.model.task == "semantic"
    # Without a start, and in a recipe that is written for one, everything stays.
    assert "hiclr_channels" in load_recipe("vpnext-tiny-folder", ["model.pretrained=null"]).model.config
    assert load_recipe("unpairseg-tiny-stage2", ["model.pretrained=x"]).model.config["clip_residual"] is True


def test_overrides_reach_the_stages_of_a_recipe():
    stages = load_recipe("unpairseg-tiny-shapes", ["run.max_steps=7", "model.pretrained=x"]).stage_arguments()
    assert [(stage.run.max_steps, stage.model.pretrained) for _, stage in stages] == [(7, "x"), (7, None), (7, None)]
    assert stages[0][1].model.config == {} and stages[2][1].model.config["clip_residual"] is True


def test_training_goes_on_from_the_shipped_nuclei(tmp_path):
    """`hfseg train --recipe proscale-tiny-nuclei --data MINE model.pretrained=proscale-tiny-nuclei`."""
    pytest.importorskip("timm")
    for kind in ("images", "instances"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(3):
        ids = np.zeros((64, 64), dtype=np.uint8)
        ids[8:20, 8:20], ids[30:50, 30:44] = 1, 2
        Image.fromarray(np.repeat((ids > 0).astype(np.uint8)[..., None] * 200, 3, axis=2)).save(
            tmp_path / "data" / "images" / f"{number}.png"
        )
        Image.fromarray(ids).save(tmp_path / "data" / "instances" / f"{number}.png")
    hfseg.train(
        "proscale-tiny-nuclei",
        "model.pretrained=proscale-tiny-nuclei",
        "data.batch_size=2",
        "data.num_workers=0",
        "run.max_steps=1",
        "schedule.warmup_steps=0",
        data=tmp_path / "data",
        output_dir=tmp_path / "out",
    )
    model = hfseg.load(tmp_path / "out").model
    assert model.config.backbone_config.stage_blocks == [1, 2, 2, 3, 3, 1, 0]
    assert "from `proscale-tiny-nuclei`" in (tmp_path / "out" / "README.md").read_text()
