# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny J-DiT and pipelines."""

import pytest
import torch

from golden import read_case
from hfseg import (
    LavinDiTAutoencoderKL,
    LavinDiTPipeline,
    LavinDiTScheduler,
    LavinDiTTransformer3DModel,
    PixelAutoencoder,
)
from lavin_dit_models import TINY, drawn


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return drawn(LavinDiTTransformer3DModel(**TINY)).eval()


@pytest.fixture
def pipe(transformer):
    pipeline = LavinDiTPipeline(
        transformer, PixelAutoencoder(2, sample_height=32, sample_width=32), LavinDiTScheduler()
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def video_pipe():
    """With the spatio-temporal autoencoder."""
    torch.manual_seed(0)
    vae = LavinDiTAutoencoderKL(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_height=32,
        sample_width=32,
    )  # fmt: skip
    model = drawn(LavinDiTTransformer3DModel(**{**TINY, "in_channels": 4})).eval()
    pipeline = LavinDiTPipeline(model, vae.eval(), LavinDiTScheduler())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def case():
    return read_case("lavin_dit/pipeline_image")
