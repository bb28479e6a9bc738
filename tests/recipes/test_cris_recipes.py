# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's recipe of stages: each starts from the one before, also where the decoder grows and the frame changes."""

import yaml
from transformers import AutoProcessor

from hfseg import CrisForReferringImageSegmentation
from hfseg.commands.train import main
from hfseg.training import load_recipe


def test_tiny_recipe_goes_through_its_stages(tmp_path):
    recipe = load_recipe("cris-tiny-shapes", ["data.train.num_scenes=4", "data.batch_size=1"]).to_dict()
    recipe["data"]["validation"]["num_scenes"] = 2
    recipe["data"]["train"]["referents"] = 2
    recipe["model"]["processor"]["size"] = {"height": 64, "width": 64}
    recipe["run"]["max_steps"] = recipe["schedule"]["warmup_steps"] = 1
    frames = []
    for stage in recipe["stages"][1:]:
        stage["data"]["train"]["num_scenes"] = 4
        stage["run"]["max_steps"] = 1
        frames.append(stage["model"]["processor"]["size"])
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["--recipe", str(tmp_path / "short.yaml"), "--output_dir", str(tmp_path / "out")]) in (0, None)

    folders = [*sorted((tmp_path / "out").glob("stage-*")), tmp_path / "out"]
    models = [CrisForReferringImageSegmentation.from_pretrained(folder) for folder in folders]
    assert [model.config.num_decoder_layers for model in models] == [2, 3, 3, 3, 3, 6, 6]
    sizes = [dict(AutoProcessor.from_pretrained(folder).image_processor.size) for folder in folders]
    assert sizes == [{"height": 64, "width": 64}, *frames]
    # The first update of every stage is one of warm-up, with a rate of zero: what was there stays as it was.
    first, last = models[0].state_dict(), models[-1].state_dict()
    weights = [name for name, _ in models[0].named_parameters()]
    assert all(first[name].equal(last[name]) for name in weights)
    added = {name for name, _ in models[-1].named_parameters()} - set(weights)
    assert {name.partition("layers.")[2][0] for name in added} == {"2", "3", "4", "5"}
    assert all(name.startswith("model.decoder.layers.") for name in added)
