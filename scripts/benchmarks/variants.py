# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Variants of one recipe, trained alike with several seeds: held-out metrics, cost of training and of a forward pass.

A variant is a name and changes of the recipe. Runs that a folder already holds are read, not trained again.
"""

import json
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import hfseg
from accelerate import Accelerator
from hfseg.training.arguments import load_recipe
from hfseg.training.tasks import build_task

from .flops import RULES

NOTES = [
    "Each run: the recipe with the variant's changes and a seed for weights, order and augmentation; all variants of a "
    "seed see the same examples. Metrics are of held-out data, in percent where the evaluation gives percent.",
    "deviation: standard deviation over seeds; difference: mean over seeds of the difference to the first variant.",
    "GFLOPs: multiply-adds of matrix products, convolutions, norms and resizing, as in the tables of costs. "
    "CPU milliseconds: a forward pass of one random image, variants interleaved, median of the rounds.",
]
ROUNDS = 9


def parse_variants(texts: Sequence[str]) -> dict[str, list[str]]:
    """Reads `NAME` or `NAME: section.key=value section.key=value`, as the command line gives them.

    Raises:
        ValueError: A variant has no name, stands twice, or a change has no `=`.
    """
    variants: dict[str, list[str]] = {}
    for text in texts:
        name, _, changes = text.partition(":")
        name = name.strip()
        if not name or name in variants:
            raise ValueError(
                f"--variants {text!r}: each needs a name of its own, as in 'full: model.config.encoder=full'."
            )
        variants[name] = changes.split()
        for change in variants[name]:
            if "=" not in change:
                raise ValueError(f"--variants {text!r}: {change!r} is not section.key=value.")
    return variants


def variant_tables(
    recipe: str,
    variants: Mapping[str, Sequence[str]],
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    metrics: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    keep: str | None = None,
    again: Sequence[str] = (),
    done: Callable[[dict[str, list[dict]], list[str]], None] | None = None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains every variant with every seed and compares them.

    Args:
        recipe: Name or file.
        variants: Name -> changes of the recipe; the first is what the others are compared with.
        overrides: Changes for all of them.
        seeds: One run each.
        metrics: Columns; None takes all numbers of the evaluation.
        image_size: (height, width) of the timed forward pass; None leaves it out.
        keep: Folder where the runs stay, as `NAME-SEED`, and from which finished ones are read.
        again: Changes, of the image processor for example, with which every trained model is measured once more.
        done: Called with the tables so far after every run.

    Raises:
        ValueError: The recipe or a change is not right, or an asked-for metric is not measured.
    """
    for changes in variants.values():
        load_recipe(recipe, [*overrides, *changes])  # what cannot be read is said before the first run
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(keep or temporary)
        for seed in seeds:
            for name, changes in variants.items():
                folder = place / f"{name.replace(' ', '-')}-{seed}"
                numbers = one_run(recipe, [*overrides, *changes, f"run.seed={seed}"], folder)
                row = {"variant": name, "seed": seed, **chosen(numbers, metrics)}
                if again:
                    more = measured_again(recipe, [*overrides, *changes], again, folder)
                    row |= {f"{metric} again": more[metric] for metric in row if metric in more}
                runs.append(row)
                if done is not None:
                    done({f"{recipe}: variants": summary(runs), "Runs": runs}, NOTES)
        rows, notes = summary(runs), [*NOTES, *([f"again: with {' '.join(again)}, the same weights."] if again else [])]
        if image_size is not None:
            folders = {name: place / f"{name.replace(' ', '-')}-{seeds[0]}" for name in variants}
            for row, cost in zip(rows, forward_costs(folders, image_size), strict=True):
                row.update(cost)
    return {f"{recipe}: variants": rows, "Runs": runs}, notes


def measured_again(recipe: str, overrides: Sequence[str], again: Sequence[str], folder: Path) -> dict[str, float]:
    """Held-out metrics of a trained model with other settings, or what an earlier call left."""
    record = folder / f"again-{zlib.crc32(' '.join(again).encode()):08x}.json"
    if not record.is_file():
        kept = [change for change in overrides if not change.startswith(("model.config", "model.backbone"))]
        task = build_task(load_recipe(recipe, [*kept, f"model.pretrained={folder}", *again]))
        dataset = task.build_validation_dataset()
        model = task.build_model(dataset).eval()
        with torch.no_grad():
            numbers = task.evaluate(model, task.build_processor(model), dataset, list, Accelerator())
        record.write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def one_run(recipe: str, overrides: Sequence[str], folder: Path) -> dict[str, float]:
    """Trains one model, or reads what an earlier call left; its held-out metrics and CPU minutes."""
    record = folder / "variant.json"
    if not record.is_file():
        start = time.process_time()
        resume = "latest" if any(folder.glob("checkpoint-*")) else None
        hfseg.train(recipe, *overrides, output_dir=folder, resume_from_checkpoint=resume)
        minutes = (time.process_time() - start) / 60
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["metrics"]
        record.write_text(json.dumps({**metrics, "CPU minutes": minutes}, indent=2), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def chosen(numbers: Mapping[str, Any], metrics: Sequence[str] | None) -> dict[str, float]:
    """The columns of a run: the asked-for metrics, or every number; and its CPU minutes.

    Raises:
        ValueError: A metric is not among the numbers.
    """
    found = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
    for name in metrics or ():
        if name not in found:
            raise ValueError(f"--metrics {name}: the evaluation measures {', '.join(sorted(found))}.")
    names = [*(metrics or (name for name in found if name != "CPU minutes")), "CPU minutes"]
    return {name: found[name] for name in names}


def summary(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation per variant and metric, and the difference to the first variant, seed by seed."""
    names = list(dict.fromkeys(run["variant"] for run in runs))
    first = {run["seed"]: run for run in runs if run["variant"] == names[0]}
    rows: list[dict[str, Any]] = []
    for name in names:
        own = [run for run in runs if run["variant"] == name]
        row: dict[str, Any] = {"variant": name, "seeds": len(own)}
        for metric in [key for key in own[0] if key not in ("variant", "seed", "CPU minutes")]:
            values = [run[metric] for run in own]
            row[metric] = statistics.mean(values)
            row[f"{metric} deviation"] = statistics.stdev(values) if len(values) > 1 else None
            if name != names[0]:
                row[f"{metric} difference"] = statistics.mean(run[metric] - first[run["seed"]][metric] for run in own)
        row["CPU minutes"] = statistics.mean(run["CPU minutes"] for run in own)
        rows.append(row)
    return rows


def load(folder: Path, **options: Any) -> torch.nn.Module:
    """Loads a trained model of whatever class the run left."""
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return getattr(hfseg, name).from_pretrained(folder, **options).eval()


def forward_costs(folders: Mapping[str, Path], image_size: tuple[int, int]) -> list[dict[str, float]]:
    """Multiply-adds and CPU milliseconds of one image through each model; the times are medians, interleaved."""
    models = {name: load(folder) for name, folder in folders.items()}
    pixel_values = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(ROUNDS + 1):
            for name, model in models.items():
                start = time.process_time()
                model(pixel_values=pixel_values)
                if number:  # the first round warms caches
                    taken[name].append(1000 * (time.process_time() - start))
    costs = []
    for name, folder in folders.items():
        plain = load(folder, attn_implementation="eager")  # fused attention is one operator, which has no rule
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=RULES) as counter:
            plain.requires_grad_(False)(pixel_values=pixel_values)
        costs.append({"GFLOPs": counter.get_total_flops() / 1e9, "CPU milliseconds": statistics.median(taken[name])})
    return costs
