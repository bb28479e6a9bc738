# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recipes of MedDenseViT say what the source says, and the tiny one trains from files to a folder."""

import json
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
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
LARGE += ["meddensevit-base-xray", "meddensevit-base-ct-mr-xray"]


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


def small_sets(root):
    """A CT, an MR and an X-ray dataset of the layouts that the mixed recipe names."""

    def save(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)

    generator, files = np.random.default_rng(0), []
    mask = np.zeros((24, 32, 3), dtype=np.uint8)
    mask[4:12, 4:12], mask[14:20, 16:28] = 1, 2
    for number in range(5):
        noise = generator.normal(0, 5, mask.shape).astype(np.float32)
        save(root / f"ct/imagesTr/{number}.nii.gz", (noise - 900 + 300.0 * mask).astype(np.float32))
        save(root / f"ct/labelsTr/{number}.nii.gz", mask)
        save(
            root / f"mr/imagesTr/{number}.nii.gz",
            np.stack([noise + 100 + 90.0 * mask, noise + 50], -1).astype(np.float32),
        )
        save(root / f"mr/labelsTr/{number}.nii.gz", mask)
        files.append({"image": f"imagesTr/{number}.nii.gz", "label": f"labelsTr/{number}.nii.gz"})
        split = "val" if number == 4 else "train"
        for folder, array in (("images", 20 + np.int64(90) * mask[..., 0]), ("masks", mask[..., 0])):
            path = root / "xr" / folder / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)
    description = {"labels": {"0": "background", "1": "PZ", "2": "TZ"}, "training": files}
    (root / "mr/dataset.json").write_text(json.dumps(description))


TINY = [
    "data.collator.size=[24, 32]",
    "model.processor.size={height: 24, width: 32}",
    "model.config.backbone_config.num_hidden_layers=4",
    "model.config.backbone_config.hidden_size=32",
    "model.config.backbone_config.num_attention_heads=2",
    "model.config.backbone_config.intermediate_size=64",
    "model.config.backbone_config.out_indices=[1, 2, 3, 4]",
    "model.config.feature_size=16",
    "data.batch_size=4",
    "data.num_workers=0",
    "run.gradient_accumulation_steps=1",
    "run.mixed_precision=no",
    "run.max_steps=2",
    "schedule.warmup_steps=1",
]


def test_mixed_modalities_train_from_files_to_a_folder(tmp_path):
    small_sets(tmp_path)
    roots = [
        f"data.{side}.datasets.{number}.root={tmp_path / name}"
        for side in ("train", "validation")
        for number, name in enumerate(("ct", "mr", "xr"))
    ]
    overrides = [*roots, *TINY, "run.global_batch_size=4"]
    overrides += [f"data.{side}.cache_dir={tmp_path / 'cache'}" for side in ("train", "validation")]
    main(["--recipe", "meddensevit-base-ct-mr-xray", *overrides, "--output_dir", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    # Of the classes that occur in the held-out volumes of each dataset.
    assert {f"dice_{name}" for name in ("spleen", "right kidney", "PZ", "TZ", "right lung", "left lung")} <= set(
        numbers
    )
    assert len(list((tmp_path / "cache").iterdir())) == 3 * 5  # training and validation share the folder
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "run")
    assert model.config.num_labels == 21 and model.config.id2label[17] == "TZ"
    processor = AutoImageProcessor.from_pretrained(tmp_path / "run")
    for modality, name in (("CT", "ct"), ("MR", "mr")):
        source = tmp_path / name / "imagesTr/0.nii.gz"
        channels = {"channels": [0]} if name == "mr" else {}
        result = model.predict_volume(source, processor, progress=False, modality=modality, **channels)
        assert result.segmentation.shape == (24, 32, 3)


def test_xray_recipe(tmp_path):
    small_sets(tmp_path)
    roots = [f"data.{side}.root={tmp_path / 'xr'}" for side in ("train", "validation")]
    command = ["--recipe", "meddensevit-base-xray", *roots, *TINY, "--output_dir", str(tmp_path / "run")]
    main([*command, "run.global_batch_size=4"])
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert {"dice_right lung", "dice_left lung", "assd"} <= set(numbers)


def test_the_batch_of_the_source_is_checked(tmp_path, refuses):
    roots = [f"data.{side}.root={tmp_path / 'xr'}" for side in ("train", "validation")]
    small_sets(tmp_path)
    said = refuses(main, ["--recipe", "meddensevit-base-xray", *roots, *TINY, "--output_dir", tmp_path / "run"])
    assert "run.global_batch_size=256" in said and "run.gradient_accumulation_steps=64" in said
