# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train` from recipe to folder, on a transformers model and a dataset of the test's own."""

import json

import pytest
from transformers import AutoModelForSemanticSegmentation

from hfseg.commands.train import main
from toy_recipe import RECIPE


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


def test_from_recipe_to_folder_and_on(tmp_path, recipe, capsys):
    folder = str(tmp_path / "out")
    main(["--recipe", recipe, "--output_dir", folder, "optimizer.clip_norm=1.0"])
    assert AutoModelForSemanticSegmentation.from_pretrained(folder).config.num_labels == 2
    first = json.loads((tmp_path / "out/metrics.json").read_text())
    assert first["step"] == 4 and first["metrics"]["loss"] > 0
    assert "step 4/4: loss" in capsys.readouterr().out
    longer = ["--resume_from_checkpoint", "latest", "run.max_steps=6", "optimizer.clip_norm=1.0"]
    main(["--recipe", recipe, "--output_dir", folder, *longer])
    assert json.loads((tmp_path / "out/metrics.json").read_text())["step"] == 6
    # a trained folder starts another run
    main(["--recipe", recipe, "--output_dir", folder + "2", f"model.pretrained={folder}", "model.config={}"])
