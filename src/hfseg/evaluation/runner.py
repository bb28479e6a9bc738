# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.evaluate`: any model of the zoo on any dataset of its kind, in one process or several.

The way of an option: a keyword here -> `TaskEvaluator.options` -> the evaluator's `measure` -> `Outcome.metrics`.
"""

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .. import tasks
from ..data.specs import is_medical
from ..inference.loading import LoadedModel, load
from ..inference.predict import find_device
from ..inference.processes import join_processes, starting_together
from ..results.incomplete import told_once
from .base import TaskEvaluator
from .result import EvaluationResult

__all__ = ["evaluate"]

OTHER_NAMES = {"promptable": "mask-generation"}  # what papers call a task
VERSIONS = ("torch", "torchvision", "transformers", "diffusers", "numpy", "pycocotools", "torchmetrics")


def evaluate(
    model: str | os.PathLike[str] | LoadedModel,
    dataset: Any,
    task: str | None = None,
    *,
    split: str | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    overlays: int = 0,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str = torch.float32,
    command: str | None = None,
    **options: Any,
) -> EvaluationResult:
    """Evaluates a model on a labeled dataset.

    The model says which task it is evaluated on; what the task measures is documented in its module of
    `hfseg.evaluation`, and its further options in its class:

    | task | numbers |
    |---|---|
    | universal, open-vocabulary | `pq`, `sq`, `rq`, `ap`, `ap50`, `mean_iou`, `pixel_accuracy`, as the labels allow |
    | semantic | `mean_iou`, `mean_accuracy`, `pixel_accuracy` |
    | referring | `oiou`, `miou`, `precision@0.5` ..., and the same with `first_` |
    | mask-generation | `one_point_oracle_iou`, `one_box_iou`, the oracles among candidates, `everything_iou` |
    | medical | `dice`, `assd`, `hd95`, `nsd`; `froc` on request |
    | in-context | as the paper measures its ten tasks, and numbers for the others |

    Several processes (`torchrun`, `accelerate launch`) share the samples; all return the numbers of the whole dataset.

    Args:
        model: Shipped name, folder, Hub id, or what `hfseg.load` returned.
        dataset: A specification (`hfseg.data.specs`), or an open dataset in the task's schema.
        task: For universal and open-vocabulary models "panoptic", "instance", "semantic" or "all"; for in-context
            models one of the paper's ten; "mask-generation" or "promptable" for an open-vocabulary folder by points and
            boxes;
            "medical" for volumes whose layout does not say it. Otherwise the model's own.
        split: Split of the dataset; default: the validation split, or a single file as it is.
        limit: Samples at most.
        batch_size: Samples per forward pass; default: the task's own.
        num_workers: Processes that read and resize images.
        overlays: Samples to draw: of universal and semantic models as many of the worst and of the best.
        device: Default: an accelerator if there is one.
        dtype: Of the model's weights; float32, with a warning, on a CPU without instructions for it.
        command: Recorded with the numbers; default: this call.
        **options: Of the task.

    Raises:
        FileNotFoundError, ValueError: The model, the dataset or an option is not right; says what is.
        ImportError: A metric needs a package that is missing.

    Example:
        >>> import hfseg
        >>> result = hfseg.evaluate("path/to/model", "coco_panoptic:coco", limit=100)  # doctest: +SKIP
        >>> result["pq"]  # doctest: +SKIP
        51.9
    """
    least = {"limit": (limit, 1), "batch_size": (batch_size, 1), "num_workers": (num_workers, 0)}
    for name, (value, smallest) in {**least, "overlays": (overlays, 0)}.items():
        if value is not None and value < smallest:
            raise ValueError(f"{name} must be {smallest} or more; got {value}.")
    common = {"split": split, "limit": limit, "num_workers": num_workers, "overlays": overlays}
    task = OTHER_NAMES.get(task or "", task)
    return _run(model, dataset, task, {**common, "batch_size": batch_size}, options, device, dtype, command)


def _run(
    model: Any,
    dataset: Any,
    task: str | None,
    common: dict[str, Any],
    options: dict[str, Any],
    device: Any,
    dtype: Any,
    command: str | None,
) -> EvaluationResult:
    """Loads, measures this process's share, gathers, and draws."""
    state = join_processes(device)
    started = time.perf_counter()
    with starting_together(state):
        place = state.device if device is None else find_device(str(device))
        loaded = model if isinstance(model, LoadedModel) else _load(model, task, place, dtype)
        loaded.to(place)
        name, asked = _choose(loaded, dataset, task)
        evaluator_class: type[TaskEvaluator] = tasks.load(tasks.find(name).evaluator)
        own = _own_options(evaluator_class, name, asked, options)
        given = SimpleNamespace(**{**common, "batch_size": common["batch_size"] or evaluator_class.batch_size}, **own)
        evaluator = evaluator_class(loaded, os.fspath(dataset) if isinstance(dataset, os.PathLike) else dataset, given)
    main = state.is_main_process
    with told_once():
        outcome = evaluator.measure(state.process_index, state.num_processes)
        seconds = time.perf_counter() - started
        images = evaluator.draw(given.overlays) if main and given.overlays else {}
    if command is None:
        command = f"hfseg.evaluate({str(loaded.folder)!r}, {evaluator.specification!r}, task={task!r})"
    record = {
        "metrics": outcome.metrics,
        "unit": outcome.unit,
        "averages": outcome.averages,
        "number_of_images": outcome.number_of_images,
        "task": name,
        "tasks": [asked or name],
        **outcome.record,
        "dataset": _about_dataset(evaluator, given.split),
        "model": _about_model(loaded),
        "command": command,
        "versions": _versions(),
        "device": _device_name(next(iter(loaded.modules.values()))),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "processes": state.num_processes,
        "batch_size": given.batch_size,
        "seconds": round(seconds, 2),
    }
    return EvaluationResult(
        task=name,
        metrics=outcome.metrics,
        averages=outcome.averages,
        per_class=outcome.per_class,
        record=record,
        tables=outcome.tables,
        images=images,
        headline=outcome.headline,
        facts=outcome.facts,
        legend=outcome.legend,
        confusion_matrix=outcome.confusion,
        curves=outcome.curves,
        is_main_process=main,
    )


