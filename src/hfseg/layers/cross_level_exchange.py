# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cross-level exchange (CLX): attention between co-located windows of two neighboring levels of a pyramid.

The tokens of one level ask those of the other. Both maps are cut into the same number of windows, and a window asks its
counterpart only, so the cost is linear in the number of pixels. Upwards, coarse tokens ask the fine ones that were
merged into them for what merging lost; downwards, fine tokens ask coarse ones, with a margin (halo) around the window,
for context. A gain per channel, 0 at first, makes a fresh block the identity: it can be put into a trained network.

Scores are cosines with a learned temperature, plus a bias that a small network computes from the distance between the
tokens on the image (log-spaced, in units of key tokens), as in Swin V2.

Shape legend: B images, (H, W) the map that asks with channels C, (h, w) the map that is asked with channels c,
n windows per axis, d inner channels.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .cosine_attention import biased_attention, cosine_attention
from .shifted_windows import gather_tokens, spare_windows, window_places, window_tokens
from .windows import from_windows, gathers, halo_window_tokens, to_windows

HIDDEN_FEATURES = 512  # of the network that gives the bias
MASKED_SCORE = -1e4
MAX_LOGIT_SCALE = math.log(100.0)


class CrossLevelExchange(GradientCheckpointingLayer):
    """One block: a map asks the neighboring level's.

    Args:
        query_channels: C.
        key_channels: c.
        num_heads: Heads; divides the inner channels d = min(C, c).
        query_window: Side of the windows of the map that asks, in its tokens.
        key_window: Side of the co-located windows of the other map: half or twice as many.
        halo: Key tokens around the key window that are seen too.
    """

    is_causal = False

    def __init__(
        self,
        query_channels: int,
        key_channels: int,
        num_heads: int,
        query_window: int,
        key_window: int,
        halo: int = 0,
    ):
        super().__init__()
        inner = min(query_channels, key_channels)
        if inner % num_heads:
            raise ValueError(f"The inner channels {inner} are not a multiple of num_heads={num_heads}.")
        if query_window != 2 * key_window and key_window != 2 * query_window:
            raise ValueError(
                f"query_window={query_window} and key_window={key_window} are not co-located: neighboring levels "
                "differ by a factor of 2."
            )
        self.num_heads, self.query_window, self.key_window, self.halo = num_heads, query_window, key_window, halo
        self.query_norm = nn.LayerNorm(query_channels)
        self.key_norm = nn.LayerNorm(key_channels)
        self.q_proj = nn.Linear(query_channels, inner)
        self.k_proj = nn.Linear(key_channels, inner, bias=False)
        self.v_proj = nn.Linear(key_channels, inner)
        self.out_proj = nn.Linear(inner, query_channels)
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))
        self.position_bias = nn.Sequential(
            nn.Linear(2, HIDDEN_FEATURES), nn.ReLU(), nn.Linear(HIDDEN_FEATURES, num_heads, bias=False)
        )
        self.gamma = nn.Parameter(torch.zeros(query_channels))

    def bias(self) -> torch.Tensor:
        """Computes the position bias of every pair of tokens of a window.

        With r query tokens per key token, the centers of query i and key k (counted from the window's edge) lie
        `(i + 0.5) / r - (k + 0.5)` key tokens apart: few different numbers, so the network sees each pair of them once.

        Shape:
            Output: `(heads, query_window^2, (key_window + 2 halo)^2)`, float32.
        """
        device = self.logit_scale.device
        queries = torch.arange(self.query_window, device=device)
        keys = torch.arange(-self.halo, self.key_window + self.halo, device=device)
        finer = self.query_window > self.key_window
        # Distances are steps apart: half a key token downwards, two upwards.
        positions = (queries[:, None] - 2 * keys) if finer else (2 * queries[:, None] - keys)  # (query, key), integer
        step, shift = (0.5, -0.25) if finer else (1.0, 0.5)
        smallest = -2 * (self.key_window + self.halo - 1) if finer else -(self.key_window + self.halo - 1)
        largest = (self.query_window - 1) + 2 * self.halo if finer else 2 * (self.query_window - 1) + self.halo
        count = largest - smallest + 1
        distance = torch.arange(smallest, largest + 1, device=device) * step + shift
        coordinate = distance.sign() * torch.log2(1 + 8 * distance.abs() / max(self.key_window - 1, 1)) / 3
        grid = torch.stack(torch.meshgrid(coordinate, coordinate, indexing="ij"), -1).flatten(0, 1)  # (count^2, 2)
        # Of a layer in int8 `weight` is a method, and what comes in is float32.
        dtype = getattr(self.q_proj.weight, "dtype", torch.float32)
        table = self.position_bias(grid.to(dtype)).float()  # (count^2, heads)
        rows = positions - smallest
        index = rows[:, None, :, None] * count + rows[None, :, None, :]  # (row, column) of query, of key
        side = self.query_window**2
        return 16 * table.sigmoid()[index.reshape(-1)].view(side, -1, self.num_heads).permute(2, 0, 1)

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, attend: Callable = biased_attention) -> torch.Tensor:
        """Updates the map that asks.

        Shape:
            queries: `(B, H, W, C)`; keys: `(B, h, w, c)`; output: `(B, H, W, C)`.
        """
        (batch_size, *shape), (lower, wider) = queries.shape[:3], keys.shape[1:3]
        counts = (-(-shape[0] // self.query_window), -(-shape[1] // self.query_window))
        normalized = self.key_norm(keys)
        query = self.q_proj(self.query_norm(queries))
        key, value = self.k_proj(normalized), self.v_proj(normalized)
        gathering, device = gathers(), queries.device
        if gathering:
            table, spare = (batch_size, *shape, self.query_window, 0, device), spare_windows()
            query = gather_tokens(query.flatten(1, 2), window_tokens(*table, spare)[0])
            cut = (batch_size, lower, wider, self.key_window, self.halo, *counts, device, spare)
            index, outside = halo_window_tokens(*cut)
            key, value = (gather_tokens(states.flatten(1, 2), index) for states in (key, value))
            outside = outside.unsqueeze(-1).float()
        else:
            query = to_windows(query, self.query_window, counts)
            key, value = (to_windows(states, self.key_window, counts, self.halo) for states in (key, value))
            inside = to_windows(keys.new_ones(1, lower, wider, 1), self.key_window, counts, self.halo)
            outside = (1 - inside).repeat(batch_size, 1, 1)  # (B * n, T, 1)
        key, query, value = (tensor.unflatten(-1, (self.num_heads, -1)) for tensor in (key, query, value))
        attended, _ = cosine_attention(
            self,
            query,
            key,
            value,
            self.logit_scale.float().clamp(max=MAX_LOGIT_SCALE).exp(),
            self.bias(),
            attend,
            query_codes=query.new_full((*query.shape[:2], 1), MASKED_SCORE),
            key_codes=outside,
        )
        attended = attended.flatten(2)  # (B * n, query_window^2, d)
        if gathering:
            update = F.embedding(window_places(*table), attended.flatten(0, 1)).unflatten(1, tuple(shape))
        else:
            update = from_windows(attended, self.query_window, counts, (shape[0], shape[1]))
        return queries + self.gamma * self.out_proj(update)
