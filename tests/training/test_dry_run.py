# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A dry run: it says what a run would be, without one."""

import pytest
from toy import GAN_PHASES, ToyDataset, ToyGan, ToyModel, ToyStream, collate, toy_arguments

from hfseg.commands.train import main
from hfseg.training.dry_run import dry_run
from toy_recipe import RECIPE


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


def test_dry_run_shows_what_would_happen(recipe, capsys):
    main(["--recipe", recipe, "--dry_run"])
    shown = capsys.readouterr().out
    for part in ("4 updates of 2 samples", "lr 0.0001, weight decay 0.05", "lr 0.001, weight decay 0:"):
        assert part in shown
    assert "pixel_values: float32 (2, 3, 8, 8)" in shown and "activations of one micro-batch" in shown


def test_dry_run_lists_the_groups_of_every_phase():
    arguments = toy_arguments(phases=GAN_PHASES)
    shown = dry_run(ToyGan(), ToyDataset(), collate, arguments)
    assert "generator: lr 0.01, weight decay 0.05" in shown and "discriminator: lr 0.02, weight decay 0.05" in shown


def test_dry_run_of_a_stream():
    shown = dry_run(ToyModel(), ToyStream(), collate, toy_arguments())
    assert (
        "12 updates of 2 samples" in shown and "epochs of 26" in shown and "pixel_values: float32 (2, 3, 8, 8)" in shown
    )
