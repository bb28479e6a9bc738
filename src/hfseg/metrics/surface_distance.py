# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Distances between the surfaces of predicted and true structures, in millimeters, per case and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import evaluate
import numpy as np
from scipy import ndimage

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["SurfaceDistance", "surface_distances"]

_DESCRIPTION = """
Distances between surfaces of a class in prediction and truth, per case (volume or image) in its own voxels. The surface
of a mask are its voxels that one erosion (6 neighbors in 3-D, 4 in 2-D) takes away; voxels at the border of the image
count. From every surface voxel the Euclidean distance to the nearest surface voxel of the other mask is measured in mm.
ASSD is the mean over the voxels of both surfaces together (pooled, not the mean of the two directed means). HD95 is the
larger of the two directed 95th percentiles, HD the larger maximum, NSD the share of both surfaces within a tolerance.
This is MONAI's convention. The package `surface-distance` weighs elements of a triangulated surface by their area
instead; its figures differ (on hippocampi by up to a factor of two) and are not comparable.
"""
_INPUTS = """
Args:
    predictions: class map of every case, at the case's own size.
    references: likewise, the truth; the ignore index is left out of both.
    spacings: voxel size in mm along each axis of the map, per case; without it distances are in pixels.
Returns:
    assd, hd95, hd, nsd (means of the classes' means over cases), per_class {name: the same, num_cases, both_empty,
    reference_empty, prediction_empty}, unit ("mm" or "px"), tolerance, num_cases. None where no case counts.
"""
NAMES = ("assd", "hd95", "hd", "nsd")


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask that one erosion takes away; those at the border of the array are among them.

    Shape:
        mask: any number of axes, boolean; output the same.
    """
    return mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1), border_value=0)


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of every surface voxel to the other surface: from prediction to reference, and back.

    Only the box that holds both masks is looked at, which changes nothing.

    Args:
        prediction, reference: Masks, neither empty.
        spacing: Voxel size along each axis.

    Shape:
        masks: boolean, equal; outputs: (number of surface voxels of each,), float64.

    Raises:
        ValueError: A mask is empty.
    """
    if not prediction.any() or not reference.any():
        raise ValueError("A mask is empty; there is no surface to measure from.")
    box = ndimage.find_objects((prediction | reference).astype(np.uint8))[0]
    own, other = surface(prediction[box]), surface(reference[box])
    to_reference = ndimage.distance_transform_edt(~other, sampling=spacing)[own]
    to_prediction = ndimage.distance_transform_edt(~own, sampling=spacing)[other]
    return to_reference, to_prediction


