# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the one loop is told to learn: data, collation, evaluation and saving of every kind of task.

`hfseg train` looks a recipe's `model.task` up, first in the row of its `model.model_type` in `hfseg.auto` (field
`training`), then in the table of `hfseg.tasks`; `package.module:Class` works too. The class found is a `Task` (see
`tasks.base`), which builds everything from the recipe.

To make an architecture trainable, where a task's own way does not do, write one file and one entry:

    # hfseg/models/NAME/training_NAME.py
    class NameTask(SemanticTask):                       # or Task, UniversalTask, ReferringTask, ...
        datasets = {**SemanticTask.datasets, "name_pairs": "hfseg.data.name_pairs:load_pairs"}
        collators = {**SemanticTask.collators, "name": "hfseg.data.name_pairs:NameCollator"}
        default_collator = "name"

        def build_processor(self, model): ...           # what is saved beside the model
        def evaluate(self, model, processor, dataset, collate, accelerator):
            ...                                         # numbers by name; run.metric names the one that counts

    # hfseg/auto.py, in the row of the architecture
    training={"semantic": "models.NAME.training_NAME:NameTask"}

The model takes part in exact accumulation by `hfseg.training.normalization`, and in training with several optimizers by
`hfseg.training.phases`. Nothing else has to be told: no change of the loop, of `hfseg train`, or of this file.
"""

import difflib

from transformers import AutoConfig

from ... import tasks
from ..arguments import TrainingArguments
from .base import Task, find, resolve_backbone

__all__ = ["Task", "build_task", "task_class"]


def task_class(arguments: TrainingArguments) -> type[Task]:
    """Finds the task of a recipe.

    Raises:
        ValueError: There is no task of this name; the nearest is named.
    """
    model_type, name = arguments.model.model_type, arguments.model.task
    if model_type is None and arguments.model.pretrained is not None:
        model_type = AutoConfig.from_pretrained(tasks.pretrained_source(arguments.model.pretrained)).model_type
    table = tasks.training_places(model_type)
    if name not in table and ":" not in name:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"model.task must be one of {', '.join(table)} or `package.module:Class`; got {name!r}.{hint}")
    return find(name, table, "model.task")


def build_task(arguments: TrainingArguments) -> Task:
    """Builds the task of a recipe, whose automatic choices are made now.

    Raises:
        ValueError: There is no task of this name, the nearest is named; `model.backbone` would not be read.
    """
    found = task_class(arguments)
    if arguments.model.backbone is not None and not found.takes_backbone:
        raise ValueError(
            f"model.backbone is {arguments.model.backbone!r}, but models of this task have no backbone: leave it out. "
            "Which weights they can start from: docs/starting_weights.md."
        )
    resolve_backbone(arguments)
    return found(arguments)
