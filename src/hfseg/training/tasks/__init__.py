# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the one loop is told to learn: data, collation, evaluation and saving of every kind of task.

`hfseg train` looks a recipe's `model.task` up, first in the row of its `model.model_type` in `hfseg.auto` (field
`training`), then in `TASKS` below; `package.module:Class` works too. The class found is a `Task` (see `tasks.base`),
which builds everything from the recipe.

To make an architecture trainable, where a task's own way does not do, write one file and one entry:

    # hfseg/training/tasks/NAME.py
    class NameTask(SemanticTask):                       # or Task, UniversalTask, ReferringTask, ...
        datasets = {**SemanticTask.datasets, "name_pairs": "hfseg.data.name_pairs:load_pairs"}
        collators = {**SemanticTask.collators, "name": "hfseg.data.name_pairs:NameCollator"}
        default_collator = "name"

        def build_processor(self, model): ...           # what is saved beside the model
        def evaluate(self, model, processor, dataset, collate, accelerator):
            ...                                         # numbers by name; run.metric names the one that counts

    # hfseg/auto.py, in the row of the architecture
    training={"semantic": "training.tasks.name:NameTask"}

The model takes part in exact accumulation by `hfseg.training.normalization`, and in training with several optimisers by
`hfseg.training.phases`. Nothing else has to be told: no change of the loop, of `hfseg train`, or of this file.
"""

import difflib

from transformers import AutoConfig

from ... import auto
from ..arguments import TrainingArguments
from .base import Task, find, resolve_automatic_backbone

TASKS = {
    "universal": "hfseg.training.tasks.closed_vocabulary:UniversalTask",
    "semantic": "hfseg.training.tasks.closed_vocabulary:SemanticTask",
    "referring": "hfseg.training.tasks.text:ReferringTask",
    "image-text": "hfseg.training.tasks.text:ImageTextTask",
    "mask-generation": "hfseg.training.tasks.other:MaskGenerationTask",
    "medical": "hfseg.training.tasks.other:MedicalTask",
    "in-context": "hfseg.training.tasks.other:InContextTask",
    "pretraining": "hfseg.training.tasks.other:PreTrainingTask",
    "masked-image": "hfseg.training.tasks.masked_image:MaskedImageTask",
}

__all__ = ["TASKS", "Task", "build_task", "task_table"]


def task_table(model_type: str | None) -> dict[str, str]:
    """Lists the tasks of an architecture: its own, then the general ones."""
    own = next((row.training for row in auto.ARCHITECTURES if row.model_type == model_type), {})
    return {**TASKS, **{name: f"hfseg.{place}" for name, place in own.items()}}


def build_task(arguments: TrainingArguments) -> Task:
    """Builds the task of a recipe.

    Raises:
        ValueError: There is no task of this name; the nearest is named.
    """
    model_type, name = arguments.model.model_type, arguments.model.task
    if model_type is None and arguments.model.pretrained is not None:
        model_type = AutoConfig.from_pretrained(arguments.model.pretrained).model_type
    resolve_automatic_backbone(arguments)
    table = task_table(model_type)
    if name not in table and ":" not in name:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"model.task is {name!r}; legal are {', '.join(table)} or `package.module:attribute`.{hint}")
    return find(name, table, "model.task")(arguments)
