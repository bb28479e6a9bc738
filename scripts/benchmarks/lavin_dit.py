# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT: size, cost and speed, what computing things once saves, and the authors' own forward beside ours.

FLOPs are torch's: a multiply-add is two. They are counted on the meta device, where nothing is computed.
"""

import argparse
import contextlib
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hfseg.models.lavin_dit.convert_lavin_dit import ATTENTION
from hfseg.models.lavin_dit.scheduling_lavin_dit import time_grid
from hfseg.models.lavin_dit.transformer_lavin_dit import PUBLISHED_SIZES, LavinDiTTransformer3DModel, patchify
from hfseg.models.lavin_dit.vae_lavin_dit import LavinDiTAutoencoderKL

PUBLISHED_PARAMETERS = {"0.1B": 100_709_952, "1.0B": 935_095_360, "3.4B": 3_398_976_064}
VAE_PARAMETERS = 215_583_907
# TFLOP of one forward of 3.4B with the authors' class: (resolution, pairs) -> value.
COUNTED = {(256, 4): 7.61, (256, 8): 15.61, (512, 4): 46.38, (512, 8): 114.09}
POINTS = 20
TINY = {"num_layers": 6, "num_attention_heads": 8, "attention_head_dim": 24, "num_key_value_heads": 2}

NOTES = [
    "TFLOP, one multiply-add = two FLOP, counted by torch on the meta device; 20 time steps are 19 steps.",
    "authors: their class, all parts of every block computed in every pass. ours: the unread half of the last block is "
    "skipped, embeddings and everything that depends on time alone are computed once per sample.",
    "examples: ST-VAE's encoding of the pairs, which prepare_examples spares every further query.",
]


def build(size: str) -> LavinDiTTransformer3DModel:
    """Builds a published size without memory for its weights."""
    with torch.device("meta"):
        return LavinDiTTransformer3DModel(**PUBLISHED_SIZES[size]).eval().requires_grad_(False)


def parameter_table() -> list[dict]:
    """Counts parameters beside the authors' class, and how many need not be on the device."""
    rows = []
    for size, published in PUBLISHED_PARAMETERS.items():
        model = build(size)
        total = sum(parameter.numel() for parameter in model.parameters())
        modulations = sum(p.numel() for module in model.modulation_modules() for p in module.parameters())
        unused = sum(parameter.numel() for parameter in model.unused_parameters().values())
        rows.append(
            {
                "model": f"J-DiT {size}",
                "parameters": total,
                "authors' class": published,
                "modulations": modulations,
                "modulations %": 100 * modulations / total,
                "unread": unused,
            }
        )
    with torch.device("meta"):
        vae = LavinDiTAutoencoderKL()
    total = sum(p.numel() for p in vae.parameters())
    return [*rows, {"model": "ST-VAE", "parameters": total, "authors' class": VAE_PARAMETERS}]


def count(function: Callable[[], Any]) -> float:
    """Counts a call in TFLOP."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e12


def cost_row(size: str, resolution: int, pairs: int) -> dict:
    """Counts one sample with guidance, computed the authors' way and ours."""
    model, side = build(size), resolution // 8
    meta = torch.device("meta")
    target, time = torch.empty(1, 16, 1, side, side, device=meta), torch.empty(1, device=meta)
    condition = torch.empty(1, 16, 2 * pairs + 1, side, side, device=meta)
    null, steps = condition[:, :, :2], POINTS - 1
    last = model.blocks[-1]
    last.skip_condition = False
    plain, plain_null = (count(lambda frames=frames: model(target, frames, time)) for frames in (condition, null))
    last.skip_condition = True
    skipped = count(lambda: model(target, condition, time))
    tokens, tokens_null = model.embed_condition(condition), model.embed_condition(null)
    modulations = model.precompute_modulations(torch.empty(steps, device=meta))
    once = count(lambda: model.precompute_modulations(torch.empty(steps, device=meta)))
    once += count(lambda: (model.embed_condition(condition), model.embed_condition(null[:, :, :1])))
    fast, fast_null = (
        count(lambda part=part: model(target, condition_tokens=part, modulations=modulations.at(0)))
        for part in (tokens, tokens_null)
    )
    with torch.device("meta"):
        vae = LavinDiTAutoencoderKL().eval().requires_grad_(False)
    image = torch.empty(1, 3, 1, resolution, resolution, device=meta)
    encode = count(lambda: vae.encode(image))
    decode = count(lambda: vae.decode(target))
    authors = steps * (plain + plain_null)
    ours = steps * (fast + fast_null) + once
    return {
        "model": size,
        "pixels": resolution,
        "pairs": pairs,
        "forward": plain,
        "counted on authors' class": COUNTED.get((resolution, pairs)) if size == "3.4B" else None,
        "last block skipped": skipped,
        "all once": fast,
        "saved %": 100 * (1 - fast / plain),
        "pass without examples": fast_null,
        "sample, authors": authors,
        "sample, ours": ours,
        "sample, guidance 1": steps * fast + once,
        "examples": 2 * pairs * encode,
        "query and answer": encode + decode,
    }


