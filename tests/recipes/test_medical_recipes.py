# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recipes of MedDenseViT say what the source says, and the tiny one trains from files to a folder."""

import json
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, get_scheduler

from hfseg import MedDenseViTConfig
from hfseg.commands.train import main
from hfseg.models.meddensevit.configuration_meddensevit import SIZES
from hfseg.training import load_recipe
from hfseg.training.optimization import schedule_multiplier

nibabel = pytest.importorskip("nibabel")
CT = [f"meddensevit-{size}-ct" for size in ("small", "base", "large", "huge", "giant")]
LARGE = [*CT, "meddensevit-base-prostate", "meddensevit-base-lung-nodule"]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", [*LARGE, "meddensevit-tiny-hippocampus"])
def test_schedule_is_the_sources(name):
    """Warm-up over a tenth of the steps, cosine to 1e-6: equal to transformers' schedule of that name."""
    recipe = load_recipe(name)
    steps, peak = recipe.run.max_steps, recipe.optimizer.learning_rate
    assert recipe.schedule.warmup_steps == steps // 10
    parameter = torch.nn.Parameter(torch.zeros(1))
    theirs = get_scheduler(
        "cosine_with_min_lr",
        torch.optim.AdamW([parameter], lr=peak),
        num_warmup_steps=steps // 10,
        num_training_steps=steps,
        scheduler_specific_kwargs={"min_lr": 1e-6},
    )
    (factor,) = theirs.lr_lambdas
    for step in (0, steps // 20, steps // 10, steps // 2, steps - 1, steps):
        assert schedule_multiplier(step, steps, recipe.schedule) == pytest.approx(factor(step), abs=1e-9), step
    assert peak * factor(steps) == pytest.approx(1e-6)


def test_seed_recipe():
    recipe = load_recipe("meddensevit-base-ct")
    assert 8 * recipe.data.batch_size * recipe.run.gradient_accumulation_steps == 256  # on eight processes
    assert recipe.optimizer.name == "adamw" and recipe.run.mixed_precision == "fp16"
    assert recipe.data.collator["size"] == [512, 512] and recipe.data.collator["affine"]["rotation"] == 15
    assert load_recipe("meddensevit-base-prostate").optimizer.layer_decay == 0.8


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_those_of_the_configuration(size):
    given, expected = load_recipe(f"meddensevit-{size}-ct").model.config, MedDenseViTConfig.of_size(size)
    backbone = expected.backbone_config.to_dict()
    assert given["feature_size"] == expected.feature_size
    assert {name: backbone[name] for name in given["backbone_config"]} == given["backbone_config"]


def write_volumes(root):
    """Volumes with two bright structures that one look tells apart."""
    for split, count in (("train", 3), ("val", 1)):
        for number in range(count):
            generator = np.random.default_rng(number + 10 * count)
            mask = np.zeros((24, 32, 6), dtype=np.uint8)
            mask[6:18, 4 + number : 12, 1:5], mask[8:16, 20:28, 1:5] = 1, 2
            image = (generator.normal(100, 5, mask.shape) + 120 * mask).astype(np.float32)
            for folder, array in (("images", image), ("labels", mask)):
                path = root / folder / split / f"v{number}_{split}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def small(data):
    """Overrides for a network of a moment on the data that `write_volumes` wrote."""
    return [
        f"data.train.root={data}",
        f"data.validation.root={data}",
        "data.collator.size=[24, 32]",
        "model.processor.size={height: 24, width: 32}",
        "model.config.backbone_config.num_hidden_layers=4",
        "model.config.backbone_config.hidden_size=32",
        "model.config.backbone_config.num_attention_heads=2",
        "model.config.backbone_config.out_indices=[1, 2, 3, 4]",
    ]


def test_tiny_recipe_trains_from_files_to_a_folder(tmp_path):
    write_volumes(tmp_path / "data")
    overrides = [
        *small(tmp_path / "data"),
        "data.batch_size=4",
        "run.gradient_accumulation_steps=2",
        "run.max_steps=40",
        "schedule.warmup_steps=4",
        "optimizer.learning_rate=3e-3",
        "run.evaluation={measures: [dice, surface_distance], loss: true}",
    ]
    main(["--recipe", "meddensevit-tiny-hippocampus", *overrides, "--output_dir", str(tmp_path / "run")])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    numbers = metrics.get("metrics", metrics)
    assert numbers["dice"] > 0.8 and numbers["dice_anterior"] > 0.8
    assert numbers["assd"] < 2 and "loss" in numbers
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "run")
    assert model.class_balance.updates.tolist() == [40, 40, 40]  # once per update, not per micro-batch
    processor = AutoImageProcessor.from_pretrained(tmp_path / "run")
    result = model.predict_volume(tmp_path / "data/images/val/v0_val.nii.gz", processor, progress=False)
    truth = np.asarray(nibabel.load(tmp_path / "data/labels/val/v0_val.nii.gz").dataobj)
    both = ((result.segmentation == truth) & (truth > 0)).sum()
    assert 2 * both / ((result.segmentation > 0).sum() + (truth > 0).sum()) > 0.8


def test_moving_averages_survive_a_resume(tmp_path):
    """Four updates in one go and in two halves: the same weights, class balance and term balance, bit by bit."""
    write_volumes(tmp_path / "data")
    numbers = ["data.batch_size=4", "data.validation=null", "run.max_steps=4", "run.save_every=2"]
    overrides = [*small(tmp_path / "data"), *numbers, "schedule.warmup_steps=1"]
    overrides = [entry for entry in overrides if not entry.startswith("data.validation.")]
    command = ["--recipe", "meddensevit-tiny-hippocampus", *overrides, "--output_dir"]
    main([*command, str(tmp_path / "whole")])
    (tmp_path / "halves").mkdir()
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "halves" / "checkpoint-2")
    AcceleratorState._reset_state(reset_partial_state=True)
    main([*command, str(tmp_path / "halves"), "--resume_from_checkpoint", "latest"])
    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert {name for name in whole if name.endswith(("average", "updates"))} >= {"class_balance.average"}
    assert whole["class_balance.updates"].tolist() == [4, 4, 4]
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_leaking_patients_stop_training(tmp_path, refuses):
    write_volumes(tmp_path / "data")
    overrides = [
        f"data.train.root={tmp_path / 'data'}",
        "data.validation=null",
        "data.train.patient_pattern='(v[0-9])_'",
        "run.max_steps=1",
        "schedule.warmup_steps=0",
    ]
    words = ["--recipe", "meddensevit-tiny-hippocampus", *overrides, "--output_dir", tmp_path / "run"]
    assert "v0 in train and val" in refuses(main, words)
