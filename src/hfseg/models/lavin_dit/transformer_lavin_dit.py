# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""J-DiT, the transformer of LaVin-DiT (Wang et al., CVPR 2025, arXiv 2411.11505, section 3.3).

A task is shown by pairs of latent frames (input, target) and a query frame: the clean *condition*. A noisy *target*
frame is moved along a learned velocity until it is the answer. Condition and target are two token streams with weights
of their own that meet in every block in one joint attention over all tokens (3D rotary positions: frame, row, column).

Shapes: B batch, C latent channels, F frames, H W latent height and width, p patch size, D hidden size, L tokens of the
condition, M tokens of the target, N query heads, d head size, T times.

Attention's projections are called as everywhere in diffusers (`to_q` of the target, `add_q_proj` of the condition,
...), which LoRA's usual targets count on; all other parameters have the names of the authors' release. Beside its
class:

* `sandwich_norm=False` drops the norms behind attention and MLP, as Table 4.1 of the thesis wants for 0.1B;
* head sizes that six does not divide (64) work, see `rope_axes`; the release cannot run them;
* what depends on the time alone (`precompute_modulations`) or on the condition alone (`embed_condition`) can be
  computed once and given to `forward`; the half of the last block that nothing reads is skipped. Neither changes
  outputs.
* The random frame offset that the release draws for sequences of a single frame is left out: there always is a query.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.loaders import PeftAdapterMixin
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import AttentionMixin, AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import Timesteps
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn
from torchvision.ops import stochastic_depth

from ...files.bounds import check_counts
from .moving_lavin_dit import QuietMoves
from .offloading_lavin_dit import adapters_scaled
from .positions_lavin_dit import RotaryTable, part_of_table, rope_axes, rotary_table, rotate
from .single_file_lavin_dit import SingleFile

NORM_EPSILON = 1e-6

PUBLISHED_SIZES: dict[str, dict[str, Any]] = {
    "0.1B": {
        "num_layers": 12,
        "num_attention_heads": 8,
        "attention_head_dim": 64,
        "num_key_value_heads": 8,
        "sandwich_norm": False,
        "drop_path_rate": 0.0,
    },
    "1.0B": {
        "num_layers": 28,
        "num_attention_heads": 16,
        "attention_head_dim": 64,
        "num_key_value_heads": 16,
        "sandwich_norm": True,
        "drop_path_rate": 0.1,
    },
    "3.4B": {
        "num_layers": 22,
        "num_attention_heads": 32,
        "attention_head_dim": 72,
        "num_key_value_heads": 8,
        "sandwich_norm": True,
        "drop_path_rate": 0.1,
    },
}
"""Configurations of the three sizes of the paper; weights were released for 3.4B only."""


def default_intermediate_size(hidden_size: int) -> int:
    """Width of the gated MLPs: 8 D / 3, rounded down to a multiple of 64."""
    return int(4 * hidden_size * 2 / 3 / 64) * 64


