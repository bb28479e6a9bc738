# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""ST-VAE, the autoencoder of LaVin-DiT: CogVideoX's, with two differences, and a stand-in without weights.

The authors' network has the parameters of diffusers' `AutoencoderKLCogVideoX` under the same names and gives the same
numbers for single images. For clips two things differ, which `LavinDiTAutoencoderKL` changes:

* a clip goes through in one pass, so that group norms see all of it; CogVideoX cuts it into chunks;
* the decoder's temporal upsampling keeps the first frame apart for even latent counts too, so that L latent frames
  always are 4 (L - 1) + 1 frames.

Large batches are cut: the convolution that diffusers uses to spare memory splits inputs of over 2 GiB along time, and
fails where time is short. Eleven single frames of 512 x 512 are enough, and eight examples and a query are seventeen.
"""

from typing import cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.upsampling import CogVideoXUpsample3D
from diffusers.utils.accelerate_utils import apply_forward_hook

from ...files.bounds import check_counts
from .moving_lavin_dit import QuietMoves
from .single_file_lavin_dit import SingleFile

SCALING_FACTOR, SHIFT_FACTOR = 1.08936170213, 0.032470703125
WHOLE_CLIP = 1 << 30
MEMORY_GUARD = 2 << 30  # bytes, at two per number: the limit in diffusers' CogVideoXSafeConv3d


class LavinDiTUpsample3D(CogVideoXUpsample3D):
    """Doubles height and width, and the frames behind the first if `compress_time`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape: (B, C, T, H, W) -> (B, C, 2 T - 1 or T, 2 H, 2 W)."""
        if self.compress_time and inputs.shape[2] > 1:
            inputs = torch.cat([inputs[:, :, :1], inputs[:, :, 1:].repeat_interleave(2, dim=2)], dim=2)
        batch, _, frames = inputs.shape[:3]
        images = inputs.transpose(1, 2).flatten(0, 1)  # (B * T, C, H, W)
        images = self.conv(F.interpolate(images, scale_factor=2.0))
        return images.unflatten(0, (batch, frames)).transpose(1, 2)


class LavinDiTAutoencoderKL(SingleFile, QuietMoves, AutoencoderKLCogVideoX):
    """ST-VAE. Parameters and methods are those of `AutoencoderKLCogVideoX`; defaults are the released model's.

    Shape:
        encode: (B, 3, T, H, W) in [-1, 1] -> posterior of (B, 16, (T - 1) / 4 + 1, H / 8, W / 8); decode: back.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("CogVideoXDownBlock3D",) * 4,
        up_block_types: tuple[str, ...] = ("CogVideoXUpBlock3D",) * 4,
        block_out_channels: tuple[int, ...] = (128, 256, 256, 512),
        latent_channels: int = 16,
        layers_per_block: int = 3,
        act_fn: str = "silu",
        norm_eps: float = 1e-6,
        norm_num_groups: int = 32,
        temporal_compression_ratio: int = 4,
        sample_height: int = 512,
        sample_width: int = 512,
        scaling_factor: float = SCALING_FACTOR,
        shift_factor: float | None = SHIFT_FACTOR,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        force_upcast: bool = True,
        use_quant_conv: bool = False,
        use_post_quant_conv: bool = False,
        invert_scale_latents: bool = False,
    ) -> None:
        check_counts(dict(self.config))
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            latent_channels=latent_channels,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            norm_eps=norm_eps,
            norm_num_groups=norm_num_groups,
            temporal_compression_ratio=temporal_compression_ratio,
            sample_height=sample_height,
            sample_width=sample_width,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            latents_mean=latents_mean,
            latents_std=latents_std,
            force_upcast=force_upcast,
            use_quant_conv=use_quant_conv,
            use_post_quant_conv=use_post_quant_conv,
            invert_scale_latents=invert_scale_latents,
        )
        self.num_sample_frames_batch_size = self.num_latent_frames_batch_size = WHOLE_CLIP
        # The authors' tiles, should tiling be switched on.
        self.tile_sample_min_height = self.tile_sample_min_width = 512
        self.tile_latent_min_height = self.tile_latent_min_width = 512 // 2 ** (len(block_out_channels) - 1)
        self.tile_overlap_factor_height = self.tile_overlap_factor_width = 0.25
        for module in self.decoder.modules():
            if isinstance(module, CogVideoXUpsample3D):
                module.__class__ = LavinDiTUpsample3D  # same parameters, another forward

    def _batches(self, tensor: torch.Tensor, channels: int, pixels: int) -> tuple[torch.Tensor, ...]:
        """Cuts a batch so that the largest input of a convolution (two frames of padding) stays below the guard."""
        sample = 2 * channels * (tensor.shape[2] * self.config["temporal_compression_ratio"] + 2) * pixels
        return tensor.split(max(1, MEMORY_GUARD // sample))

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        """Encodes images or clips; see `AutoencoderKLCogVideoX.encode`."""
        parts = self._batches(x, max(self.config["block_out_channels"][:2]), x.shape[-2] * x.shape[-1])
        if len(parts) == 1:
            return super().encode(x, return_dict)
        moments = [super(LavinDiTAutoencoderKL, self).encode(part).latent_dist.parameters for part in parts]
        posterior = DiagonalGaussianDistribution(torch.cat(moments))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        """Decodes latents; see `AutoencoderKLCogVideoX.decode`."""
        ratio = 4 ** (len(self.config["block_out_channels"]) - 1)
        parts = self._batches(z, max(self.config["block_out_channels"][:2]), z.shape[-2] * z.shape[-1] * ratio)
        pixels = torch.cat([super(LavinDiTAutoencoderKL, self).decode(part).sample for part in parts])
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)


class _Point:
    """A posterior without spread."""

    def __init__(self, mean: torch.Tensor) -> None:
        self.mean, self.std, self.logvar = mean, torch.zeros_like(mean), torch.full_like(mean, -30.0)

    def mode(self) -> torch.Tensor:
        """Returns the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Returns the mean."""
        return self.mean


class PixelAutoencoder(QuietMoves, ModelMixin, ConfigMixin):
    """A fixed linear autoencoder: blocks of pixels, or their principal components. For tiny models.

    Pixels of a square of side `block_size` become the channels of one latent. Without `latent_channels` nothing is
    lost; with it, only that many principal components of the squares are kept, which `fit` computes from images in
    closed form. A component's spread falls to its square root in the latents: between whitened and raw. Frames stay
    apart.

    Args:
        block_size: Side of the square; 1 leaves images as they are.
        latent_channels: Components that are kept; None: all pixels as they are.
        sample_height: Default height of images.
        sample_width: Default width.
        scaling_factor: Factor of latents, as in every autoencoder of diffusers.

    >>> vae = PixelAutoencoder(block_size=2)
    >>> vae.encode(torch.zeros(1, 3, 1, 8, 8)).latent_dist.mode().shape
    torch.Size([1, 12, 1, 4, 4])
    """

    @register_to_config
    def __init__(
        self,
        block_size: int = 1,
        latent_channels: int | None = None,
        sample_height: int = 64,
        sample_width: int = 64,
        scaling_factor: float = 1.0,
    ) -> None:
        check_counts(dict(self.config))
        super().__init__()
        size = 3 * block_size**2
        channels = size if latent_channels is None else latent_channels
        if not 1 <= channels <= size:
            raise ValueError(
                f"latent_channels is {channels}; squares of side {block_size} have 1 to {size} components."
            )
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("analysis", torch.eye(channels, size))
        self.register_buffer("synthesis", torch.eye(size, channels))

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels per latent and side."""
        return self.config["block_size"]

    def fit(self, images: torch.Tensor) -> "PixelAutoencoder":
        """Computes the principal components of images' squares.

        Shape:
            images: (B, 3, H, W), in [-1, 1].
        """
        squares = F.pixel_unshuffle(images.double(), self.config["block_size"]).movedim(1, -1).flatten(0, -2)
        mean, channels = squares.mean(0), len(self.analysis)
        variance, vectors = torch.linalg.eigh(torch.cov(squares.T))  # ascending
        basis, spread = vectors.flip(1)[:, :channels], variance.flip(0)[:channels].clamp(min=1e-8).sqrt()
        # Latents have variance 1 on average.
        weight = spread.sqrt() * spread.mean().sqrt()
        self.mean.copy_(mean)
        self.analysis.copy_((basis / weight).T)
        self.synthesis.copy_(basis * weight)
        return self

    @apply_forward_hook
    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        """Shape: (B, 3, T, H, W) -> (B, C, T, H / b, W / b)."""
        frames = x.transpose(1, 2)  # (B, T, 3, H, W)
        squares = F.pixel_unshuffle(frames.flatten(0, 1), self.config["block_size"])  # (B * T, 3 b b, h, w)
        with torch.autocast(x.device.type, enabled=False):  # latents are what is learnt, whatever the nets' precision
            latents = torch.einsum("cs,nshw->nchw", self.analysis, squares - self.mean[:, None, None])
        posterior = _Point(latents.unflatten(0, frames.shape[:2]).transpose(1, 2))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        """Shape: (B, C, T, h, w) -> (B, 3, T, h b, w b)."""
        frames = z.transpose(1, 2)  # (B, T, C, h, w)
        squares = torch.einsum("sc,nchw->nshw", self.synthesis, frames.flatten(0, 1)) + self.mean[:, None, None]
        pixels = F.pixel_shuffle(squares, self.config["block_size"]).unflatten(0, frames.shape[:2]).transpose(1, 2)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)

    def forward(self, sample: torch.Tensor) -> DecoderOutput:
        """Encodes and decodes."""
        encoded = cast(AutoencoderKLOutput, self.encode(sample))
        return cast(DecoderOutput, self.decode(encoded.latent_dist.mode()))


__all__ = ["LavinDiTAutoencoderKL", "LavinDiTUpsample3D", "ModelMixin", "PixelAutoencoder"]