def _load(model: str | os.PathLike[str], task: str | None, place: torch.device, dtype: Any) -> LoadedModel:
    """Loads a model; "mask-generation" of an open-vocabulary folder is another class of the same weights."""
    chosen = task if task in ("mask-generation", "open-vocabulary") else None
    return load(model, task=chosen, device=place, dtype=dtype)


def _choose(loaded: LoadedModel, dataset: Any, task: str | None) -> tuple[str, str | None]:
    """The zoo's task, and what of it was asked for (None: the task has no parts)."""
    name = loaded.task
    volumes = is_medical(dataset) if isinstance(dataset, str) else hasattr(dataset, "volumes")
    if name == "semantic" and (task == "medical" or (task is None and volumes)):
        return "medical", None
    if name in ("universal", "semantic", "open-vocabulary"):
        parts = (*tasks.SUBTASKS, "all", name)
        if task is not None and task not in parts:
            raise ValueError(f"The task of {loaded.class_name} must be one of {', '.join(parts)}; got {task!r}.")
        return name, "all" if task in (None, name) else task
    if name == "in-context":
        return name, task
    if task not in (None, name, "all"):
        raise ValueError(f"{loaded.folder} holds {loaded.class_name}, whose task is {name}; got {task!r}.")
    return name, None


def _own_options(evaluator_class: type[TaskEvaluator], name: str, asked: str | None, options: dict[str, Any]) -> dict:
    """The task's options with their defaults.

    Raises:
        ValueError: One that the task does not have.
    """
    own = dict(evaluator_class.options_of_task)
    foreign = sorted(set(options) - set(own))
    if foreign:
        legal = ", ".join(key for key in own if key != "task") or "nothing besides the common options"
        raise ValueError(f"Evaluation of {name} models takes no {', '.join(foreign)}; it takes {legal}.")
    return {**own, **options, **({"task": asked} if "task" in own else {})}


def _about_model(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "folder": str(loaded.folder),
        "name": loaded.name,
        "class": type(loaded.model).__name__,
        "parameters": loaded.num_parameters,
    }


def _about_dataset(evaluator: TaskEvaluator, split: str | None) -> dict[str, Any]:
    text = evaluator.specification.rstrip("/")
    return {
        "name": Path(text).name if Path(text).exists() else text,
        "specification": evaluator.specification,
        "split": split or getattr(evaluator.dataset, "split", None) or "all",
        "split_note": getattr(evaluator.dataset, "split_note", ""),
    }


def _device_name(module: torch.nn.Module) -> str:
    device = next(module.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def _versions() -> dict[str, str]:
    import hfseg

    versions = {"python": platform.python_version(), "hfseg": hfseg.__version__}
    for name in VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
