# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From a Mask2Former to a trained PRO-SCALE: warm start, distillation with and without labels, by command."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from transformers import pipeline

import hfseg
from hfseg import ProScaleForUniversalSegmentation
from hfseg.commands.main import main
from hfseg.data.synthetic.shapes import ShapesDataset, id2label, render_scene
from hfseg.models.proscale.training_proscale import UnlabeledImages, load_images
from hfseg.training.arguments import load_recipe
from hfseg.training.optimization import parameter_groups
from hfseg.training.tasks import build_task
from models.proscale.test_convert_mask2former import save_mask2former
from proscale_models import tiny_config

NAMES = {"id2label": id2label, "label2id": {value: key for key, value in id2label.items()}}
SMALL = ["data.batch_size=2", "run.log_every=1", "model.config.train_num_points=64", "schedule.warmup_steps=0"]
CROP = "data.transforms={name: semantic, crop_size: [64, 64], short_sides: [64]}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_mask2former(tmp_path_factory.mktemp("teacher"), **NAMES)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "summer"
    folder.mkdir(parents=True)
    for index in range(11):
        Image.fromarray(render_scene(index).image).save(folder / f"{index:02}.png")
    return folder.parent


def test_command_distills_from_images_without_labels(teacher, photos, tmp_path):
    before = {file.name: file.read_bytes() for file in teacher.iterdir()}
    folder = tmp_path / "out"
    command = ["train", "--recipe", "proscale-from-mask2former", "--data", str(photos), f"model.pretrained={teacher}"]
    changes = [*SMALL, CROP, "run.max_steps=2", "run.save_every=2"]
    assert main([*command, "model.config.encoder_stage_layers=[1,0,1]", *changes, "--output_dir", str(folder)]) == 0
    stored = load_file(folder / "model.safetensors")
    assert not [name for name in stored if name.startswith(("student", "teacher"))]
    student = hfseg.ProScaleForUniversalSegmentation.from_pretrained(folder)
    assert student.config.encoder == "progressive" and list(student.config.encoder_stage_layers) == [1, 0, 1]
    warm = hfseg.from_mask2former(teacher, encoder_stage_layers=[1, 0, 1]).model
    moved = [name for name, value in student.state_dict().items() if not torch.equal(value, warm.state_dict()[name])]
    assert any(name.startswith("class_predictor") for name in moved) and any("backbone" in name for name in moved)
    assert {file.name: file.read_bytes() for file in teacher.iterdir()} == before
    assert "loss" in json.loads((folder / "metrics.json").read_text())["metrics"]
    card = ModelCard.load(folder / "README.md")
    assert "ProScaleForUniversalSegmentation" in card.text and "9 training samples, 2 held out" in card.text
    assert (
        pipeline("image-segmentation", model=str(folder), device="cpu")(str(photos / "summer" / "00.png")) is not None
    )
    # Resumed, the same as in one go.
    longer = [*command, *SMALL, CROP, "model.config.encoder_stage_layers=[1,0,1]", "run.max_steps=4"]
    assert main([*longer, "run.save_every=2", "--output_dir", str(tmp_path / "whole")]) == 0
    (tmp_path / "whole" / "checkpoint-4").rename(tmp_path / "kept")
    assert main([*longer, "run.save_every=2", "--output_dir", str(tmp_path / "whole"), "--resume_from_checkpoint",
                 "latest"]) == 0  # fmt: skip
    resumed = load_file(tmp_path / "whole" / "checkpoint-4" / "model.safetensors")
    straight = load_file(tmp_path / "kept" / "model.safetensors")
    assert resumed.keys() == straight.keys() and all(torch.equal(resumed[key], straight[key]) for key in resumed)


def job(teacher, *changes, recipe="proscale-from-mask2former"):
    arguments = load_recipe(recipe, [f"model.pretrained={teacher}", "data.transforms=null", *SMALL, *changes])
    task = build_task(arguments)
    dataset = task.build_dataset(arguments.data.train)
    torch.manual_seed(0)
    model = task.build_model(dataset)
    return task, dataset, model, task.build_collator(dataset, model, task.build_processor(model))


SHAPES = ["data.name=shapes", "data.train={split: train, num_scenes: 8, image_size: [64, 64]}"]