class SurfaceDistance(StreamingMetric):
    """ASSD, HD95, HD and NSD per case and class.

    Empty masks: with both empty the case has no value for the class. With exactly one empty the distances are the
    diagonal of the image and NSD is 0 (`empty="penalize"`), or the case is left out (`empty="skip"`). MONAI gives
    infinity there, and a mean over cases with it. How many cases each rule met is part of the result.

    Args:
        id2label: Name of every class id 0 .. K-1; 0 is background and not measured.
        tolerance: Of NSD, in mm (or pixels).
        ignore_index: Reference value of voxels without annotation, left out of both masks.
        empty: `penalize` or `skip`, see above.

    Raises:
        ValueError: Maps of different shape, spacing that does not fit, cases with and without spacing mixed.
    """

    shares = frozenset(("nsd",))

    def __init__(
        self,
        id2label: Mapping[int, str],
        tolerance: float = 1.0,
        ignore_index: int = 255,
        empty: str = "penalize",
        **kwargs: Any,
    ) -> None:
        self.id2label = {int(class_id): str(name) for class_id, name in id2label.items()}
        if sorted(self.id2label) != list(range(len(self.id2label))) or len(self.id2label) < 2:
            raise ValueError(f"id2label must number background and classes 0 .. K-1, not {sorted(self.id2label)}.")
        if empty not in ("penalize", "skip"):
            raise ValueError(f"empty is {empty!r}; must be one of 'penalize' and 'skip'.")
        self.tolerance, self.ignore_index, self.empty = float(tolerance), ignore_index, empty
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("int64"))

    def _initial_state(self) -> dict[str, Any]:
        # Per case: (K - 1, 5) with the four numbers and a code: 0 measured, 1 both, 2 reference, 3 prediction empty.
        return {"values": [], "units": []}

    def add(
        self, *, prediction: Any = None, reference: Any = None, spacing: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        """Add one case; `spacing` in mm along each axis of the maps, None for pixels."""
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}; give prediction=, reference= and spacing=")
        self._update(prediction, reference, spacing)
        self._num_images += 1

    def add_batch(
        self,
        *,
        predictions: Sequence[Any] | None = None,
        references: Sequence[Any] | None = None,
        spacings: Sequence[Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a batch of cases."""
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}; give predictions=, references= and spacings=")
        if predictions is None or references is None:
            raise ValueError("predictions and references must both be given, one entry per case")
        sizes: Sequence[Any] = [None] * len(predictions) if spacings is None else spacings
        if not len(predictions) == len(references) == len(sizes):
            raise ValueError(
                f"{len(predictions)} predictions, {len(references)} references and {len(sizes)} spacings; give one of "
                "each per case"
            )
        for prediction, reference, spacing in zip(predictions, references, sizes):
            self.add(prediction=prediction, reference=reference, spacing=spacing)

    def compute(
        self,
        *,
        predictions: Sequence[Any] | None = None,
        references: Sequence[Any] | None = None,
        spacings: Sequence[Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Result over all cases added so far (and those given here, with their spacings); clears the state."""
        if predictions is not None or references is not None or spacings is not None:
            self.add_batch(predictions=predictions, references=references, spacings=spacings)
        return super().compute(**kwargs)

    def _update(self, prediction: Any, reference: Any, spacing: Sequence[float] | None = None) -> None:
        prediction, reference = to_numpy(prediction), to_numpy(reference)
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape} and reference {reference.shape}; compare at the case's size"
            )
        unit = "px" if spacing is None else "mm"
        if len({*self._state["units"], unit}) > 1:
            raise ValueError("Some cases have a spacing and others none: millimeters and pixels cannot be averaged.")
        size = [1.0] * prediction.ndim if spacing is None else [float(value) for value in spacing]
        if len(size) != prediction.ndim or min(size) <= 0:
            raise ValueError(f"spacing is {spacing}; give {prediction.ndim} sizes above 0, one per axis of the map.")
        valid = reference != self.ignore_index
        diagonal = float(np.linalg.norm(np.array(prediction.shape) * size))
        rows = []
        for class_id in sorted(self.id2label)[1:]:
            own, other = (prediction == class_id) & valid, (reference == class_id) & valid
            if own.any() and other.any():
                there, back = surface_distances(own, other, size)
                count = len(there) + len(back)
                rows.append(
                    [
                        (there.sum() + back.sum()) / count,
                        max(np.percentile(there, 95), np.percentile(back, 95)),
                        max(there.max(), back.max()),
                        ((there <= self.tolerance).sum() + (back <= self.tolerance).sum()) / count,
                        0,
                    ]
                )
            elif not own.any() and not other.any():
                rows.append([np.nan] * 4 + [1])
            else:
                code = 2 if own.any() else 3
                rows.append([diagonal, diagonal, diagonal, 0.0, code])
        self._state["values"].append(np.array(rows, dtype=np.float64))
        self._state["units"].append(unit)

    def _result(self) -> dict[str, Any]:
        values = np.stack(self._state["values"])  # (cases, K - 1, 5)
        numbers, codes = values[..., :4], values[..., 4]
        per_class = {}
        for index, class_id in enumerate(sorted(self.id2label)[1:]):
            code = codes[:, index]
            counted = code != 1 if self.empty == "penalize" else code == 0
            means = numbers[counted, index].mean(0).tolist() if counted.any() else [None] * 4
            per_class[self.id2label[class_id]] = {
                **dict(zip(NAMES, means)),
                "num_cases": int(counted.sum()),
                "both_empty": int((code == 1).sum()),
                "reference_empty": int((code == 2).sum()),
                "prediction_empty": int((code == 3).sum()),
            }
        result: dict[str, Any] = {}
        for name in NAMES:
            found = [entry[name] for entry in per_class.values() if entry[name] is not None]
            result[name] = float(np.mean(found)) if found else None
        return {
            **result,
            "per_class": per_class,
            "unit": self._state["units"][0],
            "tolerance": self.tolerance,
            "num_cases": self._num_images,
        }
