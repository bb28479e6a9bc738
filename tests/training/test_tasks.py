# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks: what a recipe's `model.task` and `data.name` stand for, with and without an architecture's own."""

import dataclasses

import numpy as np
import pytest
import torch

from hfseg import auto, tasks
from hfseg.data import SemanticCollator, ShapesDataset, UniversalCollator
from hfseg.training import TrainingArguments
from hfseg.training.arguments import load_recipe
from hfseg.training.tasks import base, build_task, task_class
from hfseg.training.tasks.closed_vocabulary import SemanticTask, UniversalTask


def test_an_architecture_brings_its_own(monkeypatch):
    row = dataclasses.replace(
        auto.find("proscale"), training={"semantic": "training.tasks.closed_vocabulary:UniversalTask"}
    )
    monkeypatch.setattr(auto, "ARCHITECTURES", [row])
    for model_type, expected in (("proscale", UniversalTask), ("segformer", SemanticTask)):
        recipe = {"model": {"model_type": model_type, "task": "semantic"}}
        assert type(build_task(TrainingArguments.from_dict(recipe))) is expected


def test_every_general_task_can_be_built():
    for name in tasks.training_places(None):
        task = build_task(TrainingArguments.from_dict({"model": {"task": name, "model_type": "proscale"}}))
        assert task.default_collator in task.collators


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("semantik", "must be one of universal, .*got 'semantik'.*Did you mean semantic"),
        ("hfseg.nowhere:Task", "cannot be imported"),
    ],
)
def test_unknown_tasks(task, message):
    with pytest.raises(ValueError, match=message):
        build_task(TrainingArguments.from_dict({"model": {"task": task, "model_type": "proscale"}}))


def test_semantic_labels_of_both_schemas_agree():
    scene = ShapesDataset(num_scenes=1)[0]
    truth = np.zeros((96, 96), dtype=np.int64)
    for segment in scene["segments_info"]:
        truth[scene["segmentation"] == segment["id"]] = segment["category_id"]
    truth[:4] = 255
    scene["segmentation"] = np.where(truth == 255, 0, scene["segmentation"])
    plain = {"image": scene["image"], "segmentation_map": truth}
    medical = {"image": scene["image"], "mask": truth}
    collate = SemanticCollator(num_labels=10, size_divisor=64)
    batch = collate([scene, plain, medical])
    assert batch["labels"].shape == (3, 128, 128) and batch["labels"].dtype == torch.int64
    for labels in batch["labels"]:
        assert torch.equal(labels[:96, :96], torch.from_numpy(truth))
        assert (labels[96:] == 255).all() and (labels[:, 96:] == 255).all()
    assert torch.equal(batch["pixel_values"], UniversalCollator(size_divisor=64)([scene] * 3)["pixel_values"])


def test_a_text_task_without_vocabulary_is_refused():
    task = build_task(TrainingArguments.from_dict({"model": {"task": "referring", "model_type": "clipseg"}}))
    with pytest.raises(ValueError, match=r"needs model\.tokenizer"):
        task.build_processor(torch.nn.Identity())


def test_a_folder_of_a_shipped_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tasks.pretrained_source("proscale-tiny-nuclei").endswith("checkpoints/proscale-tiny-nuclei")
    (tmp_path / "proscale-tiny-nuclei").mkdir()
    assert tasks.pretrained_source("proscale-tiny-nuclei") == "proscale-tiny-nuclei"
    assert tasks.pretrained_source("owner/name") == "owner/name"


@pytest.mark.parametrize(
    ("installed", "backbone", "multiplier"), [(True, "efficientnet-lite0", 0.1), (False, None, 1.0)]
)
def test_the_automatic_backbone_is_chosen_when_the_task_is_built(installed, backbone, multiplier, monkeypatch, caplog):
    """ImageNet weights where they are installed, else none and the full learning rate; `task_class` decides nothing."""
    monkeypatch.setattr(base, "packaged_is_installed", lambda name: installed)
    arguments = load_recipe("proscale-tiny-instances")
    arguments.optimizer.backbone_multiplier = 0.1
    before = dict(arguments.model.config)
    assert issubclass(task_class(arguments), UniversalTask)
    assert arguments.model.backbone == "auto" and not caplog.records
    build_task(arguments)
    assert (arguments.model.backbone, arguments.optimizer.backbone_multiplier) == (backbone, multiplier)
    assert (arguments.model.config == before) == (not installed)
    assert ("starts from scratch" in caplog.text) == (not installed)
