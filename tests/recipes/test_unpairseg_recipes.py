# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's recipes say what the thesis and the released configuration say, and both stages run."""

import json

import pytest
from accelerate.state import AcceleratorState

from hfseg import UnpairSegConfig
from hfseg.commands.train import main
from hfseg.training import load_recipe


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_figures_of_the_thesis_and_of_the_release():
    thesis, released = load_recipe("unpairseg-thesis-stage1"), load_recipe("unpairseg-released-stage1")
    assert (thesis.data.batch_size, thesis.run.max_steps, thesis.optimizer.learning_rate) == (64, 200_000, 1e-4)
    assert (released.data.batch_size, released.run.max_steps) == (56, 110_000)
    for recipe, weights in ((thesis, (2, 1, 5)), (released, (2, 1, 1))):
        config = UnpairSegConfig(**recipe.model.config)
        assert (config.mask_weight, config.dice_weight, config.iou_weight) == weights
        assert config.train_points_per_side == 10 and recipe.optimizer.clip_norm == 1.0
        settings = (config.iou_target, config.nms_rule, recipe.data.train["share"], recipe.data.transforms)
        expected = ("iou", "and", 0.5, None) if recipe is thesis else ("dice", "or", 1.0, {"name": "color"})
        assert settings == expected and recipe.model.processor["nms_rule"] == config.nms_rule
    second = load_recipe("unpairseg-thesis-stage2")
    assert (second.data.batch_size, second.run.max_steps, second.optimizer.learning_rate) == (32, 30_000, 2e-5)
    config = UnpairSegConfig(**second.model.config)
    assert tuple(config.region_sizes) == (896, 1024, 1152) and config.matching == "bipartite"
    assert (config.matching_cost, config.nms_rule) == ("eq36", "and")
    config = UnpairSegConfig(**load_recipe("unpairseg-released-stage2").model.config)
    assert (config.matching_cost, config.nms_rule, tuple(config.region_sizes)) == ("neg_softmax", "or", (896, 1024))


def run(recipe, folder, *changes):
    assert main(["--recipe", recipe, *changes, "--output_dir", str(folder)]) in (0, None)
    return json.loads((folder / "metrics.json").read_text())


SMALL = ["run.max_steps=2", "schedule.warmup_steps=0", "data.batch_size=2", "data.validation.num_scenes=2"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    run("unpairseg-tiny-clip", folder, *SMALL, "model.processor.size.longest_edge=64")
    AcceleratorState._reset_state(reset_partial_state=True)
    return folder


def test_the_recipe_of_recipes():
    stages = load_recipe("unpairseg-tiny-shapes").stage_arguments()
    assert [name for name, _ in stages] == ["clip", "masks", "words"]
    assert [stage.model.task for _, stage in stages] == ["contrastive", "mask-generation", "open-vocabulary"]
    assert all(stage.model.pretrained is None for _, stage in stages)  # each starts from the one before
    nuclei = load_recipe("unpairseg-tiny-nuclei")
    # Training enlarges images as inference does, up to chance.
    low, high = (nuclei.data.collator["size"] * factor for factor in nuclei.data.collator["scale_range"])
    assert low < nuclei.model.processor["size"]["longest_edge"] < high
    nearest, farthest = nuclei.data.collator["zoom_range"]
    assert nearest <= nuclei.model.processor["box_zoom"] <= farthest
    assert nuclei.model.processor["zoom_size"] == nuclei.data.collator["size"]
