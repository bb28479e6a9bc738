# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks: what a recipe's `model.task` and `data.name` stand for, with and without an architecture's own."""

import dataclasses

import numpy as np
import pytest
import torch

import hfseg
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


@pytest.mark.parametrize(("own", "kept"), [
    ({"model_type": "resnet"}, False),
    ({"model_type": "timm_backbone", "backbone": "tf_efficientnet_lite0", "stage_blocks": [1] * 7}, False),
    ({"model_type": "timm_backbone", "backbone": "tf_efficientnet_lite1", "stage_blocks": [1] * 7}, True),
])  # fmt: skip
def test_packaged_weights_bring_their_network(own, kept, caplog):
    """A name says which network: only the same one, shortened, may stand in the recipe."""
    arguments = load_recipe("proscale-tiny-instances", ["model.backbone=efficientnet-lite1"])
    arguments.model.config["backbone_config"] = dict(own)
    build_task(arguments)
    network = arguments.model.config["backbone_config"]
    assert (network == own) == kept and network["backbone"] == "tf_efficientnet_lite1"
    assert ("backbone_config is not used" in caplog.text) == (not kept)


@pytest.mark.parametrize(("recipe", "said"), [
    ("unisegformer-tiny-shapes", "encoder of UniSegFormerForUniversalSegmentation is no such network"),
    ("vpnext-tiny-shapes", "a plain ViT"),
    ("unpairseg-tiny-clip", "must be a ConvNeXt"),
    ("cris-tiny-shapes", "starts from a CLIP"),
    ("lavin-dit-tiny-shapes", "have no backbone"),
])  # fmt: skip
def test_a_backbone_that_a_model_cannot_have_is_refused_in_a_dry_run_too(recipe, said, tmp_path):
    with pytest.raises(ValueError, match=f"(?s).*{said}"):
        hfseg.train(recipe, "model.backbone=efficientnet-lite1", output_dir=tmp_path, dry_run=True)


def test_a_backbone_beside_the_weights_of_a_whole_model_is_refused():
    arguments = load_recipe("proscale-tiny-shapes", ["model.backbone=efficientnet-lite0"])
    arguments.model.pretrained = "proscale-tiny-shapes"
    with pytest.raises(ValueError, match=r"model\.backbone is 'efficientnet-lite0', but model\.pretrained"):
        build_task(arguments)


@pytest.mark.parametrize(("start", "where"), [("", "model.config is not valid"),
                                              ("proscale-tiny-shapes", "with model.config is not valid")])  # fmt: skip
def test_a_wrong_field_of_the_configuration_is_one_sentence(start, where):
    model = {"config": {"query_selection": None}, "pretrained": start or None, "model_type": "proscale"}
    task = build_task(TrainingArguments.from_dict({"model": model}))
    with pytest.raises(ValueError, match=f"{where}: .*'query_selection' expected str, got NoneType"):
        task.build_model(None)