def savings_rows(size: str = "3.4B", resolution: int = 512, pairs: int = 8) -> list[dict]:
    """Counts what each saving spares a sample of 20 points, by itself: all other work is done the authors' way."""
    model, side, steps = build(size), resolution // 8, POINTS - 1
    meta = torch.device("meta")
    target, time = torch.empty(1, 16, 1, side, side, device=meta), torch.empty(1, device=meta)
    condition = torch.empty(1, 16, 2 * pairs + 1, side, side, device=meta)
    null, last = condition[:, :, :2], model.blocks[-1]
    modulations, times = model.precompute_modulations(time), torch.empty(steps, device=meta)

    def both(**given: Any) -> float:
        """Counts a step: the pass with examples and that without."""
        total = 0.0
        for frames in (condition, null):
            arguments = {"encoder_hidden_states": frames, "timestep": time}
            if "embedded" in given:
                arguments = {"condition_tokens": model.embed_condition(frames), "timestep": time}
            if "modulated" in given:
                arguments = {**arguments, "timestep": None, "modulations": modulations.at(0)}
            total += count(lambda arguments=arguments: model(target, **arguments))
        return total

    last.skip_condition = False
    plain = both()
    embed_once = count(lambda: (model.embed_condition(condition), model.embed_condition(null)))
    embeddings = steps * (plain - both(embedded=True)) - embed_once
    modulated = steps * (plain - both(modulated=True)) - count(lambda: model.precompute_modulations(times))
    without_null = steps * (plain - count(lambda: model(target, condition, time)))
    last.skip_condition = True
    skipped = steps * (plain - both())
    with torch.device("meta"):
        vae = LavinDiTAutoencoderKL().eval().requires_grad_(False)
    examples = 2 * pairs * count(lambda: vae.encode(torch.empty(1, 3, 1, resolution, resolution, device=meta)))
    sample = steps * plain
    weights = sum(p.numel() for module in model.modulation_modules() for p in module.parameters())
    rows = [
        ("1 latents of the examples, kept for further queries", examples, None),
        ("1 embeddings of the condition, once per sample", embeddings, None),
        ("2 modulations, once per grid", modulated, 2 * weights / 1e9),
        ("3 unread half of the last block", skipped, None),
        ("4 pass without examples, at guidance 1", without_null, None),
    ]
    return [
        {
            "saving": name,
            "TFLOP": value,
            "% of a sample's J-DiT": 100 * value / sample,
            "GB of bfloat16 weights": memory,
        }
        for name, value, memory in rows
    ]


def cost_tables() -> dict[str, list[dict]]:
    """Counts the paper's settings."""
    settings = [
        ("3.4B", 256, 4),
        ("3.4B", 256, 8),
        ("3.4B", 512, 4),
        ("3.4B", 512, 8),
        ("1.0B", 512, 8),
        ("0.1B", 512, 8),
    ]
    return {
        "each saving alone, 3.4B, 512 x 512, 8 pairs": savings_rows(),
        "cost (TFLOP)": [cost_row(*setting) for setting in settings],
    }


# ----------------------------------------------------------------------------------------------------------------------
# Speed
# ----------------------------------------------------------------------------------------------------------------------


