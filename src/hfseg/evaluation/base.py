# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What every task's evaluator is: a loaded model, an open dataset, options; numbers and images come out."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from ..data.specs import open_dataset
from ..inference.loading import LoadedModel
from ..inference.processes import gathered
from ..results.confusion import ConfusionMatrix
from .report import Shown

__all__ = ["Outcome", "TaskEvaluator", "gathered"]


@dataclasses.dataclass
class Outcome:
    """What one evaluation measured.

    Attributes:
        metrics: Number by key; None where nothing of the kind occurs.
        number_of_images: Samples that were counted.
        averages: Key to what the number averages over.
        unit: Of the numbers.
        headline: Keys of the most telling numbers, in order.
        per_class: One row per class.
        tables: Heading to further rows.
        record: What the numbers depend on, for `metrics.json`.
        facts: The same for people, name to text.
        legend: Class id to name, of the colors in the images.
        confusion: Pixels by true and predicted class, or None.
        curves: Curves of precision by recall, name to precisions in percent at recalls from 0 to 100 %.
    """

    metrics: dict[str, float | None]
    number_of_images: int
    averages: dict[str, str] = dataclasses.field(default_factory=dict)
    unit: str = "percent"
    headline: Sequence[str] = ()
    per_class: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    record: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    legend: Mapping[int, str] = dataclasses.field(default_factory=dict)
    confusion: ConfusionMatrix | None = None
    curves: dict[str, list[float]] = dataclasses.field(default_factory=dict)


class TaskEvaluator:
    """Evaluates one model on one dataset.

    Attributes:
        options_of_task: Options besides the common ones, with their defaults.
        batch_size: Used if none is given.
        loaded: The model.
        dataset: The open dataset.
        options: Common and own options.

    Args:
        loaded: The model, on its device.
        dataset: A specification (`hfseg.data.specs`), or an open dataset.
        options: `split`, `limit`, `batch_size`, `num_workers`, `overlays`, and the task's own.

    Raises:
        FileNotFoundError, ValueError: Options, model and data do not fit together.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {}
    batch_size: ClassVar[int] = 1
    kind: ClassVar[str] = "segmentation"

    def __init__(self, loaded: LoadedModel, dataset: Any, options: SimpleNamespace) -> None:
        self.loaded, self.options = loaded, options
        self.check_options()
        self.specification = dataset if isinstance(dataset, str) else type(dataset).__name__
        self.dataset = self.open(dataset) if isinstance(dataset, str) else dataset
        if len(self.dataset) == 0:
            raise ValueError(
                f"The dataset {self.specification!r} has no samples in split {options.split or 'validation'!r}."
            )
        self.prepare()

    @property
    def count(self) -> int:
        """Samples to evaluate on."""
        limit = self.options.limit
        return len(self.dataset) if limit is None else min(limit, len(self.dataset))

    def check_options(self) -> None:
        """Checks options before anything is opened.

        Raises:
            ValueError: They do not fit together.
        """

    def open(self, specification: str) -> Any:
        """Opens the dataset."""
        return open_dataset(specification, self.options.split, kind=self.kind)

    def prepare(self) -> None:
        """Prepares what all samples share."""

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates this process's share, and gathers: every process returns the numbers of all samples."""
        raise NotImplementedError

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws samples, by heading; called by one process, after `measure`."""
        return {}
