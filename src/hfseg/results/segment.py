# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One segment of a result, with the names that people look for."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .runs import Runs, box_of_runs

__all__ = ["Segment"]


class Segment:
    """View of one segment.

    Attributes:
        info: Its entry of `segments_info`.
        index: Its position there.
    """

    def __init__(self, result: Any, index: int, runs: Callable[[int], Runs]) -> None:
        self._result, self._runs = result, runs
        self.index = index
        self.info: dict[str, Any] = result.segments_info[index]

    @property
    def id(self) -> int:
        """Value in the id map."""
        return int(self.info["id"])

    @property
    def label_id(self) -> int:
        """Class."""
        return int(self.info["label_id"])

    @property
    def label(self) -> str:
        """Name of the class; its number where names are not known."""
        return str(self.info.get("label", self.info["label_id"]))

    @property
    def score(self) -> float | None:
        """Confidence from 0 to 1; None for classes of pixels."""
        score = self.info.get("score")
        return None if score is None else float(score)

    @property
    def area(self) -> int:
        """Pixels."""
        starts, ends = self._runs(self.index)
        return int((ends - starts).sum())

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in pixels, x1 and y1 exclusive; zeros for an empty mask."""
        x, y, width, height = box_of_runs(*self._runs(self.index), self._result.size[0])
        return x, y, x + width, y + height

    @property
    def mask(self) -> np.ndarray:
        """Boolean mask. Shape: (H, W)."""
        return self._result.mask(self.index)

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score={self.score:.2f}"
        return f"Segment(label={self.label!r}{score}, area={self.area}, box={self.box})"
