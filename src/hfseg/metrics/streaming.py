# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Base of the metrics: an `evaluate.Metric` that keeps sums instead of predictions.

`evaluate` spools every prediction to a file until `compute`; for dense maps that grows without bound. Here `add_batch`
turns a batch into a few sums at once. The sums of several processes are added with `merge_state`, so that the result
does not depend on how the data were shared out (averaging the processes' results would).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

__all__ = ["StreamingMetric", "to_numpy"]


def to_numpy(values: Any) -> np.ndarray:
    """Array of a tensor on any device, a PIL image, a list or an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def in_percent(result: Mapping[str, Any], shares: frozenset[str]) -> dict[str, Any]:
    """Brings the shares of a result from fractions to percent; None, and the -1 of "nothing of the kind", stay.

    Args:
        result: Values by key; below `per_class` by class, then by key.
        shares: Keys whose values are shares; of a mapping or a list under such a key, all values are.

    >>> in_percent({"pq": 0.5, "num_images": 2, "per_class": {"pq": {"tp": 1, "pq": None}}}, frozenset(["pq"]))
    {'pq': 50.0, 'num_images': 2, 'per_class': {'pq': {'tp': 1, 'pq': None}}}
    """

    def scaled(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: scaled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [scaled(entry) for entry in value]
        return value if value is None or value < 0 else 100 * value

    def converted(key: str, value: Any) -> Any:
        if key != "per_class":
            return scaled(value) if key in shares else value
        rows = value.items()
        return {name: in_percent(row, shares) if isinstance(row, Mapping) else scaled(row) for name, row in rows}

    return {key: converted(key, value) for key, value in result.items()}


def dense(kind: str, dimensions: int = 2) -> Any:
    """Feature of an array for `evaluate`: values of a kind, in lists of lists."""
    feature: Any = datasets.Value(kind)
    for _ in range(dimensions):
        feature = datasets.List(feature)
    return feature


def metric_info(
    description: str, inputs: str, prediction: Any, reference: Any = None, citation: str = ""
) -> evaluate.MetricInfo:
    """What `evaluate` tells about a metric.

    Args:
        description: What is measured.
        inputs: Arguments and results.
        prediction: Feature of a prediction.
        reference: Feature of a reference; default: that of a prediction.
        citation: Source.
    """
    entries = {"predictions": prediction, "references": prediction if reference is None else reference}
    return evaluate.MetricInfo(
        description=description, citation=citation, inputs_description=inputs, features=datasets.Features(entries)
    )


class StreamingMetric(evaluate.Metric):
    """An `evaluate.Metric` whose state is a dictionary of arrays that add up.

    Use it like any metric (`add`, `add_batch`, `compute`), without a network and without files. `compute` clears the
    state, as `evaluate` does; read it before with `state_dict` if it is still needed. Across processes:

        states = accelerate.utils.gather_object([metric.state_dict()])
        metric.reset()
        for state in states:
            metric.merge_state(state)
        result = metric.compute()

    Results are in percent, as everywhere in hfseg. Subclasses write `_initial_state`, `_update` (one prediction and one
    reference), `_result` (with fractions), `_info`, and name the keys that are `shares`.
    """

    shares: frozenset[str] = frozenset()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reset()

    def _build_data_dir(self) -> str:
        return self._data_dir_root  # nothing is spooled, so no folder is made

    def _initial_state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _update(self, prediction: Any, reference: Any) -> None:
        raise NotImplementedError

    def _result(self) -> dict[str, Any]:
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything added so far."""
        self._state = self._initial_state()
        self._num_images = 0

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one image."""
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}; give prediction= and reference=")
        self._update(prediction, reference)
        self._num_images += 1

    def add_batch(
        self, *, predictions: Sequence[Any] | None = None, references: Sequence[Any] | None = None, **kwargs: Any
    ) -> None:
        """Add a batch of images.

        Raises:
            ValueError: If one side is missing, the two differ in length, or an image is not valid.
        """
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}; give predictions= and references=")
        if predictions is None or references is None:
            raise ValueError("predictions and references must both be given, one entry per image")
        if len(predictions) != len(references):
            raise ValueError(
                f"{len(predictions)} predictions but {len(references)} references; give one of each per image"
            )
        for prediction, reference in zip(predictions, references):
            self._update(prediction, reference)
            self._num_images += 1

    def compute(
        self, *, predictions: Sequence[Any] | None = None, references: Sequence[Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Result over all images added so far (and those given here); clears the state.

        Raises:
            ValueError: If no image was added.
        """
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}; options are set when the metric is made")
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self._num_images == 0:
            raise ValueError("nothing to compute: add images with add_batch(predictions=..., references=...) first")
        result = in_percent(self._result(), self.shares)
        self.reset()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Copy of the sums, which can be pickled, gathered and saved."""
        return {"num_images": self._num_images, **copy.deepcopy(self._state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the sums by saved ones.

        Raises:
            ValueError: If the state is of another metric or another number of classes.
        """
        self.reset()
        self.merge_state(state)

    def merge_state(self, state: Mapping[str, Any]) -> None:
        """Add the sums of another process (its `state_dict()`) to these.

        Raises:
            ValueError: If the state is of another metric or another number of classes.
        """
        expected = {"num_images", *self._state}
        if set(state) != expected:
            raise ValueError(
                f"state has the entries {sorted(state)}, {type(self).__name__} needs {sorted(expected)}; merge states "
                "of the same metric"
            )
        for name, value in self._state.items():
            if isinstance(value, np.ndarray) and np.shape(state[name]) != value.shape:
                raise ValueError(
                    f"state entry {name!r} has shape {np.shape(state[name])}, here it is {value.shape}; the two "
                    "metrics were made for different classes"
                )
        self._merge(state)
        self._num_images += int(state["num_images"])

    def _merge(self, state: Mapping[str, Any]) -> None:
        for name in self._state:
            self._state[name] = self._state[name] + state[name]
