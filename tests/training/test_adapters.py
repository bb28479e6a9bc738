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


@pytest.mark.parametrize("save", ["merged", "both"])
def test_with_averaged_weights(base, save, tmp_path):
    """What is saved is the average of adapters and head, merged; card and metrics are written."""
    train(tmp_path, f"model.pretrained={base}", "model.config={}", *LORA, f"lora.save={save}", "run.ema_decay=0.9")
    assert (tmp_path / "README.md").is_file() and (tmp_path / "metrics.json").is_file()
    average = load_file(tmp_path / "checkpoint-4" / "ema.safetensors")
    pairs = {name.rpartition(".lora_A")[0] for name in average if ".lora_A." in name}
    merged = AutoModelForUniversalSegmentation.from_pretrained(tmp_path)
    before = AutoModelForUniversalSegmentation.from_pretrained(base)
    assert pairs
    for name in pairs:
        change = 4 * average[f"{name}.lora_B.default.weight"] @ average[f"{name}.lora_A.default.weight"]
        expected = before.get_submodule(name).weight + change
        torch.testing.assert_close(merged.get_submodule(name).weight, expected, atol=1e-5, rtol=1e-5)


def test_statistics_of_frozen_layers_stay(tmp_path):
    """CRIS, whose towers have batch normalization: adapter on its base and merged folder are one model."""
    from pathlib import Path

    import hfseg
    from hfseg import CrisForReferringImageSegmentation

    base = Path(hfseg.__file__).parent / "checkpoints" / "cris-tiny-shapes"
    changes = [
        "stages=[]",
        f"model.pretrained={base}",
        "model.config={}",
        "data.train.num_scenes=8",
        "data.batch_size=2",
    ]
    changes += ["data.validation=null", "data.num_workers=0", "run.max_steps=4", "run.ema_decay=0.5"]
    changes += ["schedule.warmup_steps=0", "optimizer.learning_rate=0.01", "lora={r: 2, alpha: 12, save: both}"]
    main(["--recipe", "cris-tiny-shapes", "--output_dir", str(tmp_path), *changes])
    assert "LoRA of rank 2 in vision_model, text_model" in (tmp_path / "README.md").read_text()
    load = CrisForReferringImageSegmentation.from_pretrained
    merged, plain = load(tmp_path).eval(), load(base).eval()
    adapted = peft.PeftModel.from_pretrained(load(base), tmp_path / "adapter").eval()
    draw = torch.Generator().manual_seed(0)
    inputs = {"pixel_values": torch.randn(1, 3, 96, 96, generator=draw), "input_ids": torch.tensor([[629, 5, 9, 630]])}
    with torch.no_grad():
        one, two, before = (model(**inputs).logits for model in (merged, adapted, plain))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    assert (one - before).abs().max() > 1e-2
    states = merged.state_dict(), plain.state_dict()
    moved = {name for name in states[0] if "running_" in name and not torch.equal(states[0][name], states[1][name])}
    assert moved and not any("vision_model" in name for name in moved)  # the neck learns, the towers are frozen


def test_a_module_beside_the_backbone_may_have_two_inputs(tmp_path):
    """VPNeXt's upsampling, which peft wraps, is still called with what its configuration says."""
    from hfseg import VPNeXtForSemanticSegmentation
    from hfseg.training.adapters import add_adapters, merge_adapters, save_adapter
    from hfseg.training.arguments import LoraArguments
    from vpnext_models import tiny_config

    torch.manual_seed(0)
    model = VPNeXtForSemanticSegmentation(tiny_config()).eval()
    model.save_pretrained(tmp_path / "base")
    arguments = LoraArguments(r=2, alpha=8, save="adapter")
    config = add_adapters(model, arguments, ["backbone"])
    for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
        torch.nn.init.normal_(parameter, std=0.1)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_adapter(model, weights, config, arguments, ["backbone"], None, tmp_path / "adapter")
    model.load_state_dict(merge_adapters(model, weights))
    load = VPNeXtForSemanticSegmentation.from_pretrained
    adapted = peft.PeftModel.from_pretrained(load(tmp_path / "base"), tmp_path / "adapter").eval()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(adapted(pixels).logits, model(pixels).logits, atol=1e-4, rtol=1e-4)