def patchify(latents: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Cuts latent frames into tokens: by frame, row, column; inside a token the channel runs fastest.

    Shape:
        latents: (B, C, F, H, W) -> (B, F * H/p * W/p, p * p * C).
    """
    batch, channels, frames, height, width = latents.shape
    p = patch_size
    tokens = latents.reshape(batch, channels, frames, height // p, p, width // p, p)
    tokens = tokens.permute(0, 2, 3, 5, 4, 6, 1)  # (B, F, H/p, W/p, p, p, C)
    return tokens.reshape(batch, frames * (height // p) * (width // p), p * p * channels)


def unpatchify(tokens: torch.Tensor, patch_size: int, frames: int, height: int, width: int) -> torch.Tensor:
    """Puts tokens back together; `height` and `width` are those of the latents.

    Shape:
        tokens: (B, F * H/p * W/p, p * p * C) -> (B, C, F, H, W).
    """
    p = patch_size
    latents = tokens.reshape(tokens.shape[0], frames, height // p, width // p, p, p, -1)
    latents = latents.permute(0, 6, 1, 2, 4, 3, 5)  # (B, C, F, H/p, p, W/p, p)
    return latents.reshape(tokens.shape[0], -1, frames, height, width)


class LavinDiTAttnProcessor:
    """Joint attention over condition and target tokens through diffusers' attention dispatch."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "LavinDiTAttention",
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        rotary: RotaryTable,
        target_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See `LavinDiTAttention.forward`."""
        condition, target, length = encoder_hidden_states, hidden_states, encoder_hidden_states.shape[1]
        key = torch.cat([attn.norm_added_k(attn.add_k_proj(condition)), attn.norm_k(attn.to_k(target))], dim=1)
        value = torch.cat([attn.add_v_proj(condition), attn.to_v(target)], dim=1)
        query = attn.norm_q(attn.to_q(target))
        query_table = RotaryTable(rotary.cos[length:], rotary.sin[length:]) if target_only else rotary
        if not target_only:
            query = torch.cat([attn.norm_added_q(attn.add_q_proj(condition)), query], dim=1)  # (B, L + M, N * d)
        query, key, value = (heads.unflatten(-1, (-1, attn.head_dim)) for heads in (query, key, value))
        shared = attn.heads // attn.key_value_heads
        if self._parallel_config is not None and shared > 1:  # context parallelism has no grouped heads
            key, value, shared = key.repeat_interleave(shared, 2), value.repeat_interleave(shared, 2), 1
        attended = dispatch_attention_fn(
            rotate(query, query_table, attn.axes),
            rotate(key, rotary, attn.axes),
            value,
            enable_gqa=shared > 1,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        attended = attended.flatten(2, 3).type_as(target)  # (B, L + M or M, N * d)
        if target_only:
            return attn.to_out[0](attended), None
        return attn.to_out[0](attended[:, length:]), attn.to_add_out(attended[:, :length])


class LavinDiTAttention(nn.Module, AttentionModuleMixin):
    """Joint attention: both streams project with their own weights and attend over all tokens.

    Queries and keys are RMS-normalized over their full width, before heads are split. Consecutive query heads share a
    key-value head.
    """

    # diffusers declares None and the list of its own processors, and replaces both like this.
    _default_processor_cls: Any = LavinDiTAttnProcessor
    _available_processors = [LavinDiTAttnProcessor]
    _supports_qkv_fusion = False

    def __init__(self, hidden_size: int, heads: int, key_value_heads: int, axes: tuple[int, int, int]) -> None:
        super().__init__()
        self.heads, self.key_value_heads, self.axes = heads, key_value_heads, axes
        self.head_dim = sum(axes)
        query_width, key_width = heads * self.head_dim, key_value_heads * self.head_dim
        self.to_q = nn.Linear(hidden_size, query_width, bias=False)
        self.to_k = nn.Linear(hidden_size, key_width, bias=False)
        self.to_v = nn.Linear(hidden_size, key_width, bias=False)
        self.norm_q = nn.RMSNorm(query_width, eps=NORM_EPSILON)
        self.norm_k = nn.RMSNorm(key_width, eps=NORM_EPSILON)
        self.to_out = nn.ModuleList([nn.Linear(query_width, hidden_size, bias=False)])
        self.add_q_proj = nn.Linear(hidden_size, query_width, bias=False)
        self.add_k_proj = nn.Linear(hidden_size, key_width, bias=False)
        self.add_v_proj = nn.Linear(hidden_size, key_width, bias=False)
        self.norm_added_q = nn.RMSNorm(query_width, eps=NORM_EPSILON)
        self.norm_added_k = nn.RMSNorm(key_width, eps=NORM_EPSILON)
        self.to_add_out = nn.Linear(query_width, hidden_size, bias=False)
        self.set_processor(cast(Any, LavinDiTAttnProcessor()))

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        rotary: RotaryTable,
        target_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends; with `target_only` the condition is attended to, but does not attend.

        Shape:
            hidden_states: (B, M, D), encoder_hidden_states: (B, L, D); both are returned, or None for the second.
        """
        processor = cast(LavinDiTAttnProcessor, self.processor)
        return processor(self, hidden_states, encoder_hidden_states, rotary, target_only)


class LavinDiTMLP(nn.Module):
    """SwiGLU without biases: down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Shape: (B, tokens, D) -> (B, tokens, D)."""
        return self.down_proj(F.silu(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))


def _rms(hidden_states: torch.Tensor) -> torch.Tensor:
    """RMS norm over channels without weights; statistics in float32."""
    return F.rms_norm(hidden_states, hidden_states.shape[-1:], eps=NORM_EPSILON)


def _modulation(hidden_size: int, parts: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, parts * hidden_size))


