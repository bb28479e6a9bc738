# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading in spite of damaged samples: stop with the sample's name, or take another in its place and count."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch

__all__ = ["TolerantDataset"]

logger = logging.getLogger(__name__)


class TolerantDataset(torch.utils.data.Dataset):
    """Map-style data set of which unreadable samples stop the reading by name, or are replaced and counted.

    In the place of an unreadable sample the next readable one is read (after the last comes the first). This depends on
    the index and the files alone, so that positions, orders and resumed runs stay what they are.

    Everything else of the wrapped data set (`id2label`, `sample_id`, ...) is passed through. Counts include what the
    workers of a `DataLoader` met.

    Args:
        dataset: Map-style data set; errors that count as damage are OSError (missing files) and ValueError.
        on_error: "raise" or "skip".
        max_in_a_row: Unreadable samples in a row after which "skip" stops too.

    Raises:
        ValueError: For another `on_error`, an empty data set, or (when read) an unreadable sample.
    """

    def __init__(self, dataset: Any, on_error: Literal["raise", "skip"] = "raise", max_in_a_row: int = 10) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error is {on_error!r}; legal are 'raise' and 'skip'")
        if max_in_a_row < 1:
            raise ValueError(f"max_in_a_row is {max_in_a_row}; it must be at least 1")
        if len(dataset) == 0:
            raise ValueError("the data set has 0 usable samples; check its path and filters")
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
        """Name of a sample in messages: the data set's own, or its index."""
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
        tries = min(self.max_in_a_row, len(self)) if self.on_error == "skip" else 1
        for offset in range(tries):
            position = (index + offset) % len(self)
            try:
                return self.dataset[position]
            except (OSError, ValueError) as error:
                failure, name = error, self.sample_id(position)
                if self.on_error == "skip" and not self._unreadable[position]:
                    self._unreadable[position] = True
                    logger.warning("Sample %s cannot be read and is replaced by the next: %s", name, error)
        if self.on_error == "skip":
            raise ValueError(
                f"{tries} samples in a row cannot be read, the last is {name}: {failure}; check the folder"
            ) from failure
        raise ValueError(
            f"sample {name} (index {index}) cannot be read: {failure}; repair or remove it, or use on_error='skip'"
        ) from failure
