# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The task of masked images: what is trained from it, its images, and architectures that have none."""

import pytest
import torch
from PIL import Image
from transformers import DINOv3ViTBackbone

from hfseg.commands.train import main
from hfseg.data.synthetic.shapes import ShapesDataset
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.masked_image import Images
from masked_image_models import TINY, model


def test_pretrained_backbone_starts_a_training(tmp_path):
    scenes = ShapesDataset(num_scenes=4)
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for index in range(4):
        Image.fromarray(scenes[index]["image"]).save(tmp_path / "images" / "deep" / f"{index}.png")
    data = ["data.name=images", f"data.train.path={tmp_path / 'images'}", "data.batch_size=2", "data.validation=null"]
    run = ["run.max_steps=2", "schedule.warmup_steps=1", "model.task=masked-image"]
    main(["--recipe", "vpnext-tiny-folder", "--output_dir", str(tmp_path / "out"), *TINY, *data, *run])
    trained = DINOv3ViTBackbone.from_pretrained(tmp_path / "out").state_dict()
    fresh = model().backbone.state_dict()
    assert any(not torch.equal(trained[name], fresh[name]) for name in fresh)
    arguments = load_recipe("vpnext-tiny-folder", [*TINY, f"model.backbone={tmp_path / 'out'}"])
    started = build_task(arguments).build_model(scenes).model.backbone.state_dict()
    assert all(torch.equal(started[name], trained[name]) for name in started)


def test_images_of_a_split(tmp_path):
    for name in ("train/a.png", "train/deep/b.png", "val/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert [len(Images(tmp_path, split)) for split in ("train", "val", None, "other")] == [2, 1, 3, 3]


def test_folder_without_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no image"):
        Images(tmp_path)


def test_architecture_without_a_vit_is_refused():
    task = build_task(load_recipe("proscale-tiny-shapes", ["model.task=masked-image"]))
    with pytest.raises(ValueError, match="no plain ViT"):
        task.build_model(None)
