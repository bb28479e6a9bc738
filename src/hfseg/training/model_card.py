# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The card of a trained model: README.md with the metadata that the Hub reads, filled from the run itself."""

import importlib.metadata
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from torch import nn

from ..evaluation.medical import AVERAGES as MEDICAL_AVERAGES
from ..evaluation.object_detection import AVERAGES as DETECTION_AVERAGES
from ..evaluation.promptable import AVERAGES as PROMPTABLE_AVERAGES
from ..evaluation.referring import MEANINGS as REFERRING_AVERAGES
from ..evaluation.result import unit_of
from ..evaluation.segmentation import AVERAGES as SEGMENTATION_AVERAGES
from ..hub.cards import Measurement, build_card
from .arguments import TrainingArguments
from .loop import TrainingResult
from .tasks.base import Task

AVERAGES = {
    **REFERRING_AVERAGES, **DETECTION_AVERAGES, **PROMPTABLE_AVERAGES, **MEDICAL_AVERAGES, **SEGMENTATION_AVERAGES
}  # fmt: skip
FIRST = "first_"  # prefix of numbers of the first sentence of every referent alone

_PACKAGES = ("hfseg", "torch", "transformers", "accelerate", "datasets", "peft")


def data_name(arguments: TrainingArguments) -> str:
    """Names the data of a recipe in words: the official dataset, the folder or Hub id, else the reader."""
    spec = arguments.data.train
    for key in ("name", "path", "root", "folder"):
        if isinstance(spec.get(key), str):
            return Path(spec[key]).name or spec[key]
    return arguments.data.name.rpartition(":")[2]


def held_out_name(arguments: TrainingArguments) -> str:
    """Names the held-out split."""
    split = (arguments.data.validation or {}).get("split")
    return str(split) if split is not None else "held out"


