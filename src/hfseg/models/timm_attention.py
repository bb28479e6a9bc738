# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MViTv2's pooling attention for maps of any size, whole or in windows. Imports timm: load it when needed.

Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022, section 4.2:
for detection ("Hwin") the pooled queries, keys and values are cut into windows without shift, whose side halves with
every stage, and some blocks stay global. Weights are timm's, which were trained on 224 x 224 pixels; there a window of
56 tokens is the whole map of the first stage, one of 28 that of the second, and so on: the network is the same.

timm looks its tables of relative positions up as they are, which is right at the size of training only: beyond it
there are no entries. Here a table is resized linearly to the distances of the map or window, as in MViTv2's detectors.

Without gradients tokens are gathered by index, as `layers.windows` says, so that an exported program serves all sizes.

Shape legend: B images, heads x D channels, h x w tokens, n windows.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.mvitv2 import MultiScaleAttention
from torch import nn

from ..layers.shifted_windows import gather_tokens, spare_windows, window_places
from ..layers.windows import from_windows, gathers, halo_window_tokens, to_windows

__all__ = ["AnySizeMultiScaleAttention", "adapt_pooling_attention"]


def relative_codes(table: torch.Tensor, queries: int, keys: int) -> torch.Tensor:
    """Looks up the code of every query's distance to every key along one axis.

    The finer of both axes counts; the table is resized to its 2 n - 1 distances. Where tokens are gathered both counts
    may be symbols, of which nothing is asked: a table of that size already is resized to itself, and ratios are
    tensors, for ONNX has no product with a symbol that is not an integer.

    Shape:
        table: `(distances, D)`; output: `(queries, keys, D)`.
    """
    finer: Any = torch.sym_max(queries, keys)
    if gathers() or table.shape[0] != 2 * finer - 1:
        table = F.interpolate(table.t().unsqueeze(0), size=2 * finer - 1, mode="linear")[0].t()
    counts = (torch.full((), n, dtype=torch.float32, device=table.device) for n in (queries, keys, finer))
    query_count, key_count, finer_count = counts
    query_places = torch.arange(queries, device=table.device) * (finer_count / query_count)
    key_places = torch.arange(keys, device=table.device) * (finer_count / key_count)
    distance = query_places[:, None] - key_places + (key_count - 1) * finer_count / key_count
    return table[distance.long()]


