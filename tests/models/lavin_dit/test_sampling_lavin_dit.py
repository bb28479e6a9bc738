# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a pipeline needs around its loop: schedulers that fit, evaluation mode, adapters in diffusers' form."""

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from hfseg import LavinDiTScheduler
from hfseg.models.lavin_dit.sampling_lavin_dit import adapter_for_diffusers, check_scheduler, set_times


def test_schedulers_whose_times_ascend_to_data_fit():
    check_scheduler(LavinDiTScheduler())
    check_scheduler(FlowMatchEulerDiscreteScheduler(invert_sigmas=True))
    for other in (
        FlowMatchEulerDiscreteScheduler(),
        DDIMScheduler(),
        DDIMScheduler(prediction_type="v_prediction"),
        None,
    ):
        with pytest.raises(ValueError, match="predicts the velocity"):
            check_scheduler(other)


def test_steps_by_number_or_by_sigmas():
    own, stock = LavinDiTScheduler(grid="uniform"), FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    for scheduler in (own, stock):
        for sigmas in ([1.0, 0.6, 0.1], [0.0, 0.4, 0.9]):
            set_times(scheduler, 19, sigmas, "cpu")
            torch.testing.assert_close(scheduler.sigmas, torch.tensor([0.0, 0.4, 0.9, 1.0]))
            torch.testing.assert_close(scheduler.timesteps, torch.tensor([0.0, 400.0, 900.0]))
        for count in (1, 3):
            set_times(scheduler, count, None, "cpu")
            assert len(scheduler.timesteps) == count and scheduler.sigmas[0] == 0 and scheduler.sigmas[-1] == 1
    for sigmas in ([], [0.5], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.5, 0.7], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="descend from 1"):
            set_times(own, 19, sigmas, "cpu")
    for count in (0, -3, 2.5, True):
        with pytest.raises(ValueError, match="num_inference_steps is"):
            set_times(stock, count, None, "cpu")


def test_an_adapter_gets_diffusers_names_and_keeps_what_scales_it():
    name = "base_model.model.transformer.blocks.0.q.lora_A.weight"
    config = {"r": 4, "lora_alpha": 8, "bias": "none", "use_rslora": None, "task_type": "X"}
    config["target_modules"] = ["transformer.blocks.0.q", "k"]
    state, settings = adapter_for_diffusers({name: torch.ones(1)}, config)
    assert list(state) == ["transformer.blocks.0.q.lora_A.weight"]
    expected = {"r": 4, "lora_alpha": 8, "bias": "none", "target_modules": ["blocks.0.q", "k"]}
    assert settings == {f"transformer.{key}": value for key, value in expected.items()}
    for tensors in ({}, {"base_model.model.vae.q.lora_A.weight": 1}, {"base_model.model.transformer.head.weight": 1}):
        with pytest.raises(ValueError, match="no low-rank layer of the transformer"):
            adapter_for_diffusers(tensors, config)
