# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading in spite of damaged samples: stop with the sample's name, or take another in its place and count.

One policy for datasets, tables, streams and training: `on_error="stop"` stops at an unreadable sample, `"skip"` goes
on with the next, at most `MAX_IN_A_ROW` times in a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch

__all__ = [
    "MAX_IN_A_ROW",
    "OnError",
    "TolerantDataset",
    "UnreadableError",
    "check_on_error",
    "listing",
    "read_tolerantly",
]

logger = logging.getLogger(__name__)

OnError = Literal["stop", "skip"]
MAX_IN_A_ROW = 10
T = TypeVar("T")


def listing(names: Sequence[Any], limit: int = 5) -> str:
    """The first names, and how many there are in all."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"


class UnreadableError(ValueError):
    """No sample could be read; its cause is the last failure.

    Attributes:
        position: Index of the last sample tried.
        tries: Samples tried.
    """

    def __init__(self, position: int, tries: int) -> None:
        super().__init__(f"{tries} samples in a row cannot be read, the last at index {position}")
        self.position, self.tries = position, tries


def check_on_error(on_error: str) -> None:
    """Checks the word.

    Raises:
        ValueError: If it is neither "stop" nor "skip".
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(f"on_error must be one of 'stop', 'skip'; got {on_error!r}")


def read_tolerantly(
    read: Callable[[int], T],
    index: int,
    length: int,
    on_error: str,
    failed: Callable[[int, Exception], None],
    damage: tuple[type[Exception], ...] = (OSError, ValueError),
    max_in_a_row: int = MAX_IN_A_ROW,
) -> tuple[int, T]:
    """Reads a sample, or with "skip" the next readable one; after the last comes the first.

    Args:
        read: Reads the sample at an index.
        index: Where to begin.
        length: Number of samples.
        on_error: "stop" or "skip".
        failed: Told of every failure that is skipped.
        damage: Errors that count as damage of a sample.
        max_in_a_row: Unreadable samples in a row after which "skip" stops too.

    Returns:
        How many samples were skipped, and what was read.

    Raises:
        UnreadableError: From the last failure.
    """
    tries = min(max_in_a_row, length) if on_error == "skip" else 1
    for skipped in range(tries):
        position = (index + skipped) % length
        try:
            return skipped, read(position)
        except damage as error:
            failure = error
            if on_error == "skip":
                failed(position, error)
    raise UnreadableError(position, tries) from failure


class TolerantDataset(torch.utils.data.Dataset):
    """Map-style dataset of which unreadable samples stop the reading by name, or are replaced and counted.

    In the place of an unreadable sample the next readable one is read (after the last comes the first). This depends on
    the index and the files alone, so that positions, orders and resumed runs stay what they are.

    Everything else of the wrapped dataset (`id2label`, `sample_id`, ...) is passed through. Counts include what the
    workers of a `DataLoader` met.

    Args:
        dataset: Map-style dataset; errors that count as damage are OSError (missing files) and ValueError.
        on_error: "stop" or "skip".
        max_in_a_row: Unreadable samples in a row after which "skip" stops too.

    Raises:
        ValueError: For another `on_error`, an empty dataset, or (when read) an unreadable sample.
    """

    def __init__(self, dataset: Any, on_error: OnError = "stop", max_in_a_row: int = MAX_IN_A_ROW) -> None:
        check_on_error(on_error)
        if max_in_a_row < 1:
            raise ValueError(f"max_in_a_row is {max_in_a_row}; it must be at least 1")
        if len(dataset) == 0:
            raise ValueError("the dataset has 0 usable samples; check its path and filters")
        self.dataset = dataset
        self.on_error = on_error
        self.max_in_a_row = max_in_a_row
        self._unreadable = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()  # seen by all workers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "dataset" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages: the dataset's own, or its index."""
        named = hasattr(self.dataset, "sample_id")
        return str(self.dataset.sample_id(index)) if named else str(index)

    @property
    def num_skipped(self) -> int:
        """Number of different samples that could not be read so far."""
        return int(self._unreadable.sum())

    @property
    def skipped(self) -> list[str]:
        """Names of the samples that could not be read so far."""
        return [self.sample_id(index) for index in self._unreadable.nonzero().flatten().tolist()]

    def report(self) -> str:
        """One line on what was skipped."""
        if not self.num_skipped:
            return f"all samples of {len(self)} that were asked for could be read"
        return f"{self.num_skipped} of {len(self)} samples could not be read: {', '.join(self.skipped)}"

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} samples")
        given = (index, len(self), self.on_error, self._skip)
        try:
            return read_tolerantly(self.dataset.__getitem__, *given, max_in_a_row=self.max_in_a_row)[1]
        except UnreadableError as error:
            failure, name = error.__cause__, self.sample_id(error.position)
            if self.on_error == "skip":
                message = (
                    f"{error.tries} samples in a row cannot be read, the last is {name}: {failure}; check the folder"
                )
            else:
                message = f"sample {name} (index {index}) cannot be read: {failure}; repair or remove it, or use "
                message += "on_error='skip'"
            raise ValueError(message) from failure

    def _skip(self, position: int, error: Exception) -> None:
        if not self._unreadable[position]:
            self._unreadable[position] = True
            name = self.sample_id(position)
            logger.warning("Sample %s cannot be read and is replaced by the next: %s", name, error)
