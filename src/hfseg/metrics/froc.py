# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Detection of nodules in volumes: free-response ROC and its summary, the competition performance metric (CPM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import evaluate
import numpy as np
from scipy import ndimage

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["FROC", "Finding", "find_candidates", "find_nodules"]

_DESCRIPTION = """
Free-response ROC: sensitivity over all nodules of the set against false positives per scan, as the score threshold
falls; CPM is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per scan (linear in between), as in
LUNA16. A candidate hits a nodule if their centers are nearer than the nodule's radius; of several hits of one the
best score counts and the others count nothing.
"""
_INPUTS = """
Args:
    predictions: candidates of every scan, a list of `Finding` (score, center in mm), see `find_candidates`.
    references: nodules of every scan, a list of `Finding` (center and radius in mm), see `find_nodules`.
Returns:
    cpm, sensitivities {false positives per scan: sensitivity}, num_nodules, num_hits, num_false_positives, num_scans.
    Fractions; None without nodules.
"""
POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Finding:
    """A nodule or a candidate.

    Attributes:
        center: In mm.
        radius: Of the sphere of equal volume, in mm.
        score: Largest probability (1 for a true nodule).
    """

    center: tuple[float, float, float]
    radius: float
    score: float = 1.0


def find_candidates(probabilities: Any, spacing: Sequence[float], threshold: float = 0.1) -> list[Finding]:
    """Candidates in a map of nodule probabilities: connected parts (26 neighbors) of at least `threshold`.

    Args:
        probabilities: Of the nodule class.
        spacing: Voxel size in mm.
        threshold: Smallest probability of a part.

    Shape:
        probabilities: (X, Y, Z).
    """
    values = to_numpy(probabilities)
    return _findings(values >= threshold, values, spacing)


def find_nodules(mask: Any, spacing: Sequence[float]) -> list[Finding]:
    """Nodules of a true mask: its connected parts (26 neighbors).

    Shape:
        mask: (X, Y, Z), boolean or 0 / 1.
    """
    values = to_numpy(mask) != 0
    return _findings(values, values.astype(np.float32), spacing)


def _findings(mask: np.ndarray, values: np.ndarray, spacing: Sequence[float]) -> list[Finding]:
    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    size = np.asarray(spacing, dtype=np.float64)
    findings = []
    for index, box in enumerate(ndimage.find_objects(parts), start=1):
        own = parts[box] == index
        places = np.argwhere(own) + [part.start for part in box]
        volume = len(places) * float(np.prod(size))
        radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
        x, y, z = (places.mean(0) * size).tolist()
        findings.append(Finding((x, y, z), radius, float(values[box][own].max())))
    assert len(findings) == count
    return findings


class FROC(StreamingMetric):
    """FROC and CPM over scans.

    Args:
        points: False positives per scan at which sensitivity is read.

    Raises:
        ValueError: No points, or some below 0.
    """

    shares = frozenset(
        (
            "cpm",
            "sensitivities",
        )
    )

    def __init__(self, points: Sequence[float] = POINTS, **kwargs: Any) -> None:
        if not points or min(points) < 0:
            raise ValueError(f"points are {list(points)}; give false positives per scan, 0 or more.")
        self.points = tuple(float(point) for point in points)
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("float64"))

    def _initial_state(self) -> dict[str, Any]:
        return {"hits": [], "false_positives": [], "nodules": 0}

    def _update(self, prediction: Sequence[Finding], reference: Sequence[Finding]) -> None:
        best: dict[int, float] = {}
        for candidate in prediction:
            distances = [np.linalg.norm(np.subtract(candidate.center, nodule.center)) for nodule in reference]
            near = [index for index, nodule in enumerate(reference) if distances[index] < nodule.radius]
            for index in near:
                best[index] = max(best.get(index, -np.inf), candidate.score)
            if not near:
                self._state["false_positives"].append(candidate.score)
        self._state["hits"] += best.values()
        self._state["nodules"] += len(reference)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """False positives per scan and sensitivity at every threshold, both rising.

        Shape:
            two arrays (T,).
        """
        hits, false = np.array(self._state["hits"]), np.array(self._state["false_positives"])
        scores = np.unique(np.concatenate([hits, false]))[::-1]
        sensitivity = [(hits >= score).sum() / max(self._state["nodules"], 1) for score in scores]
        rate = [(false >= score).sum() / max(self._num_images, 1) for score in scores]
        return np.array([0.0, *rate]), np.array([0.0, *sensitivity])

    def _result(self) -> dict[str, Any]:
        rate, sensitivity = self.curve()
        found = np.interp(self.points, rate, sensitivity)
        known = self._state["nodules"] > 0
        return {
            "cpm": float(found.mean()) if known else None,
            "sensitivities": {
                f"{point:g}": float(value) if known else None for point, value in zip(self.points, found)
            },
            "num_nodules": self._state["nodules"],
            "num_hits": len(self._state["hits"]),
            "num_false_positives": len(self._state["false_positives"]),
            "num_scans": self._num_images,
        }
