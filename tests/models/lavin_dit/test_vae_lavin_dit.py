# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""ST-VAE against diffusers' class where they agree, and by its own rules where they do not."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX

from hfseg import LavinDiTAutoencoderKL, PixelAutoencoder
from hfseg.models.lavin_dit.vae_lavin_dit import LavinDiTUpsample3D

SMALL = {"block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2}


@pytest.fixture
def pair():
    torch.manual_seed(0)
    ours, stock = LavinDiTAutoencoderKL(**SMALL).eval(), AutoencoderKLCogVideoX(**SMALL).eval()
    stock.load_state_dict(ours.state_dict())
    stock.num_sample_frames_batch_size = stock.num_latent_frames_batch_size = 1000  # a clip in one pass
    return ours, stock


@pytest.mark.parametrize("frames", [1, 9, 17])
def test_agrees_with_diffusers_in_one_pass(pair, frames):
    ours, stock = pair
    clip = torch.randn(2, 3, frames, 16, 24)
    with torch.no_grad():
        mine, theirs = (vae.encode(clip).latent_dist for vae in pair)
        assert torch.equal(mine.mean, theirs.mean) and torch.equal(mine.logvar, theirs.logvar)
        torch.testing.assert_close(ours.decode(mine.mean).sample, stock.decode(mine.mean).sample, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 17, 21])
def test_clips_come_back_in_length(pair, frames):
    ours, _ = pair
    with torch.no_grad():
        latents = ours.encode(torch.randn(1, 3, frames, 16, 16)).latent_dist.mean
        assert latents.shape == (1, 4, (frames - 1) // 4 + 1, 2, 2)
        assert ours.decode(latents).sample.shape == (1, 3, frames, 16, 16)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
def test_upsampling_repeats_all_frames_but_the_first(frames):
    up = LavinDiTUpsample3D(2, 2, compress_time=True)
    clip = torch.randn(1, 2, frames, 3, 3)
    out = up(clip)
    sources = [0] + [frame for frame in range(1, frames) for _ in range(2)]
    assert out.shape[2] == len(sources)
    for frame, source in enumerate(sources):
        expected = up.conv(F.interpolate(clip[:, :, source], scale_factor=2.0, mode="nearest"))
        torch.testing.assert_close(out[:, :, frame], expected, atol=1e-6, rtol=1e-6)


def test_published_size_takes_eight_examples():
    """Diffusers' own class fails on this batch; nothing is computed here."""
    with torch.device("meta"), torch.no_grad():
        vae = LavinDiTAutoencoderKL()
        assert sum(p.numel() for p in vae.parameters()) == 215_583_907
        latents = vae.encode(torch.empty(17, 3, 1, 512, 512)).latent_dist.mean
        assert latents.shape == (17, 16, 1, 64, 64)
        assert vae.decode(latents).sample.shape == (17, 3, 1, 512, 512)


def test_cut_batches_change_nothing(pair, monkeypatch):
    ours, _ = pair
    images = torch.randn(5, 3, 1, 16, 16)
    with torch.no_grad():
        latents = ours.encode(images).latent_dist.mean
        decoded = ours.decode(latents).sample
        monkeypatch.setattr("hfseg.models.lavin_dit.vae_lavin_dit.MEMORY_GUARD", 1)
        torch.testing.assert_close(ours.encode(images).latent_dist.mean, latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.decode(latents).sample, decoded, atol=1e-5, rtol=1e-5)


def test_settings_come_back(pair, tmp_path):
    pair[0].save_pretrained(tmp_path)
    again, info = LavinDiTAutoencoderKL.from_pretrained(tmp_path, output_loading_info=True)
    assert again.config.scaling_factor == 1.08936170213 and again.config.shift_factor == 0.032470703125
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert any(isinstance(module, LavinDiTUpsample3D) for module in again.modules())


def test_pixels_are_kept():
    vae = PixelAutoencoder(4)
    clip = torch.randn(2, 3, 3, 8, 12)
    torch.testing.assert_close(vae.decode(vae.encode(clip).latent_dist.sample()).sample, clip)


def test_principal_components(tmp_path):
    """All components lose nothing; k lose what an SVD says; latents have variance 1 on average."""
    torch.manual_seed(0)
    images = F.interpolate(torch.randn(40, 3, 4, 4), size=16, mode="bilinear") + 0.1 * torch.randn(40, 3, 16, 16)
    squares = F.pixel_unshuffle(images, 4).movedim(1, -1).flatten(0, -2)
    singular = torch.linalg.svdvals(squares - squares.mean(0))
    for kept in (48, 6):
        vae = PixelAutoencoder(4, latent_channels=kept).fit(images)
        vae.save_pretrained(tmp_path)
        vae = PixelAutoencoder.from_pretrained(tmp_path)
        latents = vae.encode(images[:, :, None]).latent_dist.mode()
        lost = (vae.decode(latents).sample[:, :, 0] - images).square().sum()
        assert lost.item() == pytest.approx(singular[kept:].square().sum().item(), rel=1e-3, abs=1e-2)
        assert latents.movedim(1, 0).flatten(1).var(1).mean().item() == pytest.approx(1, rel=0.01)


def test_impossible_components():
    with pytest.raises(ValueError, match="1 to 12 components"):
        PixelAutoencoder(2, latent_channels=13)
