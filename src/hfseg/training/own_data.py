# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A folder of one's own in the place of a recipe's data, and a recipe cut to a few updates."""

import inspect
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.facts import described_modality
from ..data.readers.folders import is_table
from ..data.specs import medical_layout
from .arguments import TrainingArguments

__all__ = ["fit_warm_up", "with_folder"]

logger = logging.getLogger(__name__)

FOLDS = ("train:0/5", "val:0/5")


def with_folder(arguments: TrainingArguments, folder: str) -> list[str]:
    """Changes of a recipe that put a folder in the place of its data, `section.key=value`.

    Recipes of medical volumes take the folder's layout: with `dataset.json` its classes and modality too, and a fold
    for validation. Parquet files, and datasets of the Hub, take the place of any recipe's data; of slices of volumes
    the loss is all that is evaluated, as there are no volumes.

    Args:
        arguments: The recipe without them.
        folder: With images and labels, or parquet files; or the id of a dataset on the Hub.

    Raises:
        FileNotFoundError: There is no such folder, and no such dataset on the Hub.
        ValueError: The recipe reads volumes, and the folder holds none in a layout that is recognized; or the recipe's
            reader takes no folder.
    """
    if _is_on_the_hub(folder) or (is_table(Path(folder)) and arguments.data.name != "folder"):
        return _with_table(arguments, folder)
    if arguments.data.name != "medical":
        return _with_path(arguments, folder)
    layout = medical_layout(Path(folder))
    if layout is None:
        raise ValueError(
            f"{folder} has no medical layout that is recognized, but the recipe reads volumes: it must be nnU-Net's "
            "raw folder, the Decathlon's, images/ with labels/ of NIfTI files, ...; see hfseg.data.load_medical."
        )
    sides: list[dict[str, Any]] = []
    described = layout in ("nnunet", "decathlon")
    for given, fold in zip((arguments.data.train, arguments.data.validation or arguments.data.train), FOLDS):
        side = {**given, "root": folder, "layout": layout}
        if described:
            side |= {"id2label": None, "modality": described_modality(Path(folder))}
        if layout not in ("pairs", "xray"):
            side["split"] = fold
        sides.append(side)
    changes = [f"data.{name}={json.dumps(side)}" for name, side in zip(("train", "validation"), sides)]
    if described and sides[0]["modality"] != arguments.model.processor.get("modality"):
        changes.append(f"model.processor.modality={sides[0]['modality']}")
    return changes


def _with_path(arguments: TrainingArguments, folder: str) -> list[str]:
    """Changes of a recipe that give its reader the folder, or read it in the place of drawn scenes.

    Raises:
        ValueError: The recipe's reader takes no folder, and the task has none that does.
    """
    from .tasks import task_class
    from .tasks.base import find
    from .tasks.closed_vocabulary import MeasuredTask

    task, name, path = task_class(arguments), arguments.data.name, json.dumps(folder)
    parameters = inspect.signature(find(name, task.datasets, "data.name")).parameters.values()
    if any(parameter.name == "path" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return [f"data.train.path={path}", f"data.validation.path={path}"]
    drawn = all(parameter.default is not parameter.empty for parameter in parameters)
    if drawn and issubclass(task, MeasuredTask):
        side = json.dumps({"path": folder})
        return ["data.name=folder", f"data.train={side}", f"data.validation={side}"]
    takes = ", ".join(f"data.train.{parameter.name}" for parameter in parameters)
    raise ValueError(
        f"The recipe reads data.name={name}, which takes no folder of images and labels ({folder}): set {takes}, or "
        "data.name and data.train to a reader of your data; recipes for folders end in -folder (hfseg list)."
    )


def _is_on_the_hub(name: str) -> bool:
    """Whether this is the id of a dataset on the Hub.

    Raises:
        FileNotFoundError: It could be one, and is neither that nor a folder.
    """
    from ..hub.cards import HUB_ID

    if Path(name).exists() or not HUB_ID.fullmatch(name):
        return False
    import datasets

    try:
        datasets.get_dataset_split_names(name)
    except Exception as error:  # of datasets and of the client, which have many
        text = " ".join(str(error).split())[:200]
        raise FileNotFoundError(f"{name} is no folder here, and no dataset of the Hub: {text}") from error
    return True


def _with_table(arguments: TrainingArguments, path: str) -> list[str]:
    """Changes of a recipe that put a table in the place of its data, in all stages."""
    sides = {side: json.dumps({"path": path, "split": side}) for side in ("train", "validation")}
    changes = ["data.name=table_folder", *(f"data.{side}={given}" for side, given in sides.items())]
    if arguments.data.name == "medical":
        changes += ["run.metric=loss", "run.evaluation={measures: []}"]
    stages = [
        {**stage, "data": {key: value for key, value in stage["data"].items() if key not in sides}}
        if isinstance(stage.get("data"), Mapping)
        else stage
        for stage in arguments.stages
    ]
    return [*changes, *([f"stages={json.dumps(stages)}"] if stages else [])]


def fit_warm_up(arguments: TrainingArguments, overrides: Sequence[str]) -> None:
    """Shortens the warm-up of a recipe that was cut to fewer updates than that, unless it was given too."""
    steps, schedule = arguments.run.max_steps, arguments.schedule
    given = {text.partition("=")[0].strip() for text in overrides}
    if steps is None or schedule.warmup_steps <= steps or "run.max_steps" not in given:
        return
    if "schedule.warmup_steps" in given or "schedule" in given:
        return
    logger.warning(
        "The warm-up of %d updates is longer than the run of %d; it is cut to %d.",
        schedule.warmup_steps, steps, shortened := max(steps // 10, 1),
    )  # fmt: skip
    schedule.warmup_steps = shortened
