# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""J-DiT: sizes, invariances that follow from the paper, what may be skipped, adapters, export."""

import math

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend

from hfseg import LavinDiTTransformer3DModel
from hfseg.models.lavin_dit.positions_lavin_dit import rotary_table
from hfseg.models.lavin_dit.transformer_lavin_dit import (
    PUBLISHED_SIZES,
    patchify,
    unpatchify,
)
from lavin_dit_models import TINY, drawn


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, 12, 1, 8, 6, generator=generator),
        "encoder_hidden_states": torch.randn(2, 12, 5, 8, 6, generator=generator),
        "timestep": torch.tensor([0.3, 0.8]),
    }


@pytest.mark.parametrize("size, count", [("0.1B", 100_709_952), ("1.0B", 935_095_360), ("3.4B", 3_398_976_064)])
def test_parameter_counts(size, count):
    with torch.device("meta"):
        model = LavinDiTTransformer3DModel(**PUBLISHED_SIZES[size])
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("size", PUBLISHED_SIZES)
def test_published_sizes_run(size):
    with torch.device("meta"):
        model = LavinDiTTransformer3DModel(**PUBLISHED_SIZES[size])
        out = model(torch.empty(1, 16, 1, 4, 4), torch.empty(1, 16, 3, 4, 4), torch.empty(1)).sample
    assert out.shape == (1, 16, 1, 4, 4)


def test_fresh_weights():
    """Xavier for projections, 0.02 for the time's MLP and the stream vectors, zero gates and output."""
    torch.manual_seed(0)
    model = LavinDiTTransformer3DModel(
        num_layers=2, num_attention_heads=16, attention_head_dim=24, num_key_value_heads=4
    )
    for name, parameter in model.named_parameters():
        rms = parameter.detach().square().mean().sqrt().item()
        if "modulation" in name or name.startswith("final_layer") or name.endswith("bias"):
            expected = 0.0
        elif "norm" in name or name.endswith("embedder.1.weight"):
            expected = 1.0
        elif name.endswith("_embed") or name.startswith("t_embedder"):
            expected = 0.02
        else:
            expected = math.sqrt(2 / sum(parameter.shape))
        assert rms == pytest.approx(expected, rel=0.1), name
    assert not model(torch.randn(1, 16, 1, 4, 4), torch.randn(1, 16, 3, 4, 4), torch.tensor([0.5])).sample.any()


def test_patches_are_channel_fastest():
    latents = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 1, 4, 4)
    tokens = patchify(latents, 2)
    # Second token: rows 0-1, columns 2-3; within it row, column, channel.
    expected = [latents[0, c, 0, y, x] for y in (0, 1) for x in (2, 3) for c in (0, 1)]
    assert tokens[0, 1].tolist() == expected
    assert torch.equal(unpatchify(tokens, 2, 1, 4, 4), latents)


def test_only_relative_positions_matter(transformer, inputs):
    tables = [rotary_table(6 + offset, 4, 3, transformer.axes) for offset in (0, 7)]
    shifted = type(tables[1])(*(part[7 * 12 :] for part in tables[1]))
    with torch.no_grad():
        plain, moved = (transformer(**inputs, rotary=table).sample for table in (tables[0], shifted))
    torch.testing.assert_close(plain, moved, atol=1e-5, rtol=1e-5)


def test_key_value_heads_are_shared_by_neighbors(transformer, inputs):
    """The same model with every key-value head written out for its two query heads gives the same."""
    full = LavinDiTTransformer3DModel(**{**TINY, "num_key_value_heads": 4}).eval()
    weights = transformer.state_dict()
    width = TINY["attention_head_dim"]
    for name in list(weights):
        part = name.rpartition(".")[0].rpartition(".")[2]
        if part in ("to_v", "add_v_proj"):
            weights[name] = weights[name].unflatten(0, (-1, width)).repeat_interleave(2, 0).flatten(0, 1)
        elif part in ("to_k", "add_k_proj"):
            weights[name] = weights[name].unflatten(0, (-1, width)).repeat_interleave(2, 0).flatten(0, 1)
        elif part in ("norm_k", "norm_added_k"):  # the RMS over doubled keys is the same
            weights[name] = weights[name].unflatten(0, (-1, width)).repeat_interleave(2, 0).flatten(0, 1)
    full.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(full(**inputs).sample, transformer(**inputs).sample, atol=1e-5, rtol=1e-5)


def test_sandwich_norm_matters(transformer, inputs):
    plain = LavinDiTTransformer3DModel(**TINY, sandwich_norm=False).eval()
    plain.load_state_dict(transformer.state_dict())
    with torch.no_grad():
        assert (plain(**inputs).sample - transformer(**inputs).sample).abs().max() > 1e-2


# ------------------------------------------------------------------------------------------- what is computed only once


def test_precomputed_parts_change_nothing(transformer, inputs):
    times = torch.tensor([0.0, 0.3, 0.8])
    with torch.no_grad():
        tokens = transformer.embed_condition(inputs["encoder_hidden_states"])
        # Frames may be embedded apart: examples once, the query for itself.
        apart = [transformer.embed_condition(part) for part in inputs["encoder_hidden_states"].split([4, 1], dim=2)]
        assert torch.equal(torch.cat(apart, 1), tokens)
        modulations, rotary = transformer.precompute_modulations(times), transformer.rotary_table(6, 8, 6)
        for step, time in enumerate(times):
            plain = transformer(inputs["hidden_states"], inputs["encoder_hidden_states"], time.expand(2)).sample
            fast = transformer(
                inputs["hidden_states"], condition_tokens=tokens, modulations=modulations.at(step), rotary=rotary
            ).sample
            torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)


