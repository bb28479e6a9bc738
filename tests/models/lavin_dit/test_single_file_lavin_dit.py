# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The official files load by `from_single_file`, as in diffusers."""

import pytest
import torch
from safetensors.torch import save_file

from hfseg import LavinDiTAutoencoderKL, LavinDiTTransformer3DModel
from hfseg.models.lavin_dit.convert_lavin_dit import ATTENTION


def official(transformer):
    """Weights under the authors' names."""
    theirs, weights = {ours: name for name, ours in ATTENTION.items()}, {}
    for name, tensor in transformer.state_dict().items():
        before, found, part = name.partition(".joint_attn.")
        own, _, last = part.rpartition(".")
        weights[f"{before}{found}{theirs[own]}.{last}" if found else name] = tensor.contiguous()
    return weights


def equal(first, second):
    own, other = first.state_dict(), second.state_dict()
    return own.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in own.items())


def test_both_files(video_pipe, tmp_path):
    save_file(official(video_pipe.transformer), tmp_path / "lavin_dit.safetensors")
    torch.save({"state_dict": video_pipe.vae.state_dict()}, tmp_path / "stvae.pt")
    heads, groups = {"num_heads": 4}, {"norm_num_groups": 2}
    model = LavinDiTTransformer3DModel.from_single_file(tmp_path / "lavin_dit.safetensors", original_config=heads)
    assert equal(model, video_pipe.transformer) and not model.training and model.device.type == "cpu"
    vae = LavinDiTAutoencoderKL.from_single_file(str(tmp_path / "stvae.pt"), original_config=groups)
    assert equal(vae, video_pipe.vae) and type(vae) is LavinDiTAutoencoderKL
    given = official(video_pipe.transformer)
    low = LavinDiTTransformer3DModel.from_single_file(given, original_config=heads, torch_dtype=torch.bfloat16)
    assert low.dtype == torch.bfloat16


def test_links_to_the_hub(video_pipe, tmp_path, monkeypatch):
    save_file(official(video_pipe.transformer), tmp_path / "lavin_dit.safetensors")
    asked = []

    def fetch(repository, name, **options):
        asked.append((repository, name, options))
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    link = "https://huggingface.co/owner/name/blob/main/lavin_dit.safetensors"
    model = LavinDiTTransformer3DModel.from_single_file(link, original_config={"num_heads": 4}, revision="v1")
    assert equal(model, video_pipe.transformer)
    assert asked == [("owner/name", "lavin_dit.safetensors", {"revision": "v1"})]


def test_what_cannot_be_loaded_is_said(video_pipe, tmp_path):
    load = LavinDiTTransformer3DModel.from_single_file
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="num_heads"):  # another size than the released
        load(official(video_pipe.transformer))
    with pytest.raises(ValueError, match="answer_embed"):
        load(video_pipe.vae.state_dict())
    with pytest.raises(ValueError, match="does not take subfolder"):
        load(official(video_pipe.transformer), subfolder="x")
    with pytest.raises(ValueError, match="Give a file"):
        load()
