# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT's figures as measurements: latency with the VAE (4.18), number of examples (4.19), model size (4.16).

Every part is a table and a PNG. What a published model needs (its weights, an accelerator) is not here: without
`--model` the latency is of untrained networks of `--lavin_size`, examples are shown to the shipped model, and sizes are
three small ones trained on `shapes`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import hfseg
from hfseg.files.model_folders import read_settings
from hfseg.models.lavin_dit.pipeline_lavin_dit import LavinDiTPipeline
from hfseg.models.lavin_dit.scheduling_lavin_dit import LavinDiTScheduler
from hfseg.models.lavin_dit.transformer_lavin_dit import PUBLISHED_SIZES, LavinDiTTransformer3DModel
from hfseg.models.lavin_dit.vae_lavin_dit import LavinDiTAutoencoderKL

from .curve_plots import save_lines
from .lavin_dit import TINY

PARTS = ("latency", "context", "scaling")
SHIPPED = "lavin-dit-tiny-shapes"
# Small ST-VAE of latency on a CPU; the published one needs 61 TFLOP to encode 8 pairs at 512 x 512.
TINY_VAE = {"block_out_channels": [32, 32, 64, 64], "layers_per_block": 1}
# Seconds that the paper prints (3.4B, 8 pairs, A100).
PRINTED_SECONDS = {256: 4.67, 512: 20.1}
# What the trained tasks are measured by, without networks that have to be fetched; and whether less is better.
CONTEXT_TASKS = {
    "depth_estimation": ("abs_rel", True),
    "normal_estimation": ("mean_angle", True),
    "foreground_segmentation": ("mean_image_iou", False),
    "colorization": ("mse", True),
}
# Width and depth of three small transformers, beside the recipe's own (the last).
SCALING_SIZES: dict[str, dict[str, int]] = {
    "small": {"num_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "attention_head_dim": 48},
    "medium": {"num_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 3, "attention_head_dim": 48},
    "large": {"num_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "attention_head_dim": 48},
}
NOTES = [
    "latency: seconds of wall clock, median over rounds, batch 1: examples (prepare_examples, VAE), query and answer "
    "(VAE), and all steps with guidance 1.5. The paper's are of 3.4B on an A100, and measure all of it.",
    "context: hfseg.evaluate with 1 to N pairs of random scenes; the shipped model was trained with one to four; more "
    "are outside of its training.",
    "scaling: three sizes trained alike; loss: of held-out scenes, weights as they are then. The paper's figure says "
    "0.273, 0.311 and 0.609 for colorization (MSE) of 3.4B, 1.0B and 0.1B; its table says 0.24 for 3.4B, and not "
    "why.",
]


def small_pipeline(size: str, device: str, dtype: torch.dtype) -> LavinDiTPipeline:
    """Builds an untrained pipeline; the time is that of a trained one."""
    torch.manual_seed(0)
    sizes = TINY if size == "tiny" else PUBLISHED_SIZES[size]
    vae = LavinDiTAutoencoderKL(**(TINY_VAE if size == "tiny" else {}))
    pipe = LavinDiTPipeline(LavinDiTTransformer3DModel(**sizes), vae, LavinDiTScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device, dtype)


def latency_rows(pipe: Any, sizes: list[int], pairs: int, steps: int, rounds: int) -> list[dict]:
    """Seconds of an answer by the side of the images, with their parts."""

    def timed(run: Callable[[], Any]) -> tuple[Any, float]:
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = run()
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        return result, time.perf_counter() - start

    rows = []
    for side in sizes:
        images = torch.randint(0, 256, (2 * pairs + 1, side, side, 3), generator=torch.Generator().manual_seed(0))
        photos = [image.numpy().astype("uint8") for image in images]
        shown = list(zip(photos[0 : 2 * pairs : 2], photos[1 : 2 * pairs : 2]))
        parts: list[tuple[float, float]] = []
        for _ in range(rounds + 1):  # the first does not count
            examples, of_examples = timed(lambda shown=shown, side=side: pipe.prepare_examples(shown, side, side))
            call = {"num_inference_steps": steps, "guidance_scale": 1.5}
            _, of_answer = timed(lambda query=photos[-1], given=examples, call=call: pipe(query, given, **call))
            parts.append((of_examples, of_answer))
        encode, answer = (statistics.median(part[place] for part in parts[1:]) for place in (0, 1))
        rows.append(
            {
                "side": side,
                "pairs": pairs,
                "steps": steps,
                "examples s": encode,
                "query, steps and answer s": answer,
                "total s": encode + answer,
                "paper s": PRINTED_SECONDS.get(side),
            }
        )
    return rows


def context_rows(model: str, dataset: str, counts: list[int], limit: int, steps: int, device: str) -> list[dict]:
    """Numbers of tasks by how many pairs show them."""
    rows, loaded = [], hfseg.load(model, device=device)
    for count in counts:
        row: dict[str, Any] = {"pairs": count}
        for task, (metric, less) in CONTEXT_TASKS.items():
            result = hfseg.evaluate(
                loaded,
                dataset,
                task,
                limit=limit,
                num_examples=count,
                num_inference_steps=steps,
                only=[metric],
                device=device,
            )
            row[f"{task}: {metric}{'' if less else ' (more is better)'}"] = result[metric]
        rows.append(row)
    return rows


def scaling_rows(updates: int, every: int, limit: int, folder: Path, overrides: list[str]) -> list[dict]:
    """Held-out loss by updates, and numbers after training, of three sizes."""
    rows = []
    for name, sizes in SCALING_SIZES.items():
        place = folder / name
        fields = [f"model.config.transformer.{key}={value}" for key, value in sizes.items()]
        changes = [f"run.max_steps={updates}", f"run.evaluate_every={every}", "run.ema_decay=null", *overrides]
        hfseg.train(SHIPPED, *fields, *changes, output_dir=place)
        record = read_settings(place / "metrics.json")
        model = LavinDiTTransformer3DModel.from_pretrained(place / "transformer")
        after = {
            f"{task}: {metric}": hfseg.evaluate(
                place, f"shapes:num_scenes={limit}", task, num_examples=1, only=[metric], device="cpu", split="test"
            )[metric]
            for task, (metric, _) in CONTEXT_TASKS.items()
        }
        parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        rows += [
            {"size": name, "parameters (M)": parameters, "updates": entry["step"], "held-out loss": entry["loss"]}
            for entry in record["training"]["evaluations"]
        ]
        rows[-1] |= after
    return rows


def plot_latency(rows: list[dict], file: Path, about: str) -> None:
    """Draws seconds by side, with the paper's two points."""
    columns = ("total s", "query, steps and answer s", "examples s")
    lines = {name.removesuffix(" s"): [(row["side"], row[name]) for row in rows] for name in columns}
    lines["paper, 3.4B on an A100, all of it"] = list(PRINTED_SECONDS.items())
    save_lines(file, f"Latency with the VAE, {about}", lines, "side of the images, pixels", "seconds", (False, True))


def plot_context(rows: list[dict], file: Path, about: str) -> None:
    """Draws each task's number relative to that of the fewest pairs."""
    names = [name for name in rows[0] if name != "pairs"]
    lines = {
        f"{name}, {rows[0][name]:.4g} at {rows[0]['pairs']}": [
            (row["pairs"], 100 * row[name] / rows[0][name]) for row in rows
        ]
        for name in names
        if rows[0][name]
    }
    save_lines(file, f"Number of examples, {about}", lines, "pairs", "percent of the value at the fewest pairs")


def plot_scaling(rows: list[dict], file: Path, about: str) -> None:
    """Draws held-out loss by updates, a line per size."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = f"{row['size']}, {row['parameters (M)']:.2f} M"
        lines.setdefault(name, []).append((row["updates"], row["held-out loss"]))
    save_lines(file, f"Three sizes, {about}", lines, "updates", "held-out loss", (False, True))


def curve_tables(options: argparse.Namespace) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures the parts asked for, and draws a PNG of each into `--plots`."""
    tables: dict[str, list[dict]] = {}
    plots = Path(options.plots)
    model = options.model or SHIPPED
    if "latency" in options.parts:
        if options.model:
            pipe = LavinDiTPipeline.from_pretrained(options.model).to(options.device, getattr(torch, options.dtype))
            pipe.set_progress_bar_config(disable=True)
        else:
            pipe = small_pipeline(options.lavin_size, options.device, getattr(torch, options.dtype))
        name = f"{options.model or f'untrained {options.lavin_size}'}, {options.pairs} pairs, {options.device}"
        rows = latency_rows(pipe, options.sides, options.pairs, options.steps, options.rounds)
        tables[f"latency, {name}"] = rows
        plot_latency(rows, plots / "lavin_dit_latency.png", name)
    if "context" in options.parts:
        rows = context_rows(model, options.data, options.counts, options.limit, options.steps, options.device)
        tables[f"number of examples, {Path(model).name} on {options.data}"] = rows
        plot_context(rows, plots / "lavin_dit_context.png", f"{Path(model).name} on {options.data}")
    if "scaling" in options.parts:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(options.keep or temporary)
            every = options.every or max(options.updates // 8, 1)
            rows = scaling_rows(options.updates, every, options.limit, folder, options.overrides)
        tables[f"model size, {options.updates} updates on shapes"] = rows
        plot_scaling(rows, plots / "lavin_dit_scaling.png", f"{options.updates} updates on shapes")
    return tables, [*NOTES, f"Plots: {', '.join(f'lavin_dit_{part}.png' for part in options.parts)} in {plots}."]
