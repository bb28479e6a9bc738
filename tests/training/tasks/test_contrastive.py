# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CLIP from images with captions, for every open-vocabulary architecture: what learns, by which loss, what is saved."""

import pytest
import torch
from accelerate.state import AcceleratorState

from hfseg import ProScaleForOpenVocabularySegmentation, UnpairSegForOpenVocabularySegmentation
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.contrastive import FREEZING, ContrastiveTowers
from proscale_models import tiny_open_vocabulary_config
from unpairseg_models import tiny_config


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def models(architecture):
    torch.manual_seed(0)
    if architecture == "proscale":
        return ProScaleForOpenVocabularySegmentation(tiny_open_vocabulary_config(freeze_clip=False))
    return UnpairSegForOpenVocabularySegmentation(tiny_config(freeze_backbone=False))


def batch():
    torch.manual_seed(1)
    ids = torch.tensor([[62, 5, 63, 63], [62, 7, 9, 63], [62, 5, 63, 63]])  # the first and the last are the same text
    return {"pixel_values": torch.randn(3, 3, 64, 64), "input_ids": ids}


@pytest.mark.parametrize("architecture", ["proscale", "unpairseg"])
def test_the_loss_is_that_of_clip(architecture):
    """Cross-entropy of three images over their three texts and back, by hand; equal texts share the target."""
    towers, given = ContrastiveTowers(models(architecture).eval()), batch()
    with torch.no_grad():
        outputs = towers(**given)
        images, texts = outputs.image_embeds, outputs.text_embeds
        logits = towers.model.logit_scale.exp() * images @ texts.t()
    torch.testing.assert_close(images.norm(dim=-1), torch.ones(3))
    target = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    expected = -(target * (logits.log_softmax(-1) + logits.t().log_softmax(-1))).sum() / 3 / 2
    torch.testing.assert_close(outputs.loss, expected)


def test_other_processes_are_asked_in_training_only(monkeypatch):
    """In evaluation they may have another number of batches, and would wait forever."""
    asked = []
    monkeypatch.setattr("hfseg.losses.contrastive.gather_with_gradient", lambda part: asked.append(part) or part)
    towers = ContrastiveTowers(models("proscale"))
    towers.eval()(**batch())
    assert not asked
    towers.train()(**batch())
    assert len(asked) == 3


@pytest.mark.parametrize("architecture", ["proscale", "unpairseg"])
def test_all_of_clip_learns_and_nothing_else(architecture):
    towers = ContrastiveTowers(models(architecture)).train()
    optimizer = torch.optim.AdamW([p for p in towers.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
    before = {name: value.clone() for name, value in towers.model.state_dict().items()}
    losses = []
    for _ in range(8):
        loss = towers(**batch()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    moved = {name for name, value in towers.model.state_dict().items() if not torch.equal(value, before[name])}
    trunk = "mask_class_encoder" if architecture == "proscale" else "model.backbone"
    own = {"proscale": (), "unpairseg": ("visual_projection",)}[architecture]
    expected = (trunk, "text_model", "logit_scale", *own)
    assert all(name.startswith(expected) and ".relative." not in name for name in moved)
    assert all(any(name.startswith(part) for name in moved) for part in expected)


@pytest.mark.parametrize("recipe", ["proscale-tiny-clip", "unpairseg-tiny-clip"])
def test_folders_have_a_frozen_clip_and_the_run_goes_on_learning(recipe, tmp_path):
    changes = ["data.train.num_scenes=2", "data.batch_size=2"]
    task = build_task(load_recipe(recipe, changes))
    dataset = task.build_dataset(task.arguments.data.train)
    towers = task.build_model(dataset)
    processor = task.build_processor(towers)
    collate = task.build_collator(dataset, towers, processor)
    given = collate([dataset[0], dataset[1]])
    assert (given["input_ids"] > 0).all()  # every word is known
    assert towers(**given).loss.requires_grad
    task.save(towers, tmp_path, towers.state_dict())
    inner = task.inner(towers)
    learning = {name: getattr(inner.config, name) for name in FREEZING if hasattr(inner.config, name)}
    assert learning and not any(learning.values())
    loaded = type(inner).from_pretrained(tmp_path)
    assert all(getattr(loaded.config, name) for name in learning)
    for name, value in inner.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
