# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recipes of VPNeXt: sizes, learning rates by layer, what is decayed, schedule; tiny ones train through the command."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState

import hfseg
from hfseg.commands.train import main
from hfseg.training import load_recipe
from hfseg.training.arguments import recipe_names
from hfseg.training.optimization import parameter_groups, schedule_multiplier
from hfseg.training.tasks.base import build_model, build_transforms

# Dataset -> classes, crop, updates, short side in testing.
DATA = {
    "pascal-context": (59, 480, 20_000, 520),
    "coco-stuff": (171, 640, 80_000, 640),
    "cityscapes": (19, 768, 80_000, 1024),
    "voc2012": (21, 512, 40_000, 512),
}
BACKBONES = ("eva02-l", "dinov3-l")


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def on_meta(name, classes):
    """A recipe and its model, without memory for its weights."""
    recipe = load_recipe(name)
    with torch.device("meta"):
        model = build_model(
            recipe.model,
            {k: str(k) for k in range(classes)},
            load_backbone=False,
            auto_class="AutoModelForSemanticSegmentation",
        )
    return recipe, model


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_hyperparameters(data, backbone):
    name = f"vpnext-{backbone}-{data}"
    assert name in recipe_names()
    recipe, (_, crop, steps, short) = load_recipe(name), DATA[data]
    assert recipe.run.max_steps == steps and recipe.data.batch_size == 16 and recipe.model.task == "semantic"
    assert recipe.data.transforms["crop_size"] == [crop, crop] and recipe.model.processor["size"] == {
        "shortest_edge": short
    }
    sides = recipe.data.transforms["short_sides"]
    assert (sides[0], sides[-1]) == (short // 2, 2 * short)  # scale 0.5 to 2
    build_transforms(recipe.data.transforms)
    at = lambda step: schedule_multiplier(step, steps, recipe.schedule)  # noqa: E731
    assert at(0) <= 1.1e-6 and at(1500) == pytest.approx(1 - 1500 / steps) and at(steps) == 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_learning_rates_by_layer(backbone):
    """lr_l = 4e-5 0.9^(L + 1 - l) in the backbone, ten times the base in the head; what weight decay leaves alone."""
    if "eva" in backbone:
        pytest.importorskip("timm")
    recipe, model = on_meta(f"vpnext-{backbone}-pascal-context", 59)
    assert model.model.patch_size == 16 and model.config.vcr_layers == (8, 16) and model.config.num_blocks == 24
    assert sum(p.numel() for p in model.model.backbone.parameters()) / 1e6 == pytest.approx(303.5, abs=1)
    rate, decay = {}, {}
    for group in parameter_groups(model, recipe.optimizer):
        for name in group["parameter_names"]:
            rate[name], decay[name] = group["lr"], group["weight_decay"]
    layers = "_backbone.model.blocks" if "eva" in backbone else "model.layer"
    embedding = f"model.backbone.{model.model.patch_embedding_name}.weight"
    assert rate[embedding] == pytest.approx(4e-5 * 0.9**25) and decay[embedding] == 0
    for block in (0, 7, 23):
        names = [name for name in rate if f"{layers}.{block}." in name]
        assert names
        for name in names:
            assert rate[name] == pytest.approx(4e-5 * 0.9 ** (24 - block)), name
            vector = model.get_parameter(name).dim() == 1
            assert decay[name] == (0 if vector else 0.05), name
    for name in ("classifier.weight", "model.vitup.iterations.2.fuse.weight", "vcr.query.weight"):
        assert rate[name] == pytest.approx(4e-4) and decay[name] == 0.05
    for name in ("classifier.bias", "model.final_norm.weight"):
        assert decay[name] == 0


def test_the_baseline_with_a_pyramid():
    """Mask2Former on the same ViT, with data, schedule and rates of the paper's model."""
    pytest.importorskip("timm")
    name = "vpnext-eva02-l-pascal-context"
    recipe, base = load_recipe(f"{name}-mask2former"), load_recipe(name)
    for section in ("optimizer", "schedule", "run"):
        assert getattr(recipe, section) == getattr(base, section)
    assert (recipe.data.train, recipe.data.transforms) == (base.data.train, base.data.transforms)
    assert recipe.model.processor == base.model.processor and recipe.model.backbone == base.model.backbone
    assert recipe.model.config["timm_kwargs"] == base.model.config["timm_kwargs"]
    with torch.device("meta"):
        model = hfseg.from_recipe(f"{name}-mask2former")
        paper = hfseg.from_recipe(name)
    assert type(model).__name__ == "ProScaleForUniversalSegmentation" and model.config.num_labels == 59
    config = model.config
    assert (config.encoder, config.backbone_pyramid, config.feature_size) == ("full", "simple", 1024)
    assert (config.encoder_layers, config.decoder_layers, config.num_queries) == (6, 9, 100)
    ours, theirs = (one.model.backbone.state_dict() for one in (model, paper))
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    rates = {n: group["lr"] for group in parameter_groups(model, recipe.optimizer) for n in group["parameter_names"]}
    block = "model.backbone._backbone.model.blocks.{}.mlp.fc2.weight"
    assert [rates[block.format(k)] for k in (0, 23)] == pytest.approx([4e-5 * 0.9**24, 4e-5 * 0.9])
    assert rates["model.pyramid.projections.0.0.weight"] == rates["class_predictor.weight"] == pytest.approx(4e-4)


def test_tiny_recipe_trains_through_the_command(tmp_path):
    """Two updates and the held-out mean IoU; the folder has no training heads."""
    changes = ["run.max_steps=2", "schedule.warmup_steps=1", "data.num_workers=0", "data.batch_size=2"]
    changes += ["data.validation.num_scenes=2", "run.mixed_precision=no"]
    main(["--recipe", "vpnext-tiny-shapes", "--output_dir", str(tmp_path), *changes])
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert 0 <= metrics["mean_iou"] <= 100
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["use_vcr"] is False and config["architectures"] == ["VPNeXtForSemanticSegmentation"]
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size_divisor"] == 8
