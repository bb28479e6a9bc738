# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Errors of generated images by task: of tasks that were trained and of combinations that were not, with controls."""

from collections.abc import Collection
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import gather_object

from .pipeline_lavin_dit import LavinDiTPipeline, LavinDiTPipelineOutput

KINDS = ("error", "other_examples", "copied")


def _difference(image: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference in percent of the range of values."""
    return 100 * float(np.abs(np.asarray(image, dtype=np.float64) - target).mean()) / 255


def other_task(tasks: list[Any], name: str, trained: Collection[str]) -> Any:
    """Chooses a task whose examples contradict a task's own: trained, of the same kind of input where there is one.

    Of tasks `INPUT_to_TARGET` the input is the same; of others any with another kind of target will do.
    """
    own = next(task for task in tasks if task.name == name)
    others = [t for t in tasks if t.target_format != own.target_format and (t.name in trained or not trained)]
    given = name.partition("_to_")[0]
    same = [task for task in others if task.name.partition("_to_")[0] == given]
    return (same or others or [None])[0]


@torch.no_grad()
def answer_errors(
    pipe: LavinDiTPipeline,
    dataset: Any,
    trained: Collection[str],
    answers: int,
    steps: int,
    guidance_scale: float = 1.5,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, float]:
    """Generates images for held-out samples of every task of a dataset, and compares them with their targets.

    Args:
        pipe: The pipeline.
        dataset: `InContextDataset`; its tasks that are not in `trained` are held-out combinations.
        trained: Names of the tasks that are trained.
        answers: Samples per task.
        steps: Inference steps.
        guidance_scale: Guidance by the examples.
        rank, ranks: This process and how many share the tasks.

    Returns:
        Mean absolute differences in percent of the range of values, lower is better. `trained_error` and
        `held_out_error` are means over the tasks of either kind, each with two controls: `..._other_examples`, the
        error where the examples show another trained task for the same kind of input (as low as the error where
        examples are not read), and `..._copied`, that of the example's own target as the answer. `error_TASK` by task.
    """
    pipe.set_progress_bar_config(disable=True)
    rows: list[tuple[str, list[float]]] = []
    for task in dataset.tasks[rank::ranks]:
        items = [dataset.draw(task, index) for index in range(answers)]
        other = other_task(dataset.tasks, task.name, trained)
        others = None if other is None else [dataset.draw(other, index) for index in range(answers)]
        values: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for index, item in enumerate(items):
            shown = {"error": item["examples"], "other_examples": others[index]["examples"] if others else None}
            for kind, examples in shown.items():
                if examples is None:
                    continue
                result = pipe(
                    item["query"],
                    examples,
                    num_inference_steps=steps,
                    guidance_scale=guidance_scale,
                    generator=torch.Generator().manual_seed(index),
                )
                image = cast(LavinDiTPipelineOutput, result).images[0]
                shown_image = np.stack([np.asarray(frame) for frame in image]) if isinstance(image, list) else image
                values[kind].append(_difference(np.asarray(shown_image), item["target"]))
            values["copied"].append(_difference(item["examples"][0][1], item["target"]))
        rows.append((task.name, [float(np.mean(values[kind])) if values[kind] else float("nan") for kind in KINDS]))
    rows = list(gather_object(rows))
    numbers: dict[str, float] = {}
    for group, chosen in (
        ("trained", [values for name, values in rows if name in trained]),
        ("held_out", [values for name, values in rows if name not in trained]),
    ):
        for kind, column in zip(KINDS, zip(*chosen)):
            if np.isnan(column).any():  # there is no other task to show
                continue
            numbers[f"{group}_error" if kind == "error" else f"{group}_error_{kind}"] = float(np.mean(column))
    return numbers | {f"error_{name}": values[0] for name, values in sorted(rows)}
