# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The encoder with four scales: an extra coarsest one, growing stages, gates; the common contract for Lite-M2F's.

Also that of the encoder on an MViTv2 whose attention is in windows.
"""

import pytest
import torch

from contract import kaiming, peaked
from hfseg.models.proscale.detection_proscale import ProScaleDetectionEncoder
from models.proscale import test_modeling_proscale as masks
from proscale_models import tap, tiny_config
from slow_tests import slow

LITE = {"encoder": "lite", "encoder_layers": 4, "encoder_blocks": 2}


class TestLiteEncoder(masks.TestProScaleForUniversalSegmentation):
    @slow  # compiled to one graph always; the progressive encoder for all sizes too
    def test_compiles_once_for_all_sizes(self):
        super().test_compiles_once_for_all_sizes()

    @slow
    def test_exports_with_dynamic_shapes(self):
        super().test_exports_with_dynamic_shapes()

    recorded = {
        **masks.TestProScaleForUniversalSegmentation.recorded,
        "encoder_hidden_states": 5,
        "encoder_attentions": 4,
    }

    def config(self):
        return tiny_config(**LITE)

    def dynamic_size_config(self):
        return tiny_config(decoder_layers=1, backbone_config=masks.RESNET, **LITE)

    def fresh(self):
        kept = {name: value for name, value in super().fresh().items() if "token_recalibration" not in name}
        return {**kept, "*light_pixel_embedding.*.weight": kaiming}


class TestWindowedMViT(masks.TestProScaleForUniversalSegmentation):
    """On the backbone of `proscale-mvitv2-t-*`; what lies behind it is as small as the classes above are not."""

    @slow  # compiled to one graph always, and other backbones for all sizes
    def test_compiles_once_for_all_sizes(self):
        super().test_compiles_once_for_all_sizes()

    @slow
    def test_exports_with_dynamic_shapes(self):
        super().test_exports_with_dynamic_shapes()

    recorded = {
        "hidden_states": 2,
        "attentions": 1,
        "cross_attentions": 1,
        "encoder_hidden_states": 2,
        "encoder_attentions": 1,
    }

    @pytest.fixture(autouse=True)
    def tiny_network(self, monkeypatch):
        """timm draws a network's weights where it builds it, before or after the tests seed: from a seed of its own."""
        timm = pytest.importorskip("timm")
        from timm_models import tiny_mvit

        create = timm.create_model

        def seeded(*args, **kwargs):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return create(*args, **kwargs)

        monkeypatch.setattr(timm, "create_model", seeded)
        with tiny_mvit():
            yield

    def config(self):
        from timm_models import WINDOWED_MVIT

        return tiny_config(backbone_config=WINDOWED_MVIT, encoder_stage_layers=(0, 0, 1), decoder_layers=1)

    def dynamic_size_config(self):
        return self.config()


def encoder(**fields):
    torch.manual_seed(0)
    config = tiny_config(encoder_stage_layers=(1, 1, 1, 1), feature_size=64, **fields)
    return peaked(ProScaleDetectionEncoder(config, [8, 16, 32])).eval()


def maps():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, c, *size, generator=generator) for c, size in ((8, (8, 12)), (16, (4, 6)), (32, (2, 3)))]


def test_the_sequence_grows_from_the_extra_scale():
    found: dict = {}
    model = encoder()
    for index, layer in enumerate(model.layers):
        tap(layer, found, str(index))
    with torch.no_grad():
        outputs = model(maps())
    assert outputs.spatial_shapes == ((1, 2), (2, 3), (4, 6), (8, 12))
    assert [found[str(index)][0].shape[1] for index in range(4)] == [2, 8, 32, 128]
    assert [layer.self_attn.num_levels for layer in model.layers] == [1, 2, 3, 4]


def test_the_extra_scale_is_a_convolution_of_the_coarsest_map():
    model, given = encoder(trc="none"), maps()
    with torch.no_grad():
        levels, shapes = model.project(given)
        convolution, norm = model.input_projections[0]
        expected = norm(convolution(given[2]))
    assert convolution.stride == (2, 2) and convolution.kernel_size == (3, 3) and shapes[0] == (1, 2)
    torch.testing.assert_close(levels[0], expected.flatten(2).transpose(1, 2))


def test_gates_are_of_all_coarser_scales():
    model = encoder()
    with torch.no_grad():
        gates = model.gates(*model.project(maps()))
    assert [tuple(gate.shape) for gate in gates] == [(1, 1, 2), (1, 2, 3), (1, 4, 6)]


def test_temperature_of_the_position_code_matters():
    with torch.no_grad():
        tokens = [encoder(position_temperature=value)(maps()).last_hidden_state for value in (20, 10000.0, 10000)]
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3) and torch.equal(tokens[1], tokens[2])
