# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: what a user gets wrong is one line."""

import re
from pathlib import Path

import pytest

from hfseg.commands.train import main

RECIPE = """
model:
  model_type: segformer
  task: semantic
  config: {hidden_sizes: [8, 8, 8, 8], depths: [1, 1, 1, 1], num_attention_heads: [1, 1, 1, 1], sr_ratios: [1, 1, 1, 1],
           decoder_hidden_size: 8, num_labels: 2}
data: {name: "toy:ToyDataset", train: {length: 9}, validation: {length: 5, noise: false}, collate: "toy:collate"}
optimizer: {learning_rate: 1e-3, backbone_names: [segformer], backbone_multiplier: 0.1}
schedule: {name: poly, warmup_steps: 1}
run: {max_steps: 4, evaluate_every: 2, metric: loss, greater_is_better: false, log_every: 1}
"""


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
