# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of tables for readers of every schema: those of `table_rows`, masks without names, and in-context tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...results.run_lengths import encode_run_lengths
from .images import to_rgb
from .in_context import TASKS, find_task, make_pair
from .pascal_folds import NotInSampleError
from .promptable import CocoMasks, SegmentAnythingData, draw_mask
from .table_rows import ROWS, Rows, encoded_image, encoded_png

if TYPE_CHECKING:
    import datasets

__all__ = ["PairRows", "PromptableRows", "rows_of"]


class PromptableRows(Rows):
    """Masks without names, as run lengths."""

    @property
    def features(self) -> datasets.Features:
        """Columns of the promptable schema."""
        import datasets

        mask = {"size": datasets.List(datasets.Value("int32"), length=2), "counts": datasets.Value("string")}
        return datasets.Features(
            {"image": datasets.Image(), "masks": datasets.List(mask), "image_id": datasets.Value("string")}
        )

    def row(self, index: int) -> dict[str, Any]:
        """The image's own bytes; masks as COCO's compressed run lengths, overlaps kept."""
        item = self.dataset[index]
        masks = [encode_run_lengths(draw_mask(mask), compressed=True) for mask in item["masks"]]
        image = encoded_image(self.dataset.image_file(index), to_rgb(item["image"]))
        return {"image": image, "masks": masks, "image_id": str(item["image_id"])}


class PairRows(Rows):
    """In-context tasks: input and target of every task that a source has the ground truth for.

    A sample that shows nothing of a task is left out.

    Args:
        dataset: A source of `hfseg.data.readers.in_context`.
        tasks: Names of tasks; None: all that the first sample has what it takes for.
        seed: Of degradations.

    Raises:
        ValueError: An unknown task, images and clips together, or a task that the source lacks something for.
    """

    def __init__(self, dataset: Any, tasks: Sequence[str] | None = None, seed: int = 0) -> None:
        super().__init__(dataset)
        keys = set(getattr(dataset, "keys", None) or dataset[0])
        wanted = [find_task(name) for name in tasks or TASKS]
        if tasks is None:
            wanted = [task for task in wanted if set(task.needs) <= keys]
        lacking = {task.name: sorted(set(task.needs) - keys) for task in wanted if set(task.needs) - keys}
        if lacking or not wanted:
            raise ValueError(f"The source has {', '.join(sorted(keys))}; {lacking or 'no task'} cannot be made of it.")
        if len({task.is_video for task in wanted}) > 1:
            raise ValueError("One table holds images or clips, not both: give tasks of one kind.")
        self.tasks, self.seed = wanted, seed

    def __len__(self) -> int:
        return len(self.dataset) * len(self.tasks)

    def name(self, index: int) -> str:
        """Task and sample."""
        place = index // len(self.tasks)
        return f"{self.tasks[index % len(self.tasks)].name} of {super().name(place)}"

    @property
    def features(self) -> datasets.Features:
        """Columns of the in-context schema."""
        import datasets

        text, image = datasets.Value("string"), datasets.Image()
        shown = datasets.List(image) if self.tasks[0].is_video else image
        columns = {"task": text, "input": shown, "target": shown, "target_format": text, "sample_id": text}
        return datasets.Features(columns)

    def row(self, index: int) -> dict[str, Any] | None:
        """Input and target, a pure function of index and seed; None where the sample shows nothing of the task."""
        place, task = index // len(self.tasks), self.tasks[index % len(self.tasks)]
        try:
            given, target = make_pair(task, self.dataset[place], np.random.default_rng([self.seed, index]))
        except NotInSampleError:
            return None
        shown = [[encoded_png(f) for f in one] if one.ndim == 4 else encoded_png(one) for one in (given, target)]
        named = {"task": task.name, "target_format": task.target_format, "sample_id": super().name(place)}
        return {**named, "input": shown[0], "target": shown[1]}


def rows_of(dataset: Any, tasks: Sequence[str] | None = None) -> Rows:
    """Rows of a reader's samples.

    Args:
        dataset: Any reader that `hfseg.data.specs.open_dataset` opens, but tables, which have rows already.
        tasks: Of a source of in-context tasks.

    Raises:
        ValueError: `tasks` for something else; as `PairRows`.
    """
    promptable = isinstance(dataset, (SegmentAnythingData, CocoMasks))
    schema = getattr(dataset, "schema", None)
    if schema not in ROWS and not promptable:
        return PairRows(dataset, tasks)
    if tasks is not None:
        raise ValueError(f"tasks is {list(tasks)}: only in-context sources have tasks, and this is none.")
    return PromptableRows(dataset) if promptable else ROWS[str(schema)](dataset)
