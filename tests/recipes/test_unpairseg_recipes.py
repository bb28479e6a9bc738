# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's recipes say what the thesis and the released configuration say, and both stages run."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import AutoModelForMaskGeneration

from hfseg import UnpairSegConfig, UnpairSegForOpenVocabularySegmentation, UnpairSegImageProcessor, UnpairSegProcessor
from hfseg.commands.train import main
from hfseg.training import load_recipe
from models.unpairseg.test_modeling_unpairseg import tiny_config
from models.unpairseg.test_processing_unpairseg import tiny_tokenizer


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_figures_of_the_thesis_and_of_the_release():
    thesis, released = load_recipe("unpairseg-stage1-sa1b"), load_recipe("unpairseg-stage1-sa1b-released")
    assert (thesis.data.batch_size, thesis.run.max_steps, thesis.optimizer.learning_rate) == (64, 200_000, 1e-4)
    assert (released.data.batch_size, released.run.max_steps) == (56, 110_000)
    for recipe, weights in ((thesis, (2, 1, 5)), (released, (2, 1, 1))):
        config = UnpairSegConfig(**recipe.model.config)
        assert (config.mask_weight, config.dice_weight, config.iou_weight) == weights
        assert config.train_points_per_side == 10 and recipe.optimizer.clip_norm == 1.0
    second = load_recipe("unpairseg-stage2")
    assert (second.data.batch_size, second.run.max_steps, second.optimizer.learning_rate) == (32, 30_000, 2e-5)
    config = UnpairSegConfig(**second.model.config)
    assert tuple(config.region_sizes) == (896, 1024, 1152) and config.matching == "bipartite"


def test_stage_one_runs_and_measures(tmp_path):
    changes = ["run.max_steps=2", "schedule.warmup_steps=0", "data.batch_size=2", "data.validation.num_scenes=1"]
    changes += ["data.train.image_size=[64, 64]", "data.collator.size=64", "model.processor.size.longest_edge=64"]
    assert main(["--recipe", "unpairseg-tiny-shapes", *changes, "--output_dir", str(tmp_path)]) in (0, None)
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    found = json.dumps(numbers)
    assert "1-pt IoU" in found and "1-box IoU" in found
    AutoModelForMaskGeneration.from_pretrained(tmp_path)


def test_stage_two_moves_the_adapter_only(tmp_path):
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(tiny_config(score_threshold=0.0))
    model.save_pretrained(tmp_path / "stage1")
    UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), tiny_tokenizer()).save_pretrained(
        tmp_path / "stage1"
    )
    changes = [f"model.pretrained={tmp_path / 'stage1'}", "run.max_steps=2", "schedule.warmup_steps=0"]
    changes += ["data.batch_size=2", "data.collator.size=64", "model.config.region_sizes=[64]"]
    changes += ["model.config.clip_residual=false", "data.train.image_size=[64, 64]"]
    assert main(["--recipe", "unpairseg-tiny-stage2", *changes, "--output_dir", str(tmp_path / "stage2")]) in (0, None)
    trained = UnpairSegForOpenVocabularySegmentation.from_pretrained(tmp_path / "stage2").state_dict()
    for name, before in model.state_dict().items():
        moved = not torch.equal(before, trained[name])
        assert moved == name.startswith(("adapter.", "matching_state")), name