def sample(
    model: LavinDiTTransformer3DModel,
    condition: torch.Tensor,
    noise: torch.Tensor,
    points: int,
    *,
    guidance: float = 1.5,
    embed_once: bool = True,
    modulate_once: bool = True,
    skip_last: bool = True,
) -> torch.Tensor:
    """Samples latents with or without each saving; the answer is the same."""
    model.blocks[-1].skip_condition = skip_last
    grid = torch.from_numpy(time_grid(points)).to(noise.device)
    null = torch.cat([torch.zeros_like(condition[:, :, :1]), condition[:, :, -1:]], dim=2)
    passes = [condition] if guidance == 1 else [condition, null]
    sizes = noise.shape[-2:]
    fixed = [
        {
            "condition_tokens": model.embed_condition(frames),
            "rotary": model.rotary_table(frames.shape[2] + noise.shape[2], *sizes),
        }
        if embed_once
        else {"encoder_hidden_states": frames}
        for frames in passes
    ]
    modulations = model.precompute_modulations(grid[:-1]) if modulate_once else None
    state = noise
    for step in range(points - 1):
        of_time: dict[str, Any] = {"timestep": grid[step].expand(len(noise))}
        if modulations is not None:
            of_time = {"modulations": modulations.at(step)}
        velocities = [model(state, **arguments, **of_time).sample for arguments in fixed]
        velocity = velocities[0]
        if guidance != 1:
            velocity = velocities[1] + guidance * (velocities[0] - velocities[1])
        state = state + (grid[step + 1] - grid[step]) * velocity
    model.blocks[-1].skip_condition = True
    return state


class _DenseNorm(nn.Module):
    """What apex's fused norms compute, in plain torch."""

    def __init__(self, size: int, eps: float, elementwise_affine: bool, mean: bool) -> None:
        super().__init__()
        self.size, self.eps, self.mean = (size,), eps, mean
        self.weight = nn.Parameter(torch.ones(size)) if elementwise_affine else None
        self.bias = nn.Parameter(torch.zeros(size)) if mean and elementwise_affine else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (..., size) -> (..., size)."""
        if self.mean:
            return F.layer_norm(x, self.size, self.weight, self.bias, self.eps)
        return F.rms_norm(x, self.size, self.weight, self.eps)


@contextlib.contextmanager
def authors_modules(folder: Path) -> Iterator[None]:
    """Makes the authors' `lib` importable: their CUDA-only imports are replaced by dense equivalents in torch."""

    def layer_norm(size: int, eps: float = 1e-5, elementwise_affine: bool = True) -> nn.Module:
        return _DenseNorm(size, eps, elementwise_affine, mean=True)

    def rms_norm(size: int, eps: float = 1e-5, elementwise_affine: bool = True) -> nn.Module:
        return _DenseNorm(size, eps, elementwise_affine, mean=False)

    def attention(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):  # type: ignore[no-untyped-def]
        out = F.scaled_dot_product_attention(
            *(part.transpose(1, 2) for part in (q, k, v)), scale=softmax_scale, enable_gqa=q.shape[2] != k.shape[2]
        )
        return out.transpose(1, 2)

    stubs: dict[str, dict[str, Any]] = {
        "apex": {},
        "apex.normalization": {},
        "apex.normalization.fused_layer_norm": {"FusedLayerNorm": layer_norm, "FusedRMSNorm": rms_norm},
        "flash_attn": {"flash_attn_func": attention},
        "timm.models.layers": {"DropPath": nn.Identity},
    }
    before = {name: sys.modules.get(name) for name in stubs}
    own = [name for name in sys.modules if name == "lib" or name.startswith("lib.")]
    for name, content in stubs.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        for name in [name for name in sys.modules if (name == "lib" or name.startswith("lib.")) and name not in own]:
            del sys.modules[name]


def build_authors(folder: Path, model: LavinDiTTransformer3DModel) -> nn.Module:
    """Builds the authors' J-DiT with our weights.

    Args:
        folder: Checkout of their repository, whose code is executed.
        model: Ours; sandwich norms, a head size that six divides.

    Raises:
        ValueError: There is no such code, or it needs a package (einops) that is not installed.
    """
    config = model.config
    with authors_modules(folder):
        try:
            dit = importlib.import_module("lib.model.dit")
        except ImportError as error:
            raise ValueError(f"--authors {folder}: their code cannot be imported ({error}).") from error
        theirs = dit.LaVinDiT(
            patch_size=[config.patch_size] * 2,
            in_channels=config.in_channels,
            hidden_size=config.num_attention_heads * config.attention_head_dim,
            depth=config.num_layers,
            num_heads=config.num_attention_heads,
            kv_group=config.num_attention_heads // config.num_key_value_heads,
        )
    names = {ours: name for name, ours in ATTENTION.items()}
    weights = {}
    for name, tensor in model.state_dict().items():
        before, found, part = name.partition(".joint_attn.")
        own, _, last = part.rpartition(".")
        weights[f"{before}{found}{names[own]}.{last}" if found else name] = tensor
    theirs.load_state_dict(weights)
    return theirs.eval().requires_grad_(False)


