# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Published recipes: every one builds its model, of the published size, and says what the papers say."""

import json
import math

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from transformers import ResNetConfig, ResNetModel, SwinConfig, SwinModel

from hfseg.commands.train import main
from hfseg.data import load_official
from hfseg.files.label_names import CITYSCAPES_LABEL_IDS, COCO_PANOPTIC, COCO_PANOPTIC_THINGS
from hfseg.training import load_recipe
from hfseg.training.arguments import ModelArguments, recipe_names
from hfseg.training.optimization import parameter_groups, schedule_multiplier
from hfseg.training.tasks.base import build_model, build_transforms

BACKBONES = ("swin-t", "swin-s", "swin-b", "swin-l", "r50", "r101", "mvitv2-t")
DATA = ("coco", "cityscapes", "cityscapes-poly")
RECIPES = [f"proscale-{backbone}-{data}" for backbone in BACKBONES for data in DATA]

# Parameters of the (3,3,3) models on COCO, from the official code where it could be counted. A class more or less
# changes 257 weights of the class head.
PUBLISHED = {"swin-t": 48_820_225, "r50": 45_368_839}
# Backbones with a head-independent rest (pixel decoder and mask decoder) that follows from the channels: millions.
BACKBONE_MILLIONS = {"swin-t": 27.5, "swin-s": 48.8, "swin-b": 86.8, "swin-l": 195.0, "mvitv2-t": 23.4}


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def on_meta(name):
    """A recipe and its model, without memory for its weights."""
    recipe = load_recipe(name)
    classes = 133 if "coco" in name else 19
    with torch.device("meta"):
        model = build_model(recipe.model, {k: str(k) for k in range(classes)}, [0], load_backbone=False)
    return recipe, model


def count(module):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_every_published_run_has_a_recipe():
    assert set(RECIPES) <= set(recipe_names())


@pytest.mark.parametrize("name", RECIPES)
def test_model_and_parameter_groups(name):
    if "mvit" in name:
        pytest.importorskip("timm")
    recipe, model = on_meta(name)
    key = name.removeprefix("proscale-").rsplit("-coco", 1)[0].split("-cityscapes")[0]
    classes = 133 if "coco" in name else 19
    total = count(model)
    if key in PUBLISHED:
        expected = PUBLISHED[key] - (133 - classes) * 257
        if key == "r50" and classes == 19:  # batch normalization is trained on Cityscapes
            expected += sum(p.numel() for n, p in model.model.backbone.named_parameters() if "normalization" in n)
        assert total == expected
    if key in BACKBONE_MILLIONS:
        assert count(model.model.backbone) / 1e6 == pytest.approx(BACKBONE_MILLIONS[key], abs=0.3)
    assert model.config.num_queries == (200 if key == "swin-l" else 100)
    assert tuple(model.config.encoder_stage_layers) == (3, 3, 3) and model.config.num_labels == classes

    groups = {}
    for group in parameter_groups(model, recipe.optimizer):
        groups[group["lr"], group["weight_decay"]] = group["parameter_names"]
    kinds = {(1e-4, 0.05), (1e-4, 0.0), (1e-5, 0.05), (1e-5, 0.0)}
    if key in ("r50", "r101") and classes == 133:  # convolutions without bias, frozen normalization
        kinds -= {(1e-5, 0.0)}
    assert set(groups) == kinds
    for (rate, decay), names in groups.items():
        assert all(("backbone" in name) == (rate == 1e-5) for name in names)
        if decay:
            assert not [name for name in names if "relative_position_bias_table" in name or "norm" in name]