class LavinDiTBlock(nn.Module):
    """One block: joint attention, then an MLP per stream; each scaled before and gated (tanh) behind by the time."""

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        key_value_heads: int,
        axes: tuple[int, int, int],
        intermediate_size: int,
        sandwich_norm: bool,
        drop_path: float,
        last: bool,
    ) -> None:
        super().__init__()
        self.sandwich_norm, self.drop_path = sandwich_norm, drop_path
        # Nothing reads the condition behind the last block. False computes it anyway (for measurements).
        self.skip_condition = last
        self.joint_attn = LavinDiTAttention(hidden_size, heads, key_value_heads, axes)
        self.cond_mlp = LavinDiTMLP(hidden_size, intermediate_size)
        self.x_mlp = LavinDiTMLP(hidden_size, intermediate_size)
        self.cond_modulation = _modulation(hidden_size, 4)
        self.x_modulation = _modulation(hidden_size, 4)

    def modulations(self, condition_time: torch.Tensor, target_time: torch.Tensor) -> torch.Tensor:
        """Computes what the time does to both streams: factor and gate of attention, factor and gate of the MLP.

        Shape:
            condition_time, target_time: (B, D) -> (2, 4, B, D), condition first.
        """
        streams = []
        for network, time in ((self.cond_modulation, condition_time), (self.x_modulation, target_time)):
            scale_attention, gate_attention, scale_mlp, gate_mlp = network(time).chunk(4, dim=-1)  # each (B, D)
            streams += [1 + scale_attention, gate_attention.tanh(), 1 + scale_mlp, gate_mlp.tanh()]
        return torch.stack(streams).unflatten(0, (2, 4))

    def _add(self, stream: torch.Tensor, update: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        update = gate * (_rms(update) if self.sandwich_norm else update)
        return stream + stochastic_depth(update, self.drop_path, "row", self.training)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        condition_time: torch.Tensor | None,
        target_time: torch.Tensor | None,
        rotary: RotaryTable,
        modulations: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns target and condition behind the block.

        Shape:
            hidden_states: (B, M, D), encoder_hidden_states: (B, L, D), condition_time, target_time: (B, D).
            modulations: (2, 4, B or 1, D), in place of the times.
        """
        if modulations is None and condition_time is not None and target_time is not None:
            modulations = self.modulations(condition_time, target_time)
        if modulations is None:
            raise ValueError("A block needs modulations, or both times.")
        of_condition, of_target = modulations.unsqueeze(3).unbind(0)  # each (4, B, 1, D)
        target, condition = hidden_states, encoder_hidden_states
        attended, attended_condition = self.joint_attn(
            _rms(target) * of_target[0], _rms(condition) * of_condition[0], rotary, target_only=self.skip_condition
        )
        target = self._add(target, attended, of_target[1])
        target = self._add(target, self.x_mlp(_rms(target) * of_target[2]), of_target[3])
        if attended_condition is not None:
            condition = self._add(condition, attended_condition, of_condition[1])
            condition = self._add(condition, self.cond_mlp(_rms(condition) * of_condition[2]), of_condition[3])
        return target, condition


class LavinDiTTimeEmbedding(nn.Module):
    """Cosines and sines of the raw time in [0, 1] (256, float32), then an MLP."""

    def __init__(self, frequencies: int, hidden_size: int) -> None:
        super().__init__()
        self.frequencies = Timesteps(frequencies, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.mlp = nn.Sequential(
            nn.Linear(frequencies, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )  # fmt: skip

    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        """Shape: (B,) -> (B, D)."""
        return self.mlp(self.frequencies(timestep).to(cast(nn.Linear, self.mlp[0]).weight.dtype))


class LavinDiTFinalLayer(nn.Module):
    """RMS norm, a factor from the time, and the projection to the pixels of a patch."""

    def __init__(self, hidden_size: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, out_channels)
        self.adaLN_modulation = _modulation(hidden_size, 1)

    def forward(self, hidden_states: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Shape: hidden_states (B, M, D), factor (B or 1, D) -> (B, M, p * p * C)."""
        return self.linear(_rms(hidden_states) * factor.unsqueeze(1))


class LavinDiTModulations(NamedTuple):
    """Everything in J-DiT that depends on the time alone, for a grid of times.

    Shape:
        blocks: (T, layers, 2, 4, 1, D), see `LavinDiTBlock.modulations`. final: (T, 1, D).
    """

    blocks: torch.Tensor
    final: torch.Tensor

    def at(self, step: int) -> "LavinDiTModulations":
        """Takes one time of the grid; `forward` wants this."""
        return LavinDiTModulations(self.blocks[step], self.final[step])


class LavinDiTTransformer3DModel(
    SingleFile, QuietMoves, ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin, AttentionMixin
):
    """J-DiT: predicts the velocity data - noise of a noisy target frame, given clean condition frames.

    Args:
        in_channels: Latent channels C.
        patch_size: Side p of a patch, in latents.
        num_layers: Blocks.
        num_attention_heads: Query heads N; the hidden size D is N times `attention_head_dim`.
        attention_head_dim: Channels d of a head, even.
        num_key_value_heads: Key and value heads, a divisor of N. The paper's "K.V. groups 4" is N / 4 of them: four
            query heads share one. None: N.
        intermediate_size: Width of the MLPs; None: `default_intermediate_size(D)`.
        sandwich_norm: Whether attention's and MLPs' outputs are normalized before they are added.
        drop_path_rate: Stochastic depth of the last block in training; earlier ones get less, linearly from 0.
        rope_axes_dim: Channels of a head per axis (frame, row, column), even, together d; None: `rope_axes(d)`.
        time_embedding_dim: Cosines and sines of the time.
        max_examples: Most pairs that the weights were trained with; more are outside of what they know. Pipelines draw
            no more by themselves. None: not known, as of the released weights.

    Raises:
        ValueError: Sizes do not fit together.

    >>> model = LavinDiTTransformer3DModel(in_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=12,
    ...                                    num_key_value_heads=1, intermediate_size=32)
    >>> target, condition = torch.zeros(1, 4, 1, 8, 8), torch.zeros(1, 4, 5, 8, 8)
    >>> model(target, condition, torch.tensor([0.5])).sample.shape
    torch.Size([1, 4, 1, 8, 8])
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: Any = ["LavinDiTBlock"]  # declared as None by diffusers, like the next two
    _repeated_blocks = ["LavinDiTBlock"]
    _skip_layerwise_casting_patterns: Any = [
        "embedder",
        "prompt_embed",
        "answer_embed",
        "norm",
        "modulation",
        "final_layer",
    ]
    # Context parallelism: every process has a part of each stream from the first block on.
    _cp_plan: Any = {
        "blocks.0": {
            "hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
            "encoder_hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
        },
        "final_layer": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config
    def __init__(
        self,
        in_channels: int = 16,
        patch_size: int = 2,
        num_layers: int = 22,
        num_attention_heads: int = 32,
        attention_head_dim: int = 72,
        num_key_value_heads: int | None = 8,
        intermediate_size: int | None = None,
        sandwich_norm: bool = True,
        drop_path_rate: float = 0.1,
        rope_axes_dim: tuple[int, int, int] | None = None,
        time_embedding_dim: int = 256,
        max_examples: int | None = None,
    ) -> None:
        check_counts(dict(self.config))
        super().__init__()
        hidden_size = num_attention_heads * attention_head_dim
        key_value_heads = num_attention_heads if num_key_value_heads is None else num_key_value_heads
        axes = tuple(rope_axes(attention_head_dim) if rope_axes_dim is None else rope_axes_dim)
        if key_value_heads < 1 or num_attention_heads % key_value_heads:
            raise ValueError(
                f"num_key_value_heads is {key_value_heads}; it must divide num_attention_heads {num_attention_heads}."
            )
        if len(axes) != 3 or sum(axes) != attention_head_dim or any(size < 2 or size % 2 for size in axes):
            raise ValueError(
                f"rope_axes_dim is {axes}; give three even numbers that add up to attention_head_dim "
                f"{attention_head_dim} (which is even and at least 6)."
            )
        if max_examples is not None and max_examples < 1:
            raise ValueError(f"max_examples is {max_examples}; give 1 or more pairs, or None if it is not known.")
        self.axes = axes
        patch_channels = patch_size * patch_size * in_channels
        self.cond_embedder = nn.Sequential(nn.Linear(patch_channels, hidden_size), nn.LayerNorm(hidden_size))
        self.x_embedder = nn.Sequential(nn.Linear(patch_channels, hidden_size), nn.LayerNorm(hidden_size))
        self.prompt_embed = nn.Parameter(torch.empty(1, hidden_size))
        self.answer_embed = nn.Parameter(torch.empty(1, hidden_size))
        self.t_embedder = LavinDiTTimeEmbedding(time_embedding_dim, hidden_size)
        self.blocks = nn.ModuleList(
            LavinDiTBlock(
                hidden_size,
                num_attention_heads,
                key_value_heads,
                axes,
                intermediate_size or default_intermediate_size(hidden_size),
                sandwich_norm,
                drop_path=drop_path_rate * index / max(num_layers - 1, 1),
                last=index == num_layers - 1,
            )
            for index in range(num_layers)
        )
        self.final_layer = LavinDiTFinalLayer(hidden_size, patch_channels)
        self.gradient_checkpointing = False
        self._modulations_released = False
        self.reset_parameters()

    def typed_blocks(self) -> Sequence[LavinDiTBlock]:
        """Returns the blocks as what they are; a `ModuleList` says no more than that they are modules."""
        return cast(Sequence[LavinDiTBlock], self.blocks)

    def reset_parameters(self) -> None:
        """Draws fresh weights as the release does: with zero gates and output the net starts as zero velocity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        first, last = (cast(nn.Linear, self.t_embedder.mlp[index]) for index in (0, 2))
        for parameter in (self.prompt_embed, self.answer_embed, first.weight, last.weight):
            nn.init.normal_(parameter, std=0.02)
        zeros: list[nn.Module] = [self.final_layer.linear, self.final_layer.adaLN_modulation[1]]
        for block in self.typed_blocks():
            zeros += [block.cond_modulation[1], block.x_modulation[1]]
        for module in cast(list[nn.Linear], zeros):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    # ------------------------------------------------------------------------------ what need not be computed each step

    def unused_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that no output depends on: the condition's query, projection and MLP in the last block."""
        last = self.typed_blocks()[-1]
        name, attention = f"blocks.{len(self.blocks) - 1}", last.joint_attn
        modules: dict[str, nn.Module] = {
            "joint_attn.add_q_proj": attention.add_q_proj,
            "joint_attn.norm_added_q": attention.norm_added_q,
            "joint_attn.to_add_out": attention.to_add_out,
            "cond_mlp": last.cond_mlp,
        }
        return {
            f"{name}.{part}.{key}": parameter
            for part, module in modules.items()
            for key, parameter in module.named_parameters()
        }

    @apply_forward_hook
    def embed_condition(self, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
        """Embeds condition frames. Frames do not mix, so frames may be embedded apart and joined.

        Shape:
            encoder_hidden_states: (B, C, F, H, W) -> (B, F * H/p * W/p, D).
        """
        tokens = patchify(encoder_hidden_states, self.config["patch_size"])
        return self.cond_embedder(tokens.to(cast(nn.Linear, self.cond_embedder[0]).weight.dtype))

    def rotary_table(self, frames: int, height: int, width: int) -> RotaryTable:
        """Computes rotary positions for `frames` frames of latents of (height, width), in the weights' precision."""
        p, embed = self.config["patch_size"], self.answer_embed
        device = embed.device if embed.device.type != "meta" else None
        return rotary_table(frames, height // p, width // p, self.axes, device, embed.dtype)

    @apply_forward_hook
    def precompute_modulations(self, timesteps: torch.Tensor) -> LavinDiTModulations:
        """Computes everything that depends on the time alone, for all times of a grid at once.

        Shape:
            timesteps: (T,), in [0, 1].
        """
        time = self.t_embedder(timesteps)  # (T, D)
        weight = cast(nn.Linear, self.final_layer.adaLN_modulation[1]).weight
        place = weight.device if self._modulations_released else time.device
        condition_time, target_time = (time + self.prompt_embed).to(place), (time + self.answer_embed).to(place)
        blocks = torch.stack([block.modulations(condition_time, target_time) for block in self.typed_blocks()])
        final = 1 + self.final_layer.adaLN_modulation(target_time)
        blocks = blocks.permute(3, 0, 1, 2, 4).unsqueeze(-2)  # (T, layers, 2, 4, 1, D)
        return LavinDiTModulations(blocks.to(time.device), final.unsqueeze(1).to(time.device))

    def modulation_modules(self) -> list[nn.Module]:
        """Lists the modules that `precompute_modulations` makes dispensable during sampling (27 % of 3.4B)."""
        modules = [module for block in self.typed_blocks() for module in (block.cond_modulation, block.x_modulation)]
        return [*modules, self.final_layer.adaLN_modulation]

    def release_modulation_weights(self) -> None:
        """Moves the modulations' weights to the CPU: `forward` then needs `modulations`, which are computed there."""
        for module in self.modulation_modules():
            module.to("cpu")
        self._modulations_released = True

    def restore_modulation_weights(self) -> None:
        """Undoes `release_modulation_weights`."""
        for module in self.modulation_modules():
            module.to(self.answer_embed.device)
        self._modulations_released = False

    # --------------------------------------------------------------------------------------------------------- forward

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
        condition_tokens: torch.Tensor | None = None,
        modulations: LavinDiTModulations | None = None,
        rotary: RotaryTable | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predicts the velocity of the target frames.

        Args:
            hidden_states: Noisy target latents.
            encoder_hidden_states: Clean condition latents: input, target, input, target, ..., query.
            timestep: Time of every sample; 0 is noise, 1 is data.
            condition_tokens: `embed_condition(...)`, in place of `encoder_hidden_states`.
            modulations: One time of `precompute_modulations(...)` for the whole batch, in place of `timestep`.
            rotary: `rotary_table(...)` for all frames, else computed here.
            return_dict: Whether to return an output object.
            attention_kwargs: `{"scale": ...}`, a factor of LoRA adapters in this call, as in diffusers.

        Returns:
            The velocity as `sample`, in float32 whatever the weights' precision.

        Shape:
            hidden_states: (B, C, F, H, W); encoder_hidden_states: (B, C, F', H, W); timestep: (B,).
            condition_tokens: (B, F' * H/p * W/p, D).
        """
        if modulations is None and self._modulations_released:
            raise ValueError(
                "The modulations' weights were released: give forward `modulations` (from precompute_modulations), or "
                "call restore_modulation_weights() first."
            )
        with nullcontext() if attention_kwargs is None else adapters_scaled(self, attention_kwargs):
            velocity = self._velocity(
                hidden_states, encoder_hidden_states, timestep, condition_tokens, modulations, rotary
            )
        return Transformer2DModelOutput(sample=velocity) if return_dict else (velocity,)

    def _velocity(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None,
        timestep: torch.Tensor | None,
        condition_tokens: torch.Tensor | None,
        modulations: LavinDiTModulations | None,
        rotary: RotaryTable | None,
    ) -> torch.Tensor:
        """See `forward`."""
        p = self.config["patch_size"]
        frames, height, width = hidden_states.shape[2:]
        target = self.x_embedder(patchify(hidden_states, p).type_as(self.answer_embed))  # (B, M, D)
        condition = self.embed_condition(encoder_hidden_states) if condition_tokens is None else condition_tokens
        if rotary is None:
            all_frames = (condition.shape[1] + target.shape[1]) // ((height // p) * (width // p))
            rotary = rotary_table(all_frames, height // p, width // p, self.axes, target.device, target.dtype)
        parallel = getattr(self._parallel_config, "context_parallel_config", None)
        if parallel is not None:
            rotary = part_of_table(rotary, condition.shape[1], parallel)
        condition_time = target_time = None
        if modulations is None:
            time = self.t_embedder(timestep)  # (B, D)
            condition_time, target_time = time + self.prompt_embed, time + self.answer_embed
            factor = 1 + self.final_layer.adaLN_modulation(target_time)
        else:
            factor = modulations.final
        for index, block in enumerate(self.blocks):
            of_block = None if modulations is None else modulations.blocks[index]
            arguments = (target, condition, condition_time, target_time, rotary, of_block)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                target, condition = self._gradient_checkpointing_func(block, *arguments)
            else:
                target, condition = block(*arguments)
        return unpatchify(self.final_layer(target, factor), p, frames, height, width).float()


# Lets diffusers' caching hooks find a block's streams. Such caches are approximations: every block sees the time.
TransformerBlockRegistry.register(
    LavinDiTBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=1),
)