def test_modulation_weights_are_dispensable(transformer, inputs):
    times = torch.tensor([0.3, 0.8])
    with torch.no_grad():
        modulations = transformer.precompute_modulations(times)
        plain = transformer(inputs["hidden_states"], inputs["encoder_hidden_states"], times[:1].expand(2)).sample
        transformer.release_modulation_weights()
        with pytest.raises(ValueError, match="restore_modulation_weights"):
            transformer(**inputs)
        again = transformer.precompute_modulations(times)  # on the CPU, where the weights went
        assert torch.equal(again.blocks, modulations.blocks)
        for module in transformer.modulation_modules():
            module.to("meta")
        fast = transformer(
            inputs["hidden_states"], inputs["encoder_hidden_states"], modulations=modulations.at(0)
        ).sample
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)


def test_modulations_are_27_percent_of_the_released_size():
    with torch.device("meta"):
        model = LavinDiTTransformer3DModel(**PUBLISHED_SIZES["3.4B"])
    count = sum(p.numel() for module in model.modulation_modules() for p in module.parameters())
    assert count == 2 * 467_343_360 + 2304 * 2304 + 2304


def test_skipped_half_of_the_last_block(transformer, inputs):
    with torch.no_grad():
        fast = transformer(**inputs).sample
        transformer.blocks[-1].skip_condition = False
        torch.testing.assert_close(fast, transformer(**inputs).sample, atol=1e-5, rtol=0)
        transformer.blocks[-1].skip_condition = True
        for parameter in transformer.unused_parameters().values():
            parameter.fill_(float("nan"))
        assert torch.equal(fast, transformer(**inputs).sample)


def test_unused_parameters_are_those_without_gradient(transformer, inputs):
    transformer(**inputs).sample.square().sum().backward()
    without = {name for name, parameter in transformer.named_parameters() if parameter.grad is None}
    assert without == set(transformer.unused_parameters())


# -------------------------------------------------------------------------------------------------------- the ecosystem


def test_adapters(transformer, inputs):
    config_class = pytest.importorskip("peft").LoraConfig
    with torch.no_grad():
        plain = transformer(**inputs).sample
        transformer.add_adapter(config_class(r=2, target_modules=["to_q", "add_k_proj"], init_lora_weights=False))
        adapted = transformer(**inputs).sample
        transformer.disable_lora()
        assert torch.equal(transformer(**inputs).sample, plain)
    assert (adapted - plain).abs().max() > 1e-3


@pytest.mark.parametrize("backend", ["_native_math", "flex"])
def test_attention_backends(transformer, inputs, backend):
    with torch.no_grad():
        plain = transformer(**inputs).sample
        with attention_backend(backend):
            torch.testing.assert_close(transformer(**inputs).sample, plain, atol=1e-5, rtol=1e-5)


def test_compiles_and_exports(transformer, inputs):
    with torch.no_grad():
        plain = transformer(**inputs).sample
        compiled = torch.compile(transformer, backend="eager", fullgraph=True)(**inputs).sample
        torch.testing.assert_close(compiled, plain)
        batch = torch.export.Dim("batch", min=2, max=8)
        shape = {0: batch, 3: torch.export.Dim.AUTO, 4: torch.export.Dim.AUTO}
        exported = torch.export.export(
            transformer,
            (),
            {**inputs, "return_dict": False},
            dynamic_shapes={
                "hidden_states": shape, "encoder_hidden_states": shape, "timestep": {0: batch}, "return_dict": None,
            },
        )  # fmt: skip
        other = {
            "hidden_states": torch.randn(3, 12, 1, 4, 8),
            "encoder_hidden_states": torch.randn(3, 12, 5, 4, 8),
            "timestep": torch.rand(3),
        }
        got = exported.module()(**other, return_dict=False)[0]
        torch.testing.assert_close(got, transformer(**other).sample, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(transformer, inputs, dtype):
    with torch.no_grad():
        plain = transformer(**inputs).sample
        low = transformer.to(dtype)(**inputs).sample
    assert low.dtype == torch.float32
    assert (low - plain).abs().mean() < 0.02 * plain.std()


def test_drop_path_only_in_training(inputs):
    model = drawn(LavinDiTTransformer3DModel(**{**TINY, "drop_path_rate": 0.5}))
    assert [round(block.drop_path, 3) for block in model.blocks] == [0.0, 0.25, 0.5]
    with torch.no_grad():
        assert (model.train()(**inputs).sample != model(**inputs).sample).any()
        assert torch.equal(model.eval()(**inputs).sample, model(**inputs).sample)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_key_value_heads": 3}, "must divide num_attention_heads 4"),
        ({"attention_head_dim": 5}, "three even numbers"),
        ({"rope_axes_dim": (4, 4, 4)}, "add up to attention_head_dim 8"),
    ],
)
def test_sizes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        LavinDiTTransformer3DModel(**{**TINY, **change})
