# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's pixel decoder: levels from coarse to fine, each with its code; the pyramid; float32 under autocast."""

import torch
import torch.nn.functional as F

from contract import peaked
from hfseg.models.unpairseg.encoder_unpairseg import UnpairSegFeaturePyramid, UnpairSegPixelDecoder
from unpairseg_models import tiny_config

CHANNELS = [8, 12, 16, 24]


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3)]
    return tuple(torch.randn(2, c, *size, generator=generator) for c, size in zip(CHANNELS, sizes))


def test_levels_run_from_coarse_to_fine_and_are_the_tokens():
    torch.manual_seed(0)
    decoder = peaked(UnpairSegPixelDecoder(tiny_config(), CHANNELS)).eval()
    with torch.no_grad():
        outputs = decoder(maps())
    assert [tuple(level.shape[-2:]) for level in outputs.multi_scale_features] == [(2, 3), (4, 6), (8, 12)]
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in outputs.multi_scale_features], dim=1)
    assert torch.equal(tokens, outputs.last_hidden_state)
    assert outputs.mask_features.shape == (2, tiny_config().mask_feature_size, 16, 24)


def test_without_layers_tokens_are_the_normalized_projections():
    torch.manual_seed(0)
    config = tiny_config(encoder_layers=1)
    decoder = peaked(UnpairSegPixelDecoder(config, CHANNELS)).eval()
    decoder.layers = torch.nn.ModuleList()
    with torch.no_grad():
        outputs = decoder(maps())
        for level, (features, project, norm) in enumerate(
            zip(reversed(maps()[1:]), decoder.input_projections, decoder.input_norms)
        ):
            expected = norm(project(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            torch.testing.assert_close(outputs.multi_scale_features[level], expected)


def test_the_pyramid_adds_the_lateral_map_to_the_enlarged_one():
    torch.manual_seed(0)
    pyramid = UnpairSegFeaturePyramid(tiny_config(), 8).eval()
    finest, encoded = torch.randn(1, 8, 8, 6), torch.randn(1, tiny_config().feature_size, 4, 3)
    enlarged = F.interpolate(encoded, scale_factor=2, mode="bilinear")
    mixed = pyramid.lateral[1](pyramid.lateral[0](finest)) + enlarged
    expected = pyramid.projection(pyramid.norm(pyramid.convolution(mixed)).clamp(min=0))
    torch.testing.assert_close(pyramid(finest, encoded), expected)


def test_autocast_does_not_reach_it():
    torch.manual_seed(0)
    decoder = peaked(UnpairSegPixelDecoder(tiny_config(), CHANNELS)).eval()
    with torch.no_grad():
        expected = decoder(maps()).last_hidden_state
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = decoder(maps()).last_hidden_state
    assert torch.equal(found, expected)
