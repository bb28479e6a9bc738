# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS: parameters beside the paper's, and speed beside the official code.

The official code is not part of this package: `--authors_code DIR` names a checkout of it, whose modules are imported
in this process, with the same weights as ours.
"""

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hfseg.models.cris.configuration_cris import CrisConfig
from hfseg.models.cris.convert_cris import convert
from hfseg.models.cris.modeling_cris import CrisForReferringImageSegmentation

from .speed import SpeedOptions, compare, interleave

# Table 2.1 of the thesis (R50): row -> fields of the configuration, published millions.
ROWS: dict[str, tuple[dict[str, Any], float]] = {
    "baseline": ({"use_decoder": False, "use_text_to_pixel": False}, 131.86),
    "contrastive": ({"use_decoder": False}, 134.22),
    "decoder, n=1": ({"num_decoder_layers": 1, "use_text_to_pixel": False}, 136.07),
    "both, n=1": ({"num_decoder_layers": 1}, 138.43),
    "both, n=2": ({"num_decoder_layers": 2}, 142.64),
    "both, n=3": ({"num_decoder_layers": 3}, 146.85),
    "both, n=4": ({"num_decoder_layers": 4}, 151.06),
}
R101: dict[str, Any] = {"vision_layers": (3, 4, 23, 3), "text_config": {"projection_dim": 512}}
# Counted on the official code.
COUNTED = {
    ("R50", "both, n=1"): 138428770,
    ("R50", "both, n=2"): 142638946,
    ("R50", "both, n=3"): 146849122,
    ("R50", "both, n=4"): 151059298,
    ("R101", "both, n=1"): 152831330,
    ("R101", "both, n=2"): 157041506,
    ("R101", "both, n=3"): 161251682,
    ("R101", "both, n=4"): 165461858,
}
PARAMETER_NOTES = [
    "Trainable parameters. The official code counts one more: CLIP's temperature, which CRIS does not use.",
    "Rows without the text-to-pixel match have a learned 3x3 convolution in its place (2305 parameters); the thesis "
    "does not say what it had.",
]


def parameter_table() -> list[dict]:
    """Counts parameters for every row of the table, and for R101 where the paper gives none."""
    rows = []
    variants: list[tuple[str, dict[str, Any]]] = [("R50", {}), ("R101", R101)]
    for backbone, fields in variants:
        for name, (switches, published) in ROWS.items():
            with torch.device("meta"):
                model = CrisForReferringImageSegmentation(CrisConfig(**fields, **switches))
            total = sum(parameter.numel() for parameter in model.parameters())
            row: dict[str, Any] = {"backbone": backbone, "row": name, "parameters": total, "total (M)": total / 1e6}
            row["published (M)"] = published if backbone == "R50" else None
            row["equal, rounded"] = round(total / 1e6, 2) == published if backbone == "R50" else None
            counted = COUNTED.get((backbone, name))
            row["official code"] = counted
            row["difference"] = None if counted is None else total - counted
            rows.append(row)
    return rows


# Counted on the official code in the same way: R50, 416 x 416, one expression of 17 tokens, 10**9 FLOPs.
AUTHORS_COST = {"image tower": 42.69, "text": 1.28, "neck": 30.14, "decoder": 17.82, "projector": 39.75}
COST_NOTES = [
    "Floating-point operations (2 per multiplication and addition) of convolutions, products and attention, CRIS-R50, "
    "416 x 416, 17 tokens; nothing is computed.",
    "The official code does everything again for every expression. The bound on what the rewriting can gain is the "
    "ratio of the last table: most of what remains (decoder, 3x3 convolutions of the neck) depends on the expression.",
]


def cost_tables(size: int = 416, length: int = 17) -> dict[str, list[dict]]:
    """Counts operations per part, and of several expressions on one image, beside the official code."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = CrisForReferringImageSegmentation(CrisConfig()).eval()
        pixel_values, ids = torch.empty(1, 3, size, size), torch.ones(1, length, dtype=torch.long)
    inner, neck = model.model, model.model.neck

    def counted(function: Any, *arguments: Any) -> tuple[Any, float]:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            result = function(*arguments)
        return result, counter.get_total_flops() / 1e9

    maps, tower = counted(inner.vision_model, pixel_values)
    features, neck_of_image = counted(neck.describe_image, *maps)
    text, of_text = counted(inner.text_model, ids)
    fused, neck_of_expression = counted(neck, features, text.text_embeds)
    grid = (fused.shape[-2], fused.shape[-1])
    pixels = fused.flatten(2).transpose(1, 2)
    decoded, decoder = counted(inner.decoder, pixels, grid, text.last_hidden_state, ids != 0)
    located = decoded.last_hidden_state.unflatten(1, grid)
    _, projector = counted(model.projector, located, text.text_embeds)
    ours = {
        "image tower": (tower, 0.0),
        "text": (0.0, of_text),
        "neck": (neck_of_image, neck_of_expression),
        "decoder": (0.0, decoder),
        "projector": (0.0, projector),
    }
    parts = [
        {
            "part": part,
            "authors, per expression": AUTHORS_COST[part],
            "ours, per image": of_image,
            "ours, per expression": of_one,
        }
        for part, (of_image, of_one) in ours.items()
    ]
    per_image, per_expression = (sum(pair[index] for pair in ours.values()) for index in (0, 1))
    authors = sum(AUTHORS_COST.values())
    parts.append(
        {
            "part": "sum",
            "authors, per expression": authors,
            "ours, per image": per_image,
            "ours, per expression": per_expression,
        }
    )
    together = [
        {
            "expressions": count,
            "authors": count * authors,
            "ours": per_image + count * per_expression,
            "times fewer": count * authors / (per_image + count * per_expression),
        }
        for count in (1, 2, 5, 10, 100)
    ]
    return {"GFLOPs by part": parts, "GFLOPs of one image": together}


