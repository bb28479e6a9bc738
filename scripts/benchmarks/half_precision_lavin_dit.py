# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT in float32, bfloat16 and int8 on a CPU: a step of the transformer, and depth by the shipped pipeline."""

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from .half_precision import KINDS, in_kind, weights_of
from .lavin_dit import TINY
from .speed import SpeedOptions, measure_memory

SIZE, PAIRS = 256, 2
NOTES = [
    "LaVin-DiT: one step of the 0.1B transformer at 256x256 with 2 pairs, random weights. same: 100 less the relative "
    "difference of the velocities from float32's (2-norm), in percent. quality: delta1 of depth, shipped pipeline, of "
    "which transformer and autoencoder are in the type."
]


def _in_kind(model: torch.nn.Module, kind: str) -> torch.nn.Module:
    """A copy in one of `KINDS`; int8 are the blocks' layers, as the embeddings look at the type of their weights."""
    if kind != "int8":
        return in_kind(model, kind)
    own = copy.deepcopy(model).eval()
    own.blocks = in_kind(model.get_submodule("blocks"), kind)
    return own


def _step(model: torch.nn.Module, kind: str, size: int) -> Callable[[], torch.Tensor]:
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    draw = torch.Generator().manual_seed(1)
    condition = torch.randn(1, 16, 2 * PAIRS + 1, size // 8, size // 8, generator=draw).to(dtype)
    noise = torch.randn(1, 16, 1, size // 8, size // 8, generator=draw)
    own = _in_kind(model, kind)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return own(noise, condition, torch.tensor([0.3])).sample.float()

    return run


def lavin_dit_rows(rounds: int, scenes: int, tiny: bool = False) -> list[dict[str, Any]]:
    """Time, memory, agreement and quality; a row per kind. `tiny` shows that it runs."""
    import hfseg
    from hfseg.models.lavin_dit.transformer_lavin_dit import PUBLISHED_SIZES, LavinDiTTransformer3DModel

    size = 64 if tiny else SIZE
    torch.manual_seed(0)
    plain = LavinDiTTransformer3DModel(**{**(TINY if tiny else PUBLISHED_SIZES["0.1B"]), "drop_path_rate": 0.0})
    with torch.no_grad():
        for parameter in plain.parameters():  # gates of fresh blocks are zero, and nothing would be compared
            if not parameter.any():
                parameter.normal_(std=0.02)
    plain.eval()
    sides = {kind: _step(plain, kind, size) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(rounds + 1):
        for kind, side in sides.items():
            start = time.process_time()
            side()
            if turn:
                times[kind].append(1e3 * (time.process_time() - start))
    reference = sides["float32"]()
    rows = []
    for kind, side in sides.items():
        pipe = hfseg.load("lavin-dit-tiny-shapes")
        pipe.model.transformer = _in_kind(pipe.model.transformer, kind)
        if kind == "bfloat16":
            pipe.model.vae.bfloat16()
        data, chosen = f"shapes:num_scenes={scenes}", {"split": "test", "task": "depth_estimation"}
        metrics = hfseg.evaluate(pipe, data, device="cpu", num_examples=1, **chosen)
        difference = (side() - reference).norm() / reference.norm()
        rows.append({
            "architecture": "lavin_dit", "type": kind, "input": f"{size}x{size}",
            "ms": statistics.median(times[kind]),
            "ratio": statistics.median(own / other for own, other in zip(times[kind], times["float32"])),
            "weights MiB": weights_of(plain, kind),
            "peak MiB": measure_memory(side, SpeedOptions(size=(size, size), device="cpu")),
            "same masks %": float(100 * (1 - difference)), "measure": "delta1", "quality": float(metrics["delta1"]),
        })  # fmt: skip
    return rows
