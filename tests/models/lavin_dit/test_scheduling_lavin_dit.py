# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The grid of times, Euler steps, noising, and training times."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from hfseg import LavinDiTScheduler
from hfseg.models.lavin_dit.scheduling_lavin_dit import time_grid

# The authors' table of twenty points.
TWENTY = [
    0, 0.0056, 0.0111, 0.0167, 0.0222, 0.0278, 0.0333, 0.0389, 0.0444, 0.05,
    0.0524, 0.073, 0.1148, 0.1777, 0.2618, 0.3671, 0.4936, 0.6412, 0.81, 1,
]  # fmt: skip


def test_authors_grid():
    assert time_grid(20).tolist() == np.float32(TWENTY).tolist()


@pytest.mark.parametrize("count", [2, 3, 5, 20, 21, 30, 40, 100])
@pytest.mark.parametrize("kind", ["authors", "uniform"])
def test_grids_ascend_from_noise_to_data(count, kind):
    grid = time_grid(count, kind)
    assert len(grid) == count and grid[0] == 0 and grid[-1] == 1
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize("settings", [{}, {"grid": "uniform"}, {"shift": 3.0}])
def test_a_constant_velocity_arrives(settings):
    """Along a straight path with the true velocity, Euler's method is exact wherever the times are."""
    scheduler = LavinDiTScheduler(**settings)
    noise, data = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    scheduler.set_timesteps(7)
    state = noise
    for time in scheduler.timesteps:
        torch.testing.assert_close(state, scheduler.scale_noise(data, time, noise))
        state = scheduler.step(data - noise, time, state).prev_sample
    torch.testing.assert_close(state, data)


def test_shift_moves_times_toward_noise():
    """A schedule of sigma = 1 - t moved by diffusers' own formula."""
    ours, theirs = LavinDiTScheduler(grid="uniform", shift=3.0), FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours.set_timesteps(10)
    theirs.set_timesteps(sigmas=np.linspace(1, 0.1, 10).tolist())
    torch.testing.assert_close(1 - ours.sigmas, theirs.sigmas, atol=1e-6, rtol=0)


def test_stock_scheduler_takes_the_same_steps():
    ours = LavinDiTScheduler()
    ours.set_timesteps(19)
    stock = FlowMatchEulerDiscreteScheduler.from_config(ours.config)
    stock.set_timesteps(sigmas=(1 - ours.sigmas[:-1]).tolist())
    a = b = torch.randn(1, 4)
    for mine, theirs in zip(ours.timesteps, stock.timesteps):
        a = ours.step(a.sin() + mine / 1000, mine, a).prev_sample
        b = stock.step(b.sin() + mine / 1000, theirs, b).prev_sample
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_own_times():
    scheduler = LavinDiTScheduler()
    scheduler.set_timesteps(sigmas=[0, 0.25])
    assert scheduler.sigmas.tolist() == [0, 0.25, 1] and scheduler.timesteps.tolist() == [0, 250]
    scheduler.set_timesteps(timesteps=[0, 500])
    assert scheduler.sigmas.tolist() == [0, 0.5, 1]


def test_training_times():
    draw = torch.Generator().manual_seed(0)
    times = LavinDiTScheduler().sample_times(20000, draw)
    logit = (times / (1 - times)).log()
    assert abs(logit.mean()) < 0.03 and abs(logit.std() - 1) < 0.03
    shifted = LavinDiTScheduler(shift=2.0).sample_times(20000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(shifted, times / (times + 2 * (1 - times)))


def test_saved_settings_come_back(tmp_path):
    LavinDiTScheduler(shift=2.0, grid="uniform").save_pretrained(tmp_path)
    again = LavinDiTScheduler.from_pretrained(tmp_path)
    assert (again.shift, again.config.grid) == (2.0, "uniform")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: s.set_timesteps(0), "at least 1"),
        (lambda s: s.set_timesteps(), "Give num_inference_steps"),
        (lambda s: s.set_timesteps(sigmas=[0.5, 0.2]), "must ascend"),
        (lambda s: s.set_timesteps(sigmas=[0.0], timesteps=[0]), "not both"),
        (lambda s: LavinDiTScheduler(grid="cosine"), "authors, uniform"),
        (lambda s: LavinDiTScheduler(shift=0), "must be positive"),
        (lambda s: LavinDiTScheduler(prediction_type="noise"), "velocity, sample"),
        (lambda s: LavinDiTScheduler(invert_sigmas=False), "must be true"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call(LavinDiTScheduler())