def authors_model(code: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Builds the authors' CRIS-R50 with random weights from a checkout of their repository.

    Raises:
        ValueError: If the folder is not such a checkout.
    """
    folder = Path(code)
    if not (folder / "model" / "segmenter.py").is_file():
        raise ValueError(f"--authors_code {code}: there is no model/segmenter.py; give a checkout of CRIS.pytorch.")
    sys.path.insert(0, str(folder))
    # Their package logs with loguru, which is not needed here.
    sys.modules.setdefault("loguru", types.SimpleNamespace(logger=types.SimpleNamespace(info=print)))  # type: ignore[arg-type]
    clip, segmenter = importlib.import_module("model.clip"), importlib.import_module("model.segmenter")
    torch.manual_seed(0)
    tower = clip.CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 17, 49408, 512, 8, 12)
    state = {name: value for name, value in tower.state_dict().items() if ".connect." not in name}
    hyperparameters = {
        "word_len": 17,
        "fpn_in": [512, 1024, 1024],
        "fpn_out": [256, 512, 1024],
        "num_layers": 3,
        "vis_dim": 512,
        "num_head": 8,
        "dim_ffn": 2048,
        "dropout": 0.1,
        "intermediate": False,
        "word_dim": 1024,
    }
    # Their constructor reads CLIP from a TorchScript archive.
    holder = types.SimpleNamespace(state_dict=lambda: state)
    holder.eval = lambda: holder
    load = torch.jit.load
    torch.jit.load = lambda *arguments, **kwargs: holder  # type: ignore[assignment]
    try:
        model = segmenter.CRIS(types.SimpleNamespace(clip_pretrain="", **hyperparameters))
    finally:
        torch.jit.load = load
    return model.eval(), hyperparameters


def speed_table(settings: SpeedOptions, code: str, size: int = 416) -> tuple[dict[str, list[dict]], list[str]]:
    """Compares with the authors' model: same weights, same inputs, interleaved.

    In a half type ours runs wholly in it, which the official code cannot; that one runs in float32, and a second time
    under autocast.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    dtype = getattr(torch, settings.dtype)
    theirs, hyperparameters = authors_model(code)
    ours = convert({name: value.clone() for name, value in theirs.state_dict().items()}, hyperparameters).eval()
    theirs.to(settings.place)
    ours.to(settings.place, dtype)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for batch, count in [(batch, count) for batch in settings.batch for count in (1, 10)]:
        images = torch.randn(batch, 3, size, size, generator=generator).to(settings.place)
        ids = torch.randint(1, 4096, (batch, count, 17), generator=generator)
        ids[..., 0], ids[..., 9], ids[..., 10:] = 49406, 49407, 0
        ids = ids.to(settings.place)

        @torch.inference_mode()
        def run_ours(images: torch.Tensor = images, ids: torch.Tensor = ids) -> torch.Tensor:
            return ours(images.to(dtype), ids).logits

        @torch.inference_mode()
        def run_theirs(images: torch.Tensor = images, ids: torch.Tensor = ids) -> torch.Tensor:
            # Their interface takes one expression per image: the images are given again for every expression.
            return torch.cat([theirs(images, ids[:, k]) for k in range(ids.shape[1])], dim=1)

        def run_autocast(run: Callable[[], torch.Tensor] = run_theirs) -> torch.Tensor:
            with torch.autocast(settings.place.type, dtype):
                return run()

        sides: dict[str, Callable[[], torch.Tensor]] = {"ours": run_ours, "theirs": run_theirs}
        if dtype != torch.float32:
            sides["theirs, autocast"] = run_autocast
        times = interleave(sides, settings)
        expected = run_theirs()
        difference = float((run_ours().float() - expected).abs().max() / expected.std())
        for name in list(sides)[1:]:
            title = f"{batch} image(s), {count} expression(s) each" + name.removeprefix("theirs")
            entry = compare(title, times["ours"], times[name])
            entry["times faster"] = 1 / entry["ratio"]
            entry["ours expressions/s"] = 1000 * batch * count / entry["ours ms"]
            entry["difference / std"] = difference
            rows.append(entry)
    notes = [
        f"CRIS-R50, {size} x {size}, 17 tokens, eager, {settings.rounds} rounds; clock: {settings.clock}. Ours in "
        f"{settings.dtype}, the official code in float32"
        + (", or under autocast where the row says so." if dtype != torch.float32 else "."),
        "ratio: median over rounds of ours / the official code, same random weights; smaller is better.",
        "difference: largest, of ours from the authors' logits in float32.",
    ]
    return {"Speed of the forward pass": rows}, notes
