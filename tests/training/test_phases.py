# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Several optimizers in the one loop: against closed forms, interrupted, and on two processes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_checkpointing_resume import assert_same_run
from torch import nn
from toy import GAN_PHASES, ToyDataset, ToyGan, ToyModel, collate, toy_arguments

from hfseg.training import train

RATE = 0.2


class DiracGan(nn.Module):
    """Generator and discriminator of one number each: min over x, max over y of x y; the optimum is (0, 0)."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.x, self.y = nn.Parameter(torch.tensor(x)), nn.Parameter(torch.tensor(y))

    def forward(self, pixel_values, phase):
        return {"loss": (self.x if phase == "generator" else -self.x) * self.y}


def play(tmp_path, x, y, steps, discriminator=None, **run):
    phases = [
        {"name": "generator", "modules": ["x"]},
        {"name": "discriminator", "modules": ["y"], **(discriminator or {})},
    ]
    model = DiracGan(x, y)
    arguments = toy_arguments(
        phases=phases,
        optimizer={"name": "sgd", "learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0, "clip_norm": None},
        schedule={"name": "constant", "warmup_steps": 0},
        run={"max_steps": steps, "save_every": None, **run},
    )
    train(model, ToyDataset(), collate, arguments, output_dir=tmp_path)
    return np.array([model.x.item(), model.y.item()])


GENERATOR = np.array([[1, -RATE], [0, 1]])  # x <- x - rate y
DISCRIMINATOR = np.array([[1, 0], [RATE, 1]])  # y <- y + rate x, with the new x


def test_alternating_steps_follow_the_closed_form(tmp_path):
    """One update is a linear map of determinant 1; x^2 + y^2 - rate x y is its invariant."""
    x, y = played = play(tmp_path, 1.0, 0.5, 40)
    expected = np.linalg.matrix_power(DISCRIMINATOR @ GENERATOR, 40) @ [1.0, 0.5]
    assert played == pytest.approx(expected, abs=1e-5)
    assert x * x + y * y - RATE * x * y == pytest.approx(1.25 - RATE * 0.5, abs=1e-5)


def test_the_equilibrium_stays(tmp_path):
    assert play(tmp_path, 0.0, 0.0, 5).tolist() == [0.0, 0.0]


def test_a_phase_may_start_late_and_pause(tmp_path):
    state = np.array([1.0, 0.5])
    for step in range(9):
        state = GENERATOR @ state
        if step in (3, 5, 7):
            state = DISCRIMINATOR @ state
    assert play(tmp_path, 1.0, 0.5, 9, {"first_step": 3, "every": 2}) == pytest.approx(state, abs=1e-6)


def test_accumulated_batches_are_one_update(tmp_path):
    one = play(tmp_path / "one", 1.0, 0.5, 6)
    assert play(tmp_path / "two", 1.0, 0.5, 6, gradient_accumulation_steps=2) == pytest.approx(one, abs=1e-6)


def test_a_phase_moves_its_own_weights_only(tmp_path):
    torch.manual_seed(0)
    model = ToyGan()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # the discriminator starts at update 1
    arguments = toy_arguments(phases=GAN_PHASES, schedule={"warmup_steps": 0}, run={"max_steps": 2, "save_every": 1})
    train(model, ToyDataset(), collate, arguments, output_dir=tmp_path)
    after = load_file(tmp_path / "checkpoint-1/model.safetensors")
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (not name.startswith("generator")), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_toy):
    """Uninterrupted runs by number of processes."""
    folder = tmp_path_factory.mktemp("phases")
    for processes in (1, 2):
        done = run_toy(folder / str(processes), processes=processes, **options())
        assert done.returncode == 0, done.output
    return folder


def options(**more):
    run = {"ema_decay": 0.9, "save_every": 4, "max_steps": 12, "gradient_accumulation_steps": 2}
    return {"sections": {"run": run, "phases": GAN_PHASES}, "dropout": 0.2, "evaluate": True, "gan": True, **more}


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_resumed_is_bitwise_equal(tmp_path, run_toy, whole, processes):
    killed = run_toy(tmp_path / "killed", processes=processes, **options(kill={"after": 7}))
    assert killed.returncode != 0 and not (tmp_path / "killed/model.safetensors").exists()
    resumed = run_toy(tmp_path / "killed", processes=processes, **options(resume="latest"))
    assert resumed.returncode == 0, resumed.output
    assert "at step 4 of 12" in resumed.output
    assert (tmp_path / "killed/checkpoint-12/optimizer_discriminator.safetensors").is_file()
    assert_same_run(whole / str(processes), tmp_path / "killed")


def test_the_schedules_count_their_own_updates(whole):
    state = json.loads((whole / "1/checkpoint-12/trainer_state.json").read_text())
    assert state["scheduler"]["last_epoch"] == 12
    assert state["more_schedulers"]["discriminator"]["last_epoch"] == 6  # updates 1, 3, ..., 11
    assert state["more_schedulers"]["discriminator"]["_last_lr"] == [0.02] * len(
        state["more_schedulers"]["discriminator"]["_last_lr"]
    )


@pytest.mark.parametrize(
    ("phases", "model", "message"),
    [
        (GAN_PHASES[:1], ToyGan, "belong to no phase, first discriminator"),
        ([*GAN_PHASES, {"name": "third", "modules": ["score"]}], ToyGan, "belongs to discriminator and to third"),
        ([{"name": "generator", "modules": ["genrator"]}], ToyGan, "'genrator', which has no trainable weight"),
        ([{"name": "all", "modules": ["backbone", "norm", "head"]}], ToyModel, "forward takes no `phase`"),
        ([{**GAN_PHASES[0], "every": 2}, GAN_PHASES[1]], ToyGan, "must take part in every update"),
        ([GAN_PHASES[0], {**GAN_PHASES[1], "first_step": 99}], ToyGan, "starts at update 99 of a run of 12"),
        (
            [GAN_PHASES[0], {**GAN_PHASES[1], "optimizer": {"learning_rat": 1.0}}],
            ToyGan,
            "Did you mean .*learning_rate",
        ),
        ([GAN_PHASES[0], GAN_PHASES[0]], ToyGan, "not all different"),
        ([{"name": "a b", "modules": ["generator"]}], ToyGan, "plain word"),
    ],
)
def test_phases_that_do_not_fit(tmp_path, phases, model, message):
    with pytest.raises(ValueError, match=message):
        train(model(), ToyDataset(), collate, toy_arguments(phases=phases), output_dir=tmp_path)


def test_a_checkpoint_of_other_phases_is_refused(tmp_path, whole):
    with pytest.raises(OSError, match=r"2 optimizers and this run 3|differ"):
        phases = [
            GAN_PHASES[0],
            {**GAN_PHASES[1], "modules": ["discriminator"]},
            {**GAN_PHASES[1], "name": "third", "modules": ["score"]},
        ]
        train(
            ToyGan(),
            ToyDataset(),
            collate,
            toy_arguments(phases=phases, run={"ema_decay": 0.9}),
            output_dir=tmp_path,
            resume_from_checkpoint=str(whole / "1/checkpoint-12"),
        )