@pytest.mark.parametrize("name", RECIPES)
def test_hyperparameters(name):
    recipe = load_recipe(name)
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (
        "adamw",
        1e-4,
        0.05,
    )
    assert (recipe.optimizer.backbone_multiplier, recipe.optimizer.clip_norm) == (0.1, 0.01)
    assert recipe.data.batch_size == 16 and recipe.model.backbone is not None

    steps = recipe.run.max_steps
    rate = [schedule_multiplier(step, steps, recipe.schedule) for step in range(0, steps, 50)]
    assert rate == sorted(rate, reverse=True) and rate[0] == 1
    at = lambda step: schedule_multiplier(step, steps, recipe.schedule)  # noqa: E731
    if name.endswith("coco"):
        assert steps == 368_750
        assert [at(s) for s in (327_777, 327_778, 355_091, 355_092)] == pytest.approx([1, 0.1, 0.1, 0.01])
    elif name.endswith("poly"):
        assert steps == 90_000 and at(45_000) == pytest.approx(0.5**0.9)
    else:
        assert steps == 90_000
        assert [at(s) for s in (80_999, 81_000, 85_499, 85_500)] == pytest.approx([1, 0.1, 0.1, 0.01])

    steps = [type(step).__name__ for step in build_transforms(recipe.data.transforms).transforms]
    if name.endswith("coco"):
        assert steps == ["RandomHorizontalFlip", "LargeScaleJitter", "FixedSizeCrop"]
        assert recipe.data.transforms["crop_size"] == [1024, 1024]
    else:
        assert steps == ["RandomShortSide", "CategoryCappedCrop", "PhotometricDistortion", "RandomHorizontalFlip"]
        assert recipe.data.transforms["crop_size"] == [512, 1024]
        assert recipe.data.transforms["short_sides"] == [int(x * 0.1 * 1024) for x in range(5, 21)]


# -- the command, on tiny trees ----------------------------------------------------------------------------------------


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    """COCO and Cityscapes with two images per split, where the recipes look for them."""
    random = np.random.default_rng(0)
    categories = [
        {"id": k + 1, "name": name, "isthing": int(k < COCO_PANOPTIC_THINGS)} for k, name in enumerate(COCO_PANOPTIC)
    ]
    for split in ("train", "val"):
        images, annotations = [], []
        for k in (1, 2):
            save(tmp_path / f"coco/{split}2017/{k}.jpg", random.integers(0, 255, (48, 64, 3), np.uint8))
            ids = np.zeros((48, 64, 3), np.uint8)
            ids[:24, :, 0], ids[24:, :40, 0] = 1, 2
            save(tmp_path / f"coco/annotations/panoptic_{split}2017/{k}.png", ids)
            images.append({"id": k, "file_name": f"{k}.jpg", "height": 48, "width": 64})
            segments = [{"id": i, "category_id": 100 * i - 99, "iscrowd": 0} for i in (1, 2)]
            annotations.append({"image_id": k, "file_name": f"{k}.png", "segments_info": segments})
            name = f"ulm/ulm_{k:06d}_000019"
            image = random.integers(0, 255, (64, 128, 3), np.uint8)
            save(tmp_path / f"cityscapes/leftImg8bit/{split}/{name}_leftImg8bit.png", image)
            values = np.where(np.arange(128) < 60, CITYSCAPES_LABEL_IDS[0], 26001).astype(np.uint16)
            values = np.ascontiguousarray(np.broadcast_to(values, (64, 128)))
            save(tmp_path / f"cityscapes/gtFine/{split}/{name}_gtFine_instanceIds.png", values)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / f"coco/annotations/panoptic_{split}2017.json").write_text(json.dumps(content))
    monkeypatch.setenv("HFSEG_DATASETS", str(tmp_path))
    return tmp_path


SMALL = {
    "coco": ["data.transforms.crop_size=[64, 64]"],
    "cityscapes": ["data.transforms.crop_size=[64, 128]", "data.transforms.short_sides=[64]"],
}


@pytest.mark.parametrize(
    "name", ["proscale-swin-t-coco", "proscale-r50-cityscapes", "proscale-mvitv2-t-cityscapes-poly"]
)
def test_dry_run(name, data_root, capsys):
    if "mvit" in name:
        pytest.importorskip("timm")
    data = "coco" if "coco" in name else "cityscapes"
    main(["--recipe", name, "--dry_run", "data.batch_size=4", "run.mixed_precision=null", *SMALL[data]])
    shown = capsys.readouterr().out
    size = (64, 64) if data == "coco" else (64, 128)
    assert f"pixel_values: float32 (4, 3, {size[0]}, {size[1]})" in shown
    steps = 368750 if data == "coco" else 90000
    assert f"{steps} updates of 4 samples (4 x 1 micro-batches x 1 processes)" in shown
    assert "lr 1e-05, weight decay 0.05" in shown and "activations of one micro-batch" in shown
    if name == "proscale-swin-t-coco":
        counts = [
            int(line.split("tensors, ")[1].split(" ")[0].replace(",", ""))
            for line in shown.splitlines()
            if " tensors, " in line
        ]
        assert sum(counts) == PUBLISHED["swin-t"]


