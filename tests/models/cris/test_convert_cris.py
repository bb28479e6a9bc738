# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Weights for CRIS: CLIP's in every form, and what does not fit is listed."""

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cris_models import clip_archive, small_case
from hfseg import CrisForReferringImageSegmentation
from hfseg.commands.convert import main as convert_command


@pytest.mark.parametrize("kind", ["state dict", "safetensors", "archive"])
def test_from_clip(tmp_path, kind):
    case = small_case()
    weights: Any = clip_archive(case)
    if kind == "safetensors":
        save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "clip.safetensors")
        source: Any = tmp_path / "clip.safetensors"
    elif kind == "archive":
        source = tmp_path / "RN.pt"
        write_archive(weights, source)
    else:
        source = weights
    fields = {"neck_sizes": (16, 64, 32), "num_decoder_layers": 1, "num_attention_heads": 4, "dim_feedforward": 32}
    model = CrisForReferringImageSegmentation.from_clip(source, **fields)
    assert model.dtype == torch.float32
    pool = model.model.vision_model.attention_pool
    assert torch.equal(pool.q_proj.weight, weights["visual.attnpool.q_proj.weight"].float())
    text = model.model.text_model.text_projection.weight
    assert torch.equal(text, weights["text_projection"].float().T)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def write_archive(weights: dict[str, torch.Tensor], path) -> None:
    """Writes TorchScript with these tensors, as OpenAI published CLIP."""

    class Holder(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = Holder()
    for name, value in weights.items():
        *parents, last = name.split(".")
        module: Any = root
        for parent in parents:
            if parent not in dict(module.named_children()):
                module.add_module(parent, Holder())
            module = getattr(module, parent)
        if value.is_floating_point():
            module.register_parameter(last, torch.nn.Parameter(value.clone()))
        else:
            module.register_buffer(last, value.clone())
    torch.jit.script(root).save(str(path))


def test_from_clip_wants_a_resnet():
    with pytest.raises(ValueError, match="a vision transformer"):
        CrisForReferringImageSegmentation.from_clip({"visual.proj": torch.zeros(1)})


def test_conversion_lists_what_does_not_fit(tmp_path, capsys):
    case = small_case()
    weights = {name: value for name, value in case.weights.items() if "neck.aggr.1.weight" not in name}
    save_file({**weights, "module.extra": torch.zeros(1)}, tmp_path / "broken.safetensors")
    arguments = ["--architecture", "cris", "--checkpoint", str(tmp_path / "broken.safetensors")]
    assert convert_command([*arguments, "--config", str(case.config_file), "--output_dir", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "aggregate.norm.weight" in message and "extra" in message
