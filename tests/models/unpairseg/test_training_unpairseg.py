# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training of Unpair-Seg: CLIP's towers, then masks, then names, each from the one before."""

import functools
import json

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import AutoConfig, AutoModelForMaskGeneration, AutoProcessor

from hfseg import UnpairSegForOpenVocabularySegmentation
from hfseg.commands.train import main
from unpairseg_models import tiny_config

# Fields of the tiny configuration that a recipe can take.
TINY = (
    "backbone_config feature_size mask_feature_size hidden_size encoder_layers encoder_feedforward_dim decoder_layers "
    "num_attention_heads dim_feedforward train_num_points points_per_side train_points_per_side freeze_backbone"
).split()


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


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


def weights_of(folder):
    return UnpairSegForOpenVocabularySegmentation.from_pretrained(folder).state_dict()


def moved(before, after):
    """First names of the parts that differ."""
    return {
        name.split(".")[0 if name[:5] != "model" else 1] for name in after if not torch.equal(before[name], after[name])
    }


def test_a_clip_learns_both_towers_only(clip, tmp_path):
    run("unpairseg-tiny-clip", tmp_path, *SMALL, "model.processor.size.longest_edge=64", "run.max_steps=3")
    assert moved(weights_of(clip), weights_of(tmp_path)) == {
        "backbone", "visual_projection", "text_model", "logit_scale"
    }  # fmt: skip
    config = AutoConfig.from_pretrained(clip)
    assert config.freeze_backbone and config.adapter == "none"
    tokens = AutoProcessor.from_pretrained(clip)(text=["an image of circle, grass."])["input_ids"]
    assert len(tokens[0]) == 9 and 0 not in tokens[0]  # every word is known


def test_both_stages_in_turn(clip, tmp_path):
    changes = [f"model.pretrained={clip}", "data.train.image_size=[64, 64]", "data.collator.size=64"]
    numbers = json.dumps(run("unpairseg-tiny-stage1", tmp_path / "masks", *SMALL, *changes))
    assert "one_point_oracle_iou" in numbers and "one_box_oracle_iou" in numbers
    before, after = weights_of(clip), weights_of(tmp_path / "masks")
    assert moved(before, after) == {"pixel_decoder", "mask_decoder"}  # CLIP, texts included, is handed on
    AutoModelForMaskGeneration.from_pretrained(tmp_path / "masks")

    AcceleratorState._reset_state(reset_partial_state=True)
    changes[0] = f"model.pretrained={tmp_path / 'masks'}"
    changes += ["model.config.score_threshold=0.0", "model.config.region_sizes=[64]", "run.evaluation.threshold=0.0"]
    changes += ["model.config.nms_rule=and"]
    numbers = json.dumps(run("unpairseg-tiny-stage2", tmp_path / "words", *SMALL, *changes))
    assert "mean_iou" in numbers and '"pq"' in numbers
    assert AutoProcessor.from_pretrained(tmp_path / "words").image_processor.nms_rule == "and"  # as masks were selected
    before, after = after, weights_of(tmp_path / "words")
    assert moved(before, {name: after[name] for name in before}) == set()
    assert {name.split(".")[0] for name in set(after) - set(before)} == {"adapter", "matching_state"}
    assert after["adapter.projection.weight"].abs().max() > 0  # zero at the start


def test_stage_one_alone(tmp_path):
    fields = tiny_config(freeze_backbone=False).to_diff_dict()
    changes = [f"model.config.{name}={json.dumps(value)}" for name, value in fields.items() if name in TINY]
    changes += ["data.train.image_size=[64, 64]", "data.collator.size=64", "model.processor.size.longest_edge=64"]
    numbers = json.dumps(run("unpairseg-tiny-stage1", tmp_path, *SMALL, *changes))
    assert "one_point_oracle_iou" in numbers
    AutoModelForMaskGeneration.from_pretrained(tmp_path)


def test_names_are_learned_at_the_size_that_the_processor_gives(clip, tmp_path, monkeypatch):
    """Without a word about it in the recipe; the collator's own default is the published model's 1024."""
    sizes = set()
    plain = UnpairSegForOpenVocabularySegmentation.forward

    @functools.wraps(plain)  # the loop gives what the signature names
    def forward(self, pixel_values=None, **given):
        if given.get("entity_labels") is not None:
            sizes.add(tuple(pixel_values.shape[-2:]))
        return plain(self, pixel_values, **given)

    monkeypatch.setattr(UnpairSegForOpenVocabularySegmentation, "forward", forward)
    changes = [f"model.pretrained={clip}", "model.processor.size.longest_edge=64", "model.config.region_sizes=[64]"]
    run("unpairseg-tiny-stage2", tmp_path, *SMALL, *changes, "data.train.image_size=[48, 64]")
    assert sizes == {(64, 64)}