def speed_tables(options: argparse.Namespace) -> tuple[dict[str, list[dict]], list[str]]:
    """Times one forward beside the authors', and a sample with each saving taken away; answers are compared.

    Raises:
        ValueError: Sizes that do not fit.
    """
    from .speed import SpeedOptions, compare, interleave

    settings = SpeedOptions(
        rounds=options.rounds,
        warmup=options.warmup,
        threads=options.threads,
        dtype=options.dtype,
        device=options.device,
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    height, width = options.size
    if height % 16 or width % 16:
        raise ValueError(f"--size {height} {width}: LaVin-DiT needs multiples of 16.")
    sizes = TINY if options.lavin_size == "tiny" else PUBLISHED_SIZES[options.lavin_size]
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    model = LavinDiTTransformer3DModel(**{**sizes, "drop_path_rate": 0.0})
    with torch.no_grad():
        for parameter in model.parameters():  # nothing may be zero, or nothing would be compared
            if not parameter.any():
                parameter.normal_(std=0.02)
    model = model.eval().requires_grad_(False).to(settings.place, dtype)
    draw = torch.Generator().manual_seed(1)
    shape = (height // 8, width // 8)
    condition = torch.randn(1, 16, 2 * options.pairs + 1, *shape, generator=draw).to(settings.place, dtype)
    noise = torch.randn(1, 16, 1, *shape, generator=draw).to(settings.place)
    time = torch.tensor([0.3], device=settings.place)
    tokens = (2 * options.pairs + 2) * (height // 16) * (width // 16)
    tables: dict[str, list[dict]] = {}
    with torch.no_grad():
        if options.authors:
            theirs = build_authors(Path(options.authors), model).to(settings.place, dtype)
            patches = [
                patchify(part.to(dtype), 2).unflatten(1, (-1, height // 16, width // 16)) for part in (noise, condition)
            ]
            sides = {
                "ours": lambda: model(noise, condition, time).sample,
                "authors": lambda: theirs(patches[0], time, patches[1]),
            }
            difference = (sides["ours"]() - sides["authors"]()).abs().max().item()
            times = interleave(sides, settings)
            row = compare(f"forward, {tokens} tokens", times["ours"], times["authors"])
            row["tokens/s ours"] = 1000 * tokens / row["ours ms"]
            row["tokens/s theirs"] = 1000 * tokens / row["theirs ms"]
            tables["against the authors' forward"] = [{**row, "max difference": difference}]
        variants: dict[str, dict[str, Any]] = {
            "everything once": {},
            "embeddings every step": {"embed_once": False},
            "modulations every step": {"modulate_once": False},
            "last block whole": {"skip_last": False},
            "nothing saved": {"embed_once": False, "modulate_once": False, "skip_last": False},
        }
        runs = {
            name: (lambda kept=kept: sample(model, condition, noise, options.points, **kept))
            for name, kept in variants.items()
        }
        answers = {name: run() for name, run in runs.items()}
        runs["guidance 1"] = lambda: sample(model, condition, noise, options.points, guidance=1.0)
        times = interleave(runs, settings)
    rows = []
    for name, measured in times.items():
        row = compare(name, measured, times["nothing saved"])
        difference = (answers[name] - answers["nothing saved"]).abs().max().item() if name in answers else None
        rows.append({**{key: row[key] for key in ("row", "ours ms", "ratio", "ratios")}, "max difference": difference})
    tables[f"one sample, {options.points} points, guidance 1.5; ratio to nothing saved"] = rows
    return tables, [
        f"J-DiT {options.lavin_size}, {options.pairs} pairs, {height} x {width}, {tokens} tokens, {options.dtype}; "
        f"{settings.rounds} rounds, every side once per round; {settings.clock}.",
        "Latents only: no autoencoder. Both sides have the same weights; the authors' apex and flash-attn calls are "
        "replaced by torch's equivalents.",
    ]
