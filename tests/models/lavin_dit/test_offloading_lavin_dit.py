# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Adapters scaled for a call; weights that are on the device in `forward` only."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from hfseg.models.lavin_dit import offloading_lavin_dit
from hfseg.models.lavin_dit.offloading_lavin_dit import adapters_scaled, offloaded_in_groups, on_device

CALL = {"num_inference_steps": 3, "output_type": "latent"}


def images(count):
    return list(np.random.default_rng(2).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def seed(number=1):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def shown():
    drawn = images(4)
    return [(drawn[0], drawn[1]), (drawn[2], drawn[3])]


# ------------------------------------------------------------------------------------------------------------ adapters


@pytest.fixture
def adapted(transformer):
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=6, target_modules=["to_q", "cond_embedder.0"]), transformer)
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return transformer


def test_scale_of_a_call(adapted, pipe, shown):
    """Scale 0 is the model without adapters, 2 is twice the alpha; embeddings of the examples follow too."""
    call = {"query": images(1)[0], "examples": shown, **CALL}
    plain = pipe(**call, generator=seed()).images
    scaled = {s: pipe(**call, generator=seed(), attention_kwargs={"scale": s}).images for s in (0.0, 1.0, 2.0)}
    assert torch.equal(scaled[1.0], plain) and torch.equal(pipe(**call, generator=seed()).images, plain)
    layers = [module for module in adapted.modules() if hasattr(module, "scaling")]
    assert len(layers) == 4 and {layer.scaling["default"] for layer in layers} == {3.0}
    for wanted, factor in ((0.0, 0.0), (6.0, 2.0)):
        for layer in layers:
            layer.scaling["default"] = wanted
        assert torch.equal(pipe(**call, generator=seed()).images, scaled[factor])


def test_factors_come_back_whatever_happens(adapted):
    layers = [module for module in adapted.modules() if hasattr(module, "scaling")]
    layers[0].scaling["default"] = 0.7
    for scale in (0, 0.5):
        with pytest.raises(KeyError), adapters_scaled(adapted, {"scale": scale}):
            assert layers[0].scaling["default"] == pytest.approx(0.7 * scale)
            raise KeyError
        assert layers[0].scaling["default"] == 0.7 and layers[1].scaling["default"] == 3


@pytest.mark.parametrize(
    "given, message",
    [
        ({"scael": 1.0}, r"has \['scael'\]; it may have 'scale'"),
        ({"scale": float("nan")}, "scale nan"),
        ({"scale": "2"}, "scale '2'"),
    ],
)
def test_other_keywords_are_refused(pipe, shown, given, message):
    with pytest.raises(ValueError, match=message):
        pipe(images(1)[0], shown, attention_kwargs=given, **CALL)


def test_forward_takes_the_scale(adapted):
    inputs = [torch.randn(1, 12, 1, 4, 4), torch.randn(1, 12, 3, 4, 4), torch.tensor([0.5])]
    with torch.no_grad():
        plain, without = (adapted(*inputs, attention_kwargs={"scale": s}).sample for s in (1, 0))
        assert torch.equal(plain, adapted(*inputs).sample) and not torch.allclose(plain, without, atol=1e-3)


# ---------------------------------------------------------------------------------------------------------- offloading


@pytest.fixture
def lost(monkeypatch):
    """Weights on the disk are NaN in memory, not what happened to be there."""
    empty = torch.empty_like

    def nothing(tensor, **options):
        made = empty(tensor, **options)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    monkeypatch.setattr(torch, "empty_like", nothing)


@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
def test_group_offloading(video_pipe, shown, lost, tmp_path, kind):
    """Offloaded to the disk, nothing is used that is not on the device: neither modulations nor the autoencoder."""
    query = images(1)[0]
    plain = video_pipe(query, shown, generator=seed(), **CALL).images
    pixels = video_pipe(query, shown, generator=seed(), num_inference_steps=3, output_type="np").images
    blocks = {"num_blocks_per_group": 1} if kind == "block_level" else {}
    video_pipe.enable_group_offload(
        onload_device=torch.device("cpu"), offload_type=kind, offload_to_disk_path=str(tmp_path), **blocks
    )
    assert offloaded_in_groups(video_pipe.transformer)
    assert any(parameter.isnan().any() for parameter in video_pipe.transformer.parameters())
    torch.testing.assert_close(video_pipe(query, shown, generator=seed(), **CALL).images, plain, atol=1e-4, rtol=0)
    draw = seed()
    prepared = video_pipe.prepare_examples(shown, generator=draw)
    assert prepared.tokens is None
    again = video_pipe(query, prepared, generator=draw, num_inference_steps=3, output_type="np").images
    np.testing.assert_allclose(again, pixels, atol=1e-4)


def test_all_is_encoded_before_the_transformer_is_needed(video_pipe, shown, monkeypatch):
    """With CPU offload each network moves in once: autoencoder, transformer, autoencoder."""
    order = []

    def noted(model, name, what):
        own = getattr(model, name)
        monkeypatch.setattr(model, name, lambda *a, **k: order.append(what) or own(*a, **k))

    for name in ("encode", "decode"):
        noted(video_pipe.vae, name, "vae")
    for name in ("embed_condition", "precompute_modulations", "forward"):
        noted(video_pipe.transformer, name, "transformer")
    video_pipe(images(1)[0], shown, num_inference_steps=2)
    moves = [what for index, what in enumerate(order) if index == 0 or order[index - 1] != what]
    assert moves == ["vae", "transformer", "vae"]


def test_offloading_without_an_accelerator_says_so(video_pipe, monkeypatch):
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.get_device", lambda: "cpu")
    for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        with pytest.raises(RuntimeError, match="requires accelerator, but not found"):
            getattr(video_pipe, name)()


def test_nothing_is_moved_without_group_offloading(video_pipe, monkeypatch):
    with on_device(video_pipe.vae):
        assert not offloaded_in_groups(video_pipe.vae)
    assert offloading_lavin_dit.__all__