def test_labels_are_learned_beside_the_teacher_if_they_are_there_and_wanted(teacher):
    _, dataset, model, collate = job(teacher, *SHAPES)
    batch = collate([dataset[0], dataset[1]])
    terms = model(**batch)["loss_dict"]
    own = model.student(**batch).loss_dict
    assert {name for name in terms if not name.startswith("distillation_")} == set(own)
    assert {f"distillation_{name}" for name in own} <= set(terms)
    _, dataset, model, collate = job(teacher, *SHAPES, "data.collator={labels: false}")
    batch = collate([dataset[0], dataset[1]])
    assert set(batch) == {"pixel_values"}
    assert all(name.startswith("distillation_") for name in model(**batch)["loss_dict"])


def test_a_full_student_has_nothing_to_learn_and_a_short_one_learns(teacher):
    _, dataset, model, collate = job(teacher, *SHAPES, "data.collator={labels: false}", "model.config.encoder=full")
    batch = collate([dataset[0], dataset[1]])
    last = [term for name, term in model.eval()(**batch)["loss_dict"].items() if name.split("_")[-1].isalpha()]
    assert len(last) == 3 and all(abs(float(term.detach())) < 1e-3 for term in last)
    _, dataset, model, collate = job(teacher, *SHAPES, "data.collator={labels: false}")
    batch = collate([dataset[index] for index in range(4)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(40):
        torch.manual_seed(1)
        loss = model(**batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert not any("teacher" in name for name, _ in model.named_parameters())


def test_other_classes_need_no_teacher(teacher, tmp_path):
    folder = tmp_path / "data"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(5):
        Image.fromarray(render_scene(index).image).save(folder / "images" / f"{index}.png")
        labels = np.zeros((96, 96), dtype=np.uint8)
        labels[40:] = 1
        Image.fromarray(labels).save(folder / "labels" / f"{index}.png")
    path = json.dumps(str(folder))
    with pytest.raises(ValueError, match=r"set model\.task=universal"):
        job(teacher, f"data.train.path={path}")
    task, _, model, _ = job(teacher, "model.task=universal", "data.name=folder", "data.collate=auto",
                            f"data.train.path={path}")  # fmt: skip
    assert model.config.num_labels == 2 and model.class_predictor.out_features == 3
    warm = hfseg.from_mask2former(teacher, encoder_stage_layers=[1, 1, 1]).model
    same = [
        torch.equal(a, b) for a, b in zip(model.model.mask_decoder.parameters(), warm.model.mask_decoder.parameters())
    ]
    assert same and all(same)
    assert task.build_processor(model).size["shortest_edge"] == 64  # the Mask2Former's
    with pytest.raises(ValueError, match="needs the folder or Hub id of a Mask2Former"):
        build_task(load_recipe("proscale-from-mask2former", [])).build_model(ShapesDataset(num_scenes=1))


def test_images_with_and_without_labels_are_told_apart(photos, tmp_path):
    train, rest = load_images(photos, "train"), load_images(photos, "validation")
    assert isinstance(train, UnlabeledImages) and len(train) == 9 and len(rest) == 2
    assert not set(train.files) & set(rest.files)
    assert (train[0]["segmentation_map"] == 255).all()
    (photos / "val").mkdir()
    (photos / "summer" / "03.png").rename(photos / "val" / "03.png")
    assert [file.name for file in load_images(photos, "val").files] == ["03.png"]
    (tmp_path / "labeled" / "images").mkdir(parents=True)
    (tmp_path / "labeled" / "labels").mkdir()
    for index in range(5):
        Image.fromarray(render_scene(index).image).save(tmp_path / "labeled" / "images" / f"{index}.png")
        Image.new("L", (96, 96)).save(tmp_path / "labeled" / "labels" / f"{index}.png")
    assert load_images(tmp_path / "labeled", "train").id2label
    with pytest.raises(FileNotFoundError):
        load_images(tmp_path / "nothing", "train")


def test_weight_decay_is_mask2formers():
    """Its rule: none for norms, `nn.Embedding` and tables of relative positions; all else, `level_embed` too."""
    model = ProScaleForUniversalSegmentation(tiny_config())
    groups = parameter_groups(model, load_recipe("proscale-swin-t-coco").optimizer)
    decay = {name: group["weight_decay"] for group in groups for name in group["parameter_names"]}
    exempt = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.Embedding)
    expected = {
        f"{place}.{name}": 0.0 if isinstance(module, exempt) or name == "relative_position_bias_table" else 0.05
        for place, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }
    assert decay == expected and decay["model.pixel_decoder.level_embed"] == 0.05
