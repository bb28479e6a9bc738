# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer's recipes: sizes, the schedule of the description, groups, the cost on paper, a run on two processes."""

import pytest
import run_sharded_pretraining
import torch

from forked_launch import forked_launch
from hfseg.models.unisegformer.configuration_unisegformer import SIZES, UniSegFormerConfig
from hfseg.training import load_recipe
from hfseg.training.optimization import parameter_groups, schedule_multiplier
from hfseg.training.tasks import build_task

DATA = ("cityscapes", "voc", "coco", "ade20k", "panoptic-folder")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("data", DATA)
def test_fine_tuning(size, data):
    recipe = load_recipe(f"unisegformer-{size}-{data}")
    config = UniSegFormerConfig(**recipe.model.config)
    expected = UniSegFormerConfig.of_size(size)
    for name in ("embed_dim", "depths", "num_heads", "window_size"):
        assert getattr(config.encoder_config, name) == getattr(expected.encoder_config, name)
    assert list(config.decoder_widths) == list(expected.decoder_widths)
    assert config.num_queries == expected.num_queries
    assert (recipe.model.backbone is None) == (size == "xlarge")
    assert recipe.optimizer.learning_rate == 5e-5 and recipe.optimizer.layer_decay == 0.9
    assert recipe.schedule.warmup_steps == recipe.run.max_steps // 20
    assert recipe.model.task == ("semantic" if data == "cityscapes" else "universal")


def test_layers_near_the_input_move_less():
    recipe = load_recipe("unisegformer-tiny-coco")
    with torch.device("meta"):
        model = build_task(recipe).build_model(None, load_backbone=False)
    rates, decays = {}, {}
    for group in parameter_groups(model, recipe.optimizer):
        for name in group["parameter_names"]:
            rates[name], decays[name] = group["lr"], group["weight_decay"]
    layers = "model.encoder.encoder.layers"
    assert rates["model.encoder.embeddings.patch_embeddings.projection.weight"] == pytest.approx(5e-5 * 0.9**13)
    assert rates[f"{layers}.0.blocks.0.intermediate.dense.weight"] == pytest.approx(5e-5 * 0.9**12)
    assert rates[f"{layers}.2.blocks.5.intermediate.dense.weight"] == pytest.approx(5e-5 * 0.9**3)
    assert rates[f"{layers}.2.downsample.reduction.weight"] == rates[f"{layers}.2.blocks.5.output.dense.weight"]
    assert rates["mask_head.class_predictor.weight"] == rates["model.encoder.clx_up.0.q_proj.weight"] == 5e-5
    for name in (
        "model.encoder.clx_up.0.gamma",
        "model.encoder.clx_up.0.logit_scale",
        "model.encoder.clx_up.0.position_bias.0.weight",
        f"{layers}.0.blocks.0.attention.self.logit_scale",
        f"{layers}.0.blocks.0.attention.self.continuous_position_bias_mlp.2.weight",
        f"{layers}.0.blocks.0.layernorm_after.weight",
        "mask_head.class_predictor.bias",
    ):
        assert decays[name] == 0, name
    assert decays["mask_head.class_predictor.weight"] == 0.05


def test_pretraining_is_the_description():
    recipe = load_recipe("unisegformer-xlarge-pretraining")
    run, data = recipe.run, recipe.data
    assert data.batch_size * run.gradient_accumulation_steps * run.evaluation["plan"]["processes"] == 2048
    assert round(1.2e9 / 2048) == run.max_steps + 0 or abs(1.2e9 / 2048 - run.max_steps) < 1
    assert run.mixed_precision == "bf16"
    peak = recipe.optimizer.learning_rate
    wanted = {0.0: 0.0, 0.05: 1.5e-4, 0.5: 8.12e-5, 1.0: 0.0}
    for share, rate in wanted.items():
        step = round(share * run.max_steps)
        assert peak * schedule_multiplier(step, run.max_steps, recipe.schedule) == pytest.approx(rate, abs=5e-8)


def test_cost_on_paper():
    sheet = build_task(load_recipe("unisegformer-xlarge-pretraining")).cost_sheet()
    assert "64 accelerators" in sheet and "update of 2048 samples" in sheet and "encoder 363.4 M" in sheet
    assert "1.20 G samples" in sheet and "checkpoint with optimizer" in sheet and "images/s" in sheet


def test_sharded_step_on_two_processes(tmp_path):
    ranks = forked_launch(lambda rank: run_sharded_pretraining.main(str(tmp_path)), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-3000:] for rank in ranks]
    assert (tmp_path / "done").read_text() == "same"
