# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: what a user gets wrong is one line."""

import re
from pathlib import Path

import pytest

from hfseg.commands.train import main
from toy_recipe import RECIPE


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "training")  # where `toy` is
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run.sead=1"], r"run\.sead .*Did you mean run\.seed"),
        (["data.name=coco2"], r"data\.name is 'coco2'; must be one of shapes, folder"),
        (["data.name=nowhere:Thing"], "cannot be imported"),
        (["data.train={lenght: 3}"], "takes no lenght; must be one of length, noise"),
        (["data.train={length: 0}"], "0 usable samples"),
        (["model.model_type=segformerr"], "model_type is 'segformerr'"),
        (["data.transforms={crop_size: 8}"], "needs a `name`"),
    ],
)
def test_user_errors_are_one_line(tmp_path, recipe, overrides, message, refuses):
    assert re.search(message, refuses(main, ["--recipe", recipe, "--output_dir", tmp_path / "out", *overrides]))


def test_a_recipe_of_another_architecture(tmp_path, recipe, refuses):
    main(["--recipe", recipe, "--output_dir", str(tmp_path / "out"), "run.max_steps=1"])
    pretrained = ["model.model_type=mask2former", f"model.pretrained={tmp_path / 'out'}"]
    line = refuses(main, ["--recipe", recipe, "--output_dir", tmp_path / "other", *pretrained])
    assert re.search(r"recipe is for model_type 'mask2former', but .* holds a 'segformer'", line)