def test_what_an_adapter_cannot_hold_is_said_before_training():
    from hfseg.training.adapters import add_adapters
    from hfseg.training.arguments import LoraArguments

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.ModuleDict({"query": torch.nn.Linear(4, 4)})
            self.scale = torch.nn.Parameter(torch.ones(()))

    with pytest.raises(ValueError, match="cannot hold the weight scale by itself"):
        add_adapters(Model(), LoraArguments(save="both"), ["backbone"])
    add_adapters(Model(), LoraArguments(save="merged"), ["backbone"])
    add_adapters(Model(), LoraArguments(save="adapter", train_rest=False), ["backbone"])
    model = Model()
    model.scale.requires_grad_(False)  # as it was; nothing to save
    add_adapters(model, LoraArguments(save="both"), ["backbone"])


def test_adapter_of_a_pipeline_loads_in_diffusers(tmp_path):
    """Trained, saved, loaded by `load_lora_weights` with its scaling; switched, fused and unloaded."""
    from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder
    from lavin_dit_models import TINY, drawn

    torch.manual_seed(0)
    transformer = drawn(LavinDiTTransformer3DModel(**{**TINY, "num_layers": 2})).eval()
    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    LavinDiTPipeline(transformer, vae, LavinDiTScheduler()).save_pretrained(tmp_path / "base")
    changes = ["data.train.num_scenes=8", "data.validation=null", "data.batch_size=2", "data.num_workers=0"]
    changes += [f"model.pretrained={tmp_path / 'base'}", "run.max_steps=4", "run.save_every=4", "run.ema_decay=0.5"]
    changes += ["schedule.warmup_steps=0", "optimizer.learning_rate=0.05", "data.collator={height: 32, width: 32}"]
    changes += [
        "model.config={}",
        "run.mixed_precision=no",
        "lora={r: 2, alpha: 16, save: both, modules: [transformer]}",
    ]
    main(["--recipe", "lavin-dit-tiny-shapes", "--output_dir", str(tmp_path / "out"), *changes])
    shown = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    noise = torch.randn(1, 12, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def answer(pipe):
        pipe.set_progress_bar_config(disable=True)
        call = {"latents": noise, "sample_posterior": False, "num_inference_steps": 2, "output_type": "latent"}
        return pipe(shown[2], [(shown[0], shown[1])], **call).images

    plain = answer(LavinDiTPipeline.from_pretrained(tmp_path / "base"))
    merged = answer(LavinDiTPipeline.from_pretrained(tmp_path / "out"))
    assert (plain - merged).abs().max() > 1e-2
    for form in ("both", "peft"):
        if form == "peft":
            (tmp_path / "out/adapter/pytorch_lora_weights.safetensors").unlink()
        pipe = LavinDiTPipeline.from_pretrained(tmp_path / "base")
        pipe.load_lora_weights(tmp_path / "out/adapter", adapter_name="shapes")
        torch.testing.assert_close(answer(pipe), merged, atol=1e-4, rtol=1e-4)
        pipe.set_adapters("shapes", 0.0)
        torch.testing.assert_close(answer(pipe), plain, atol=1e-5, rtol=1e-5)
        pipe.set_adapters("shapes", 1.0)
        pipe.fuse_lora()
        torch.testing.assert_close(answer(pipe), merged, atol=1e-4, rtol=1e-4)
        pipe.unfuse_lora()
        pipe.unload_lora_weights()
        torch.testing.assert_close(answer(pipe), plain, atol=1e-4, rtol=1e-4)
