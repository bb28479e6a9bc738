# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LoRA in the Swin backbone of a tiny PRO-SCALE: what is trained, what is saved in which form, and resuming."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForUniversalSegmentation

from hfseg.commands.train import main

peft = pytest.importorskip("peft")

SWIN = {
    "model_type": "swin",
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 4,
    "drop_path_rate": 0.2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
SMALL = ["data.train.num_scenes=8", "data.validation=null", "data.batch_size=2", "data.num_workers=0"]
SMALL += ["schedule.warmup_steps=0", "run.max_steps=4", "data.train.image_size=[64, 64]"]
LORA = ["lora={r: 2, alpha: 8, save: both, dropout: 0.1}", "optimizer.learning_rate=0.01", "run.save_every=2"]


def train(folder, *changes, resume=False):
    arguments = ["--recipe", "proscale-tiny-shapes", "--output_dir", str(folder), *SMALL, *changes]
    main([*arguments, *(["--resume_from_checkpoint", "latest"] if resume else [])])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model folder to start from."""
    folder = tmp_path_factory.mktemp("lora") / "base"
    train(folder, "run.max_steps=1", f"model.config.backbone_config={json.dumps(SWIN)}")
    return folder


@pytest.fixture(scope="module")
def tuned(base):
    """The run with adapters."""
    folder = base.parent / "tuned"
    train(folder, f"model.pretrained={base}", "model.config={}", *LORA)
    return folder


def test_backbone_changes_by_low_rank_in_attention_only(base, tuned):
    before, after = load_file(base / "model.safetensors"), load_file(tuned / "model.safetensors")
    assert before.keys() == after.keys()
    # transformers writes Swin's layers by their older names
    changed = {name for name in before if "backbone" in name and not torch.equal(before[name], after[name])}
    assert changed == {
        name for name in before if "backbone" in name and name.endswith(("query.weight", "key.weight", "value.weight"))
    }
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 2
    rest = [name for name in before if "backbone" not in name and before[name].is_floating_point()]
    assert sum(not torch.equal(before[name], after[name]) for name in rest) > 0.9 * len(rest)


def test_merged_folder_and_adapter_on_its_base_are_one_model(base, tuned):
    merged = AutoModelForUniversalSegmentation.from_pretrained(tuned).eval()
    adapted = peft.PeftModel.from_pretrained(
        AutoModelForUniversalSegmentation.from_pretrained(base), tuned / "adapter"
    ).eval()
    assert json.loads((tuned / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = merged(pixel_values=pixels), adapted(pixel_values=pixels)
    for name in ("class_queries_logits", "masks_queries_logits"):
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-4)
    plain = AutoModelForUniversalSegmentation.from_pretrained(base).eval()(pixel_values=pixels)
    assert (plain.masks_queries_logits - one.masks_queries_logits).abs().max() > 1e-2


def test_resumed_is_the_uninterrupted_run(base, tuned):
    folder = base.parent / "resumed"
    options = [f"model.pretrained={base}", "model.config={}", *LORA, "schedule.name=constant"]
    train(base.parent / "whole", *options)
    train(folder, *options, "run.max_steps=2")
    train(folder, *options, resume=True)
    for file in ("model.safetensors", "adapter/adapter_model.safetensors", "checkpoint-4/optimizer.safetensors"):
        one, two = load_file(base.parent / "whole" / file), load_file(folder / file)
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one), file


def test_card_says_so(tuned):
    assert "LoRA of rank 2 in backbone" in (tuned / "README.md").read_text()


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ("{targets: [qkv]}", "no linear layer called qkv below backbone; there are .*q_proj"),
        ("{modules: [encoder_of_text]}", "there are no linear layers"),
        ("{r: 0}", "r is 0"),
        ("{rank: 4}", "Unknown key lora.rank"),
    ],
)
def test_what_does_not_fit(tmp_path, base, lora, message, refuses):
    changes = [f"model.pretrained={base}", "model.config={}", f"lora={lora}"]
    words = ["--recipe", "proscale-tiny-shapes", "--output_dir", tmp_path, *SMALL, *changes]
    assert re.search(message, refuses(main, words))
