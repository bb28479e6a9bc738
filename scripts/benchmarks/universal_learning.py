# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Learning of UniSegFormer under one budget: with and without cross-level exchange, from scratch and pre-trained.

Every run leaves one checkpoint, and all its numbers (PQ, AP, mean IoU, as the labels allow) come from that one.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfseg.evaluation.segmentation import TASKS, evaluate_segmentation
from hfseg.training import train
from hfseg.training.quickstart import images, set_up

# Mode -> what it changes of the recipe's configuration, and whether the encoder comes from pre-training.
MODES: dict[str, tuple[list[str], bool]] = {
    "exchange": ([], False),
    "no-exchange": (["model.config.clx_enabled=false"], False),
    "pretrained": ([], True),
}
METRICS = ("pq", "sq", "rq", "ap", "ap50", "mean_iou", "pixel_accuracy")
NOTES = [
    "Each run: one checkpoint, measured in all tasks that the labels allow, in percent, on held-out images, single "
    "scale. Same loop, data, order, augmentation, updates and learning rate for all modes of a seed.",
    "exchange: CLX between the levels, its gains start at 0 and learn. no-exchange: without it. pretrained: with it, "
    "and the encoder's weights are those of a pre-training run; decoder and queries are fresh, as in the others.",
    "deviation: standard deviation over seeds; vs exchange: mean over seeds of the difference to that mode.",
]


def load_encoder(model: Any, folder: str) -> None:
    """Puts the encoder of a pre-training run into a model; everything else stays.

    Raises:
        ValueError: The folder holds an encoder of other sizes.
    """
    from hfseg.models.unisegformer.pretraining_unisegformer import UniSegFormerForPreTraining

    state = UniSegFormerForPreTraining.from_pretrained(folder).model.encoder.state_dict()
    own = model.model.encoder.state_dict()
    state.pop("embeddings.mask_token", None)
    if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in own.items()}:
        raise ValueError(f"The encoder in {folder} has other sizes than the recipe's: pre-train with the same recipe.")
    model.model.encoder.load_state_dict(state)


def universal_learning_table(
    data: str | None,
    overrides: list[str],
    modes: Sequence[str] = ("exchange", "no-exchange"),
    seeds: Sequence[int] = (0, 1, 2),
    pretrained: str | None = None,
    keep: str | None = None,
    done: Callable[[dict[str, list[dict]], list[str]], None] | None = None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains every mode with every seed and compares held-out metrics.

    Args:
        data: Folder of images and labels; None for `shapes`.
        overrides: Changes of the recipe, `section.key=value`.
        modes: Keys of `MODES`.
        seeds: Of the runs: weights, order and augmentation.
        pretrained: Folder of a pre-training run, for the mode `pretrained`.
        keep: Folder where trained models stay, as `<mode>-<seed>`.
        done: Called with the tables so far after every run.

    Raises:
        ValueError: As the recipe and the data say, for an unknown mode, or without the folder that a mode needs.
    """
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise ValueError(f"--modes {' '.join(unknown)}: choose of {', '.join(MODES)}.")
    if any(MODES[mode][1] for mode in modes) and pretrained is None:
        raise ValueError("--modes pretrained needs --pretrained FOLDER, left by unisegformer-tiny-shapes-pretraining.")
    runs: list[dict] = []
    tables: dict[str, list[dict]] = {}
    notes = [*NOTES, f"pre-training: {pretrained}"] if pretrained else NOTES
    for seed in seeds:
        for mode in modes:
            runs.append(one_run(data, overrides, mode, seed, pretrained, keep))
            tables = {f"Learning on {data or 'shapes'}": summary(runs, modes), "Runs": runs}
            if done is not None:
                done(tables, notes)
    return tables, notes


def one_run(
    data: str | None, overrides: list[str], mode: str, seed: int, pretrained: str | None, keep: str | None
) -> dict:
    """Trains and evaluates one model."""
    changes, with_encoder = MODES[mode]
    job = set_up("unisegformer", data, [*overrides, *changes, f"run.seed={seed}"])
    if with_encoder and pretrained is not None:
        load_encoder(job.model, pretrained)
    start, start_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(keep) / f"{mode}-{seed}" if keep is not None else Path(temporary) / "run"
        result = train(
            job.model,
            job.training,
            job.collate,
            job.arguments,
            output_dir=folder,
            evaluate_fn=lambda trained: evaluate_segmentation(trained, job.image_processor, job.held_out, tasks=TASKS),
            image_processor=job.image_processor,
        )
        if keep is not None:
            images(folder, job.held_out).save(folder / "overlay.png")
    gains = [
        float(block.gamma.detach().abs().mean())
        for block in (*job.model.model.encoder.clx_up, *job.model.model.encoder.clx_down)
    ]
    return {
        "mode": mode,
        "seed": seed,
        "parameters (M)": sum(parameter.numel() for parameter in job.model.parameters()) / 1e6,
        "updates": result.state.step,
        "CPU minutes": (time.process_time() - start_cpu) / 60,
        "minutes": (time.perf_counter() - start) / 60,
        **{metric: round(value, 2) for metric, value in result.metrics.items() if metric in METRICS},
        "mean gain": statistics.mean(gains) if gains else None,
    }


def summary(runs: Sequence[Mapping[str, Any]], modes: Sequence[str]) -> list[dict]:
    """Mean and deviation per mode, and the difference to the first mode, seed by seed."""
    rows: list[dict] = []
    metrics = [metric for metric in ("pq", "ap", "mean_iou") if metric in runs[0]]
    for mode in modes:
        own = {run["seed"]: run for run in runs if run["mode"] == mode}
        base = {run["seed"]: run for run in runs if run["mode"] == "exchange"}
        if not own:
            continue
        row: dict[str, Any] = {"mode": mode, "seeds": len(own)}
        for metric in metrics:
            values = [run[metric] for run in own.values()]
            row[metric] = statistics.mean(values)
            row[f"{metric} deviation"] = statistics.stdev(values) if len(values) > 1 else None
            common = [run[metric] - base[seed][metric] for seed, run in own.items() if seed in base]
            row[f"{metric} vs exchange"] = statistics.mean(common) if common and mode != "exchange" else None
        row["CPU minutes"] = statistics.mean(run["CPU minutes"] for run in own.values())
        rows.append(row)
    return rows
