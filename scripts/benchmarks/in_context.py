# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Whether a LaVin-DiT reads its examples: the error with right ones, with those of another task, and with none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.data.readers.in_context import InContextDataset, ShapesSource, find_task
from hfseg.metrics.in_context import TASK_METRICS, TRUTHS, InContextMetric
from hfseg.models.lavin_dit.pipeline_lavin_dit import LavinDiTExamples, LavinDiTPipeline
from hfseg.results.drawing import image_grid

# What the recipe `lavin-dit-tiny-shapes` trains, and combinations that it never shows.
LEARNT = (
    "depth_estimation",
    "normal_estimation",
    "foreground_segmentation",
    "edge_detection",
    "colorization",
    "gray_normal_estimation",
)
HELD_OUT = ("gray_depth_estimation", "gray_foreground_segmentation", "gray_edge_detection")
# For the metric: a combination is measured as the task whose target it has.
MEASURED_AS = {
    "gray_depth_estimation": "depth_estimation",
    "gray_normal_estimation": "normal_estimation",
    "gray_foreground_segmentation": "foreground_segmentation",
}
OFFLINE_NUMBERS = {"abs_rel", "delta1", "mean_angle", "within_11.25", "mean_image_iou", "mse", "psnr", "ssim"}

NOTES = [
    "error: mean absolute difference of answer and target, in percent of the value range, over the held-out scenes.",
    "another: the examples show another task, for the same query and noise: in turn every trained task whose targets "
    "are of another kind. mean and best (least error, and of which task) over these tasks.",
    "none: guidance 0, the pass without examples. bound: what the autoencoder alone loses on the targets.",
    "Tasks marked * were never trained: their kind of input met their kind of target for the first time.",
]


def other_tasks(name: str) -> list[str]:
    """Lists the tasks whose examples are shown in place of a task's own: all trained ones with other target formats."""
    return [other for other in LEARNT if find_task(other).target_format != find_task(name).target_format]


def _error(answers: list[np.ndarray], targets: list[np.ndarray]) -> float:
    return 100 * float(np.mean([np.abs(a.astype(np.float64) - t).mean() / 255 for a, t in zip(answers, targets)]))


def answer_grid(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Image.Image:
    """Draws a row per task, twice as large: example's input and target, query, the three answers, target."""
    columns = ["", "its target", "query", "right example", "another task", "no example", "target"]
    cells, titles = [], []
    for name, row in zip(names, rows):
        images = [Image.fromarray(np.asarray(cell)) for cell in row]
        cells += [cell.resize((2 * cell.width, 2 * cell.height), Image.Resampling.NEAREST) for cell in images]
        short = name.replace("_estimation", "").replace("_segmentation", "").replace("_detection", "")
        titles += [short.replace("_", " "), *columns[1:]]
    return image_grid(cells, len(columns), titles)


def in_context_table(
    folder: str, scenes: int, points: int, guidance: float, photo: str | None
) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures a pipeline on `shapes`, and draws a grid of queries, answers and targets.

    Args:
        folder: Folder of the pipeline.
        scenes: Held-out scenes per task.
        points: Time steps.
        guidance: Guidance with examples.
        image: PNG file for the grid.
    """
    pipe = LavinDiTPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    size = (pipe.vae.config.sample_height, pipe.vae.config.sample_width)
    source = ShapesSource(split="test", num_scenes=max(scenes, 50), image_size=size, in_memory=True)
    names = [*LEARNT, *HELD_OUT]
    data = InContextDataset(names, source=source, num_examples=1)
    items = {name: [data.draw(find_task(name), index) for index in range(scenes)] for name in names}
    shape = (1, pipe.transformer.config.in_channels, 1, size[0] // pipe.spatial_ratio, size[1] // pipe.spatial_ratio)
    noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(scenes)])
    examples = {
        name: LavinDiTExamples.join([pipe.prepare_examples(item["examples"]) for item in items[name]]) for name in names
    }

    def answer(name: str, shown: LavinDiTExamples, guidance: float) -> list[np.ndarray]:
        queries = [item["query"] for item in items[name]]
        images = pipe(queries, shown, num_inference_steps=points - 1, guidance_scale=guidance, latents=noise).images
        return [np.asarray(image) for image in images]

    rows, grid = [], []
    for name in names:
        targets = [item["target"] for item in items[name]]
        right, none = answer(name, examples[name], guidance), answer(name, examples[name], 0.0)
        others = {other: answer(name, examples[other], guidance) for other in other_tasks(name)}
        errors = {other: _error(answers, targets) for other, answers in others.items()}
        best = min(errors, key=lambda other: errors[other])
        wrong = others[best]
        pixels = torch.stack([torch.from_numpy(t) for t in targets]).permute(0, 3, 1, 2)[:, :, None].float() / 127.5 - 1
        with torch.no_grad():
            kept = pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mode()).sample[:, :, 0]
        bound = [((p / 2 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy() for p in kept]
        row: dict[str, Any] = {
            "task": name + ("" if name in LEARNT else " *"),
            "right": _error(right, targets),
            "another, mean": float(np.mean(list(errors.values()))),
            "another, best": errors[best],
            "best is": best,
            "none": _error(none, targets),
            "bound": _error(bound, targets),
        }
        measured_as = MEASURED_AS.get(name, name)
        numbers = tuple(n for n in TASK_METRICS.get(measured_as, ()) if n in OFFLINE_NUMBERS)
        if numbers:
            for column, answers in (("right", right), ("another, best", wrong)):
                metric = InContextMetric(measured_as, only=numbers)
                for index, (got, target) in enumerate(zip(answers, targets)):
                    truth = TRUTHS.get(measured_as)
                    metric.add(got, target, source[index][truth] if truth else None)
                row |= {f"{number}, {column}": value for number, value in metric.compute().items()}
        rows.append(row)
        item = items[name][1]
        grid.append([*item["examples"][0], item["query"], right[1], wrong[1], none[1], item["target"]])
    if photo is not None:
        Path(photo).parent.mkdir(parents=True, exist_ok=True)
        answer_grid(names, grid).save(photo)
    notes = [f"{scenes} scenes per task, {points} points, guidance {guidance}, one example.", *NOTES]
    if photo is not None:
        notes.append(
            f"{photo}: a row per task; example's input and target, query, answers with the right example, with that "
            "of the best other task and with none, target."
        )
    return {"error with examples": rows}, notes