def versions() -> dict[str, str]:
    """Lists the versions of the packages that made the model, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def model_card(
    name: str,
    task: Task,
    model: nn.Module,
    result: TrainingResult,
    *,
    samples: int | None,
    held_out: int | None,
    processes: int,
    command: str,
    id2label: Mapping[int, str] | None = None,
    adapter: str | None = None,
    image: str | None = None,
) -> ModelCard:
    """Fills the card of a trained model.

    Args:
        name: The model's name, in title and results.
        task: What it was trained for; gives pipeline, library and recipe.
        model: The trained model.
        result: What the run came to.
        samples: Training samples, None if not known.
        held_out: Samples of the held-out split, None without one.
        processes: Processes that trained.
        command: The command line that made it.
        id2label: Class names; None for tasks without classes.
        adapter: What was said about adapters, if any.
        image: File beside the card that shows held-out samples, if any.
    """
    arguments, data, model = task.arguments, data_name(task.arguments), task.inner(model)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    metadata: dict[str, Any] = {
        "library_name": task.library_name,
        "pipeline_tag": task.pipeline_tag,
        "tags": [tag for tag in ("vision", arguments.model.task.rpartition(":")[2], model_type, "hfseg") if tag],
        "model_name": name,
    }
    source = arguments.model.pretrained
    if source is not None and re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not Path(source).exists():
        metadata["base_model"] = source  # a Hub id; a local folder would be a dead link
    numbers = {key: value for key, value in result.metrics.items() if isinstance(value, (int, float))}
    measurements = [
        Measurement(
            metric=key,
            value=round(value, 4),
            dataset=data,
            split=held_out_name(arguments),
            title=_title(key),
            command=command,
        )
        for key, value in numbers.items()
    ]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    facts = _training_facts(arguments, result, data, samples, held_out, processes, adapter)
    shown = f"\n\n![Held-out samples: image, ground truth, prediction]({image})" if image else ""
    return build_card(
        metadata,
        title=name,
        about=f"{type(model).__name__} with {parameters:,} parameters, trained on {data} with "
        f"hfseg for the task *{arguments.model.task.rpartition(':')[2]}*.",
        use=task.example(name),
        sections={
            "Results": _results(numbers, held_out_name(arguments), held_out) + shown,
            "Training": "\n".join(facts) + f"\n\n```bash\n{command}\n```\n\nThe complete recipe is in "
            "`training_args.json`, all evaluations of the run in `metrics.json`.",
            "Classes": _classes(id2label),
            "Limits": "Measured on the held-out split named above and on nothing else. How the model does on other "
            "cameras, places or labels is not known.",
        },
        measurements=measurements,
    )


def _title(metric: str) -> str:
    """Key with its unit, where what it is is known."""
    if not _meaning(metric):
        return metric
    unit = unit_of(metric)
    return f"{metric} ({unit})" if unit else metric


def _meaning(metric: str) -> str:
    """What a number averages over; empty where that is not known."""
    name = metric.removeprefix(FIRST)
    base = next((known for known in sorted(AVERAGES, key=len, reverse=True) if name.startswith(known)), None)
    if base is None:
        return ""
    rest = name[len(base) :].strip(" _")  # of which class, kind or threshold
    told = [rest] * bool(rest) + ["first sentences"] * (name != metric)
    return AVERAGES[base] + (f" ({', '.join(told)})" if told else "")


def _training_facts(
    arguments: TrainingArguments,
    result: TrainingResult,
    data: str,
    samples: int | None,
    held_out: int | None,
    processes: int,
    adapter: str | None,
) -> list[str]:
    """Lists what a run was, as lines of Markdown; arguments as of `model_card`."""
    source = arguments.model.pretrained
    run, optimizer = arguments.run, arguments.optimizer
    start = "from scratch" if source is None else f"from `{source}`"
    if source is None and arguments.model.backbone is not None:
        start = f"with the backbone's weights from `{arguments.model.backbone}`"
    batch = arguments.data.batch_size * run.gradient_accumulation_steps * processes
    facts = [
        f"- data: {data} (`{arguments.data.name}`), {samples or 'a stream of'} training samples"
        + (f", {held_out} held out" if held_out is not None else ", none held out"),
        f"- start: {start}" + (f"; {adapter}" if adapter else ""),
        f"- {result.state.step} updates of {batch} samples ("
        + (f"{result.state.samples / samples:.2f}" if samples else f"{result.state.epoch} whole")
        + " epochs), "
        f"stopped by {result.stopped_by}, {result.state.seconds / 60:.1f} minutes on {processes} process(es), seed "
        f"{run.seed}",
        f"- {optimizer.name}, learning rate {optimizer.learning_rate:g}, weight decay {optimizer.weight_decay:g}, "
        f"schedule {arguments.schedule.name}, precision {run.mixed_precision or 'float32 or as launched'}"
        + (f", moving average {run.ema_decay}" if run.ema_decay else ""),
        f"- final weights: the {run.final_weights}" + (f" by {run.metric}" if run.final_weights == "best" else ""),
        "- versions: " + ", ".join(f"{package} {version}" for package, version in versions().items()),
    ]
    if result.state.skipped:
        facts.append(f"- {result.state.skipped} unreadable samples were replaced by others")
    return facts


def _results(numbers: Mapping[str, float], split: str, held_out: int | None) -> str:
    """Table of the numbers with what they average over."""
    if not numbers:
        return "Not measured: the recipe has no held-out data."
    rows = [f"Held-out split `{split}`, {held_out} samples.", "", "| metric | value | what it is |", "|---|---|---|"]
    for name, value in numbers.items():
        rows.append(f"| {name} | {value:.4g} | {_meaning(name)} |")
    return "\n".join(rows)


def _classes(id2label: Mapping[int, str] | None, shown: int = 200) -> str:
    """Names of the classes in their order."""
    if not id2label:
        return "The model has no fixed list of classes."
    names: Sequence[str] = [str(name) for name in id2label.values()]
    more = f" and {len(names) - shown} more (in `config.json`)" if len(names) > shown else ""
    return f"{len(names)}: " + ", ".join(names[:shown]) + more + "."
