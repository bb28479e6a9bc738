# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Bad input of the LaVin-DiT pipeline: a clear error, or the documented conversion."""

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg import LavinDiTAutoencoderKL, LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel
from hfseg.models.lavin_dit.pipeline_lavin_dit import read_example_folder, to_clip
from lavin_dit_models import TINY, drawn


@pytest.fixture(scope="module")
def pipe():
    vae = LavinDiTAutoencoderKL(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_height=32,
        sample_width=32,
    )  # fmt: skip
    model = drawn(LavinDiTTransformer3DModel(**{**TINY, "in_channels": 4, "num_layers": 1}))
    pipeline = LavinDiTPipeline(model.eval(), vae.eval(), LavinDiTScheduler())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def image(height=32, width=32, frames=None):
    shape = (height, width, 3) if frames is None else (frames, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


PAIR = (image(), image())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"height": 40}, "height is 40; it must be a multiple of 16, e.g. 32 or 48"),
        ({"width": 8}, "width is 8; it must be a multiple of 16, e.g. 16"),
        ({"examples": []}, "There are no examples"),
        ({"examples": None}, "There are no examples"),
        ({"examples": [image()]}, "Example 0 is no pair"),
        ({"examples": [PAIR, (image(), image(32, 64))]}, "Example 1: input .32 x 32. and target .64 x 32."),
        ({"examples": [(image(frames=5), image(frames=6))]}, r"must have the same number, 4 k \+ 1"),
        ({"examples": [PAIR, (image(frames=5), image())]}, "must have the same number"),
        ({"query": image(frames=5)}, r"queries have \[5\] frames, the examples' inputs 1"),
        ({"query": []}, "no query"),
        ({"query": [image(), image(frames=5)]}, "frames"),
        ({"num_examples": 3}, "there are 1 examples"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"guidance_scale": float("nan")}, "finite"),
        ({"output_type": "tensor"}, "pil, np, pt, latent"),
        ({"task": "heat"}, "no visual format 'heat'"),
        ({"task": "depth", "output_type": "latent"}, "cannot be combined"),
        ({"latents": torch.zeros(1, 4, 1, 2, 2)}, "this call needs"),
        ({"generator": [torch.Generator()] * 2}, "2 generators for 1 queries"),
        ({"callback_on_step_end_tensor_inputs": ["velocity"]}, "it may have"),
        ({"query": np.full((32, 32, 3), np.nan)}, "NaN"),
        ({"query": np.full((32, 32, 3), 3.0)}, r"floats must be in \[0, 1\]"),
        ({"query": np.zeros((32, 32, 2), np.uint8)}, "has 2 channels"),
        ({"query": np.zeros((32, 32, 3), np.int64)}, "give uint8"),
    ],
)
def test_errors(pipe, arguments, message):
    with pytest.raises(ValueError, match=message):
        pipe(**{"query": image(), "examples": [PAIR], "num_inference_steps": 2, **arguments})


def test_something_else_than_a_image(pipe):
    with pytest.raises(TypeError, match="Expected an image"):
        pipe(7, [PAIR])


def test_prepared_for_something_else(pipe):
    prepared = pipe.prepare_examples([PAIR])
    with pytest.raises(ValueError, match="prepared for 32 x 32"):
        pipe(image(), prepared, height=64)


def test_gray_and_transparent_images_are_converted():
    gray = Image.fromarray(image()[..., 0])
    clip = to_clip(gray)
    assert clip.shape == (1, 3, 32, 32) and (clip[:, 0] == clip[:, 2]).all()
    assert torch.equal(clip, to_clip(image()[..., 0]))
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (to_clip(clear) == 255).all()  # onto white
    assert torch.equal(to_clip(clear), to_clip(np.asarray(clear)))
    assert (to_clip(torch.zeros(4, 4, 4)) == 1).all()
    sixteen = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    assert (to_clip(sixteen) == 255).all()


def test_sizes_within_the_examples_may_differ(pipe):
    out = pipe(image(50, 70), [(image(33, 47), image(66, 94))], num_inference_steps=2).images[0]
    assert out.size == (70, 50)


def test_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_example_folder(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no examples"):
        read_example_folder(tmp_path)
    Image.fromarray(image()).save(tmp_path / "1_input.png")
    with pytest.raises(ValueError, match="1 have an _input or a _target only"):
        read_example_folder(tmp_path)
    (tmp_path / "1_target.png").write_bytes((tmp_path / "1_input.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1_target\.png"):
        read_example_folder(tmp_path)
    Image.fromarray(image()).save(tmp_path / "1_target.png")
    Image.fromarray(image()).save(tmp_path / "a_b_input.png")
    Image.fromarray(image()).save(tmp_path / "a_b_target.webp")
    assert len(read_example_folder(tmp_path)) == 2