def test_a_recipe_without_its_data_says_what_is_missing(data_root, refuses):
    line = refuses(main, ["--recipe", "proscale-swin-t-coco", "--dry_run", "data.train.root=nowhere"])
    assert "folder of coco_panoptic does not exist" in line and "nowhere" in line
    (data_root / "coco/annotations/panoptic_train2017.json").unlink()
    line = refuses(main, ["--recipe", "proscale-swin-t-coco", "--dry_run"])
    assert "missing are annotations/panoptic_train2017.json (segments)" in line


def test_training_reads_official_folders(data_root, tmp_path, refuses):
    """Updates of a tiny model: reader, transforms, collator and loop fit together; a damaged image is skipped."""
    for split in ("train", "val"):
        path = load_official("coco_panoptic", data_root / "coco", split).files(0)[0]
        path.write_bytes(path.read_bytes()[:400])
    tiny = {
        "backbone_config": {
            "model_type": "resnet",
            "layer_type": "basic",
            "embedding_size": 8,
            "hidden_sizes": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        **dict.fromkeys(("feature_size", "mask_feature_size", "hidden_size", "dim_feedforward"), 32),
        "encoder_stage_layers": [1, 1, 1],
        "num_attention_heads": 4,
        "decoder_layers": 1,
        "num_queries": 5,
        "train_num_points": 64,
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("base: base/proscale-coco\n")
    changes = [
        f"model.config={json.dumps(tiny)}",
        "run.max_steps=2",
        "run.mixed_precision=null",
        "run.evaluate_every=null",
        "schedule.milestones=[1]",
        "data.num_workers=0",
    ]
    changes += ["data.batch_size=2", *SMALL["coco"]]
    line = refuses(main, ["--recipe", recipe, "--output_dir", tmp_path / "stop", *changes])
    assert "Could not read the sample 1: " in line and "1.jpg" in line
    main(["--recipe", str(recipe), "--output_dir", str(tmp_path / "skip"), "data.on_error=skip", *changes])
    config = json.loads((tmp_path / "skip/config.json").read_text())
    assert config["id2label"]["132"] == "rug-merged" and config["stuff_class_ids"] == list(range(80, 133))
    assert math.isfinite(json.loads((tmp_path / "skip/metrics.json").read_text())["metrics"]["pq"])


def test_backbone_weights(tmp_path):
    sizes = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8], "window_size": 4}
    classifier = SwinModel(SwinConfig(**sizes))
    classifier.save_pretrained(tmp_path / "swin")
    config = {
        "backbone_config": {"model_type": "swin", **sizes, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
    }
    config |= {
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "decoder_layers": 1,
    }
    arguments = ModelArguments(model_type="proscale", config=config, backbone=str(tmp_path / "swin"))
    backbone = build_model(arguments).model.backbone
    for name, value in classifier.state_dict().items():
        if not name.startswith("layernorm."):  # of the classifier alone
            assert torch.equal(backbone.swin.state_dict()[name], value), name
    arguments.backbone = str(tmp_path / "none")
    with pytest.raises(ValueError, match=r"model\.backbone is .*none.* null to start from scratch"):
        build_model(arguments)
    assert build_model(arguments, load_backbone=False) is not None
    SwinModel(SwinConfig(**{**sizes, "embed_dim": 32})).save_pretrained(tmp_path / "other")
    arguments.backbone = str(tmp_path / "other")
    with pytest.raises(ValueError, match="same sizes"):
        build_model(arguments)
    arguments.backbone = str(tmp_path / "resnet")
    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4)).save_pretrained(
        arguments.backbone
    )
    with pytest.raises(ValueError, match=r"lacks \d+ tensors of a 'swin'"):
        build_model(arguments)