class AnySizeMultiScaleAttention(MultiScaleAttention):
    """timm's pooling attention, with resized tables of positions and, if `window` is not 0, in windows.

    Attributes:
        window: Side of a window in tokens as they come in; 0 attends the whole map.
    """

    window: int = 0

    def forward(self, x: torch.Tensor, feat_size: list[int]) -> tuple[torch.Tensor, list[int]]:
        """Attends.

        Shape:
            x: `(B, h * w, C)`; output: `(B, h' * w', C')` and `[h', w']` after pooling of the queries.
        """
        projected = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 4, 1)  # (3, B, heads, D, N)
        maps = projected.flatten(1, 2).unflatten(-1, tuple(feat_size))  # (3, B * heads, D, h, w)
        pools, norms = (self.pool_q, self.pool_k, self.pool_v), (self.norm_q, self.norm_k, self.norm_v)
        queries, keys, values = (self._pooled(*parts) for parts in zip(maps, pools, norms))
        height, width = queries.shape[1:3]
        if self.window:
            counts = (-(-feat_size[0] // self.window), -(-feat_size[1] // self.window))
            attended = self._attend_in_windows(queries, keys, values, counts)
        else:
            shapes = ((height, width), (keys.shape[1], keys.shape[2]))
            attended = self._attend(queries.flatten(1, 2), keys.flatten(1, 2), values.flatten(1, 2), *shapes)
            attended = attended.unflatten(1, (height, width))
        if self.residual_pooling:
            attended = attended + queries
        tokens = attended.flatten(1, 2).unflatten(0, (-1, self.num_heads)).transpose(1, 2).flatten(2)
        return self.proj(tokens), [height, width]

    @staticmethod
    def _stride(pool: Any) -> int:
        return 1 if pool is None else int(pool.stride[0])

    @staticmethod
    def _pooled(features: torch.Tensor, pool: Any, norm: Any) -> torch.Tensor:
        """Pools a map. Shape: `(B * heads, D, h, w)` to `(B * heads, h', w', D)`."""
        features = (features if pool is None else pool(features)).permute(0, 2, 3, 1)
        return features if norm is None else norm(features)

    def _attend_in_windows(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, counts: tuple[int, int]
    ) -> torch.Tensor:
        """Attends within windows, `counts` of them down and across.

        Shape:
            queries: `(n, h, w, D)`; keys and values: pooled to other sizes; output: `(n, h, w, D)`.
        """
        side, key_side = (self.window // self._stride(pool) for pool in (self.pool_q, self.pool_k))
        maps, sides, shape = (queries, keys, values), (side, key_side, key_side), queries.shape[:3]
        if gathers():
            windows = []
            for tokens, length in zip(maps, sides):
                batch, height, width = tokens.shape[:3]
                index, _ = halo_window_tokens(
                    batch, height, width, length, 0, counts[0], counts[1], tokens.device, spare_windows()
                )
                windows.append(gather_tokens(tokens.flatten(1, 2), index))
        else:
            windows = [to_windows(tokens, length, counts) for tokens, length in zip(maps, sides)]
        attended = self._attend(windows[0], windows[1], windows[2], (side, side), (key_side, key_side))
        if gathers():
            places = window_places(shape[0], shape[1], shape[2], side, 0, queries.device)
            return F.embedding(places, attended.flatten(0, 1)).unflatten(1, tuple(shape[1:]))
        return from_windows(attended, side, counts, (shape[1], shape[2]))

    def _attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        query_shape: tuple[int, int],
        key_shape: tuple[int, int],
    ) -> torch.Tensor:
        """Attends within a map or window. Shape: `(n, tokens, D)` each."""
        scores = (queries * self.scale) @ keys.transpose(-2, -1)  # (n, q, k)
        if self.rel_pos_type == "spatial":
            grid = queries.unflatten(1, query_shape)  # (n, q_h, q_w, D)
            rows = relative_codes(self.rel_pos_h, query_shape[0], key_shape[0])
            columns = relative_codes(self.rel_pos_w, query_shape[1], key_shape[1])
            by_row = torch.einsum("nhwd,hkd->nhwk", grid, rows).flatten(1, 2)  # (n, q, k_h)
            by_column = torch.einsum("nhwd,wkd->nhwk", grid, columns).flatten(1, 2)  # (n, q, k_w)
            scores = scores + (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).flatten(-2)
        return scores.softmax(dim=-1) @ values


def check_window_options(window: Any, global_blocks: Any) -> None:
    """Checks what a configuration may hold: a folder's is read as it is.

    Raises:
        ValueError: They are no numbers, or there are global blocks without windows.
    """
    if window is not None and type(window) is not int:
        raise ValueError(f"backbone_config.window_size={window!r} must be a whole number of tokens.")
    if global_blocks is None:
        return
    if not isinstance(global_blocks, (list, tuple)) or any(type(block) is not int for block in global_blocks):
        raise ValueError(f"backbone_config.global_blocks={global_blocks!r} must be a list of numbers of blocks.")
    if window is None:
        raise ValueError("backbone_config.global_blocks belongs to window_size, which is not given.")


def adapt_pooling_attention(backbone: nn.Module, window: int | None, global_blocks: Sequence[int] | None) -> None:
    """Lets the pooling attention of a timm network see maps of any size and, if asked for, windows of them.

    Args:
        backbone: With the network in it; others than MViTv2 stay as they are.
        window: Side of the first stage's windows in tokens; it halves where queries are pooled. None: all is global.
        global_blocks: Blocks without windows, counted over the stages; default: the last of every stage but the first.

    Raises:
        ValueError: The network has no such attention or blocks, or windows do not divide by its strides.
    """
    modules = [module for module in backbone.modules() if type(module) is MultiScaleAttention]
    check_window_options(window, global_blocks)
    if window is not None and (not modules or modules[0].has_cls_token):
        lacking = "has a class token, which lies in no window" if modules else "has no pooling attention"
        raise ValueError(f"backbone_config.window_size={window} is of MViTv2; this network {lacking}.")
    strides = [AnySizeMultiScaleAttention._stride(module.pool_q) for module in modules]
    starts = [index for index, stride in enumerate(strides) if stride > 1]
    chosen = [start - 1 for start in [*starts[1:], len(modules)]] if global_blocks is None else list(global_blocks)
    if window is not None and any(not 0 <= block < len(modules) for block in chosen):
        raise ValueError(f"backbone_config.global_blocks={chosen} must be blocks from 0 to {len(modules) - 1}.")
    side = window or 0
    for index, (module, stride) in enumerate(zip(modules, strides)):
        if module.has_cls_token:  # a token that lies nowhere; timm's own forward serves it
            continue
        module.__class__ = AnySizeMultiScaleAttention
        coarsest = max(stride, AnySizeMultiScaleAttention._stride(module.pool_k))
        if window is not None and (side < coarsest or side % coarsest):
            raise ValueError(f"backbone_config.window_size={window} leaves block {index} windows of {side} tokens, "
                             f"which must be a multiple of {coarsest}.")  # fmt: skip
        module.window = 0 if index in chosen else side  # type: ignore[assignment]
        side //= stride
