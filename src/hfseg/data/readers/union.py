# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Several segmentation datasets as one: the union of their classes, and for every example the classes it knows."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .images import to_id_map
from .schema import DEFAULT_IGNORE_INDEX

__all__ = ["SegmentationUnion"]

# Beyond the classes of any union; a map of 16 bits holds it.
LARGE_IGNORE_INDEX = 65535


class SegmentationUnion(torch.utils.data.Dataset):
    """Datasets of images with segments or class maps under one label space; samples are read when asked for.

    Classes are the same if their names are, but for case and space around them; `aliases` says which others are. The
    ids follow the order of the datasets. An item is that of its dataset with ids of the union and
    `verified_classes`: the classes of its own dataset (or those of them that the sample itself says were checked). A
    pixel or a query of it is therefore never a negative example of a class that its annotators did not know
    (`known_classes` of `UniversalCollator`). Items of datasets of objects alone (kind "instance") have
    `unlabeled_is_background`: outside the objects there is something else, where other datasets mean "not known".

    Args:
        datasets: Map-style datasets with `id2label`, by name.
        repeat: How often a dataset is passed in one pass of the union, by name; 1 where not given.
        aliases: Name of a class to the name under which it is counted.

    Attributes:
        parts: The datasets by name.
        id2label: Names of the union's classes.
        class_ids: By dataset the union's id of each of its own classes.
        stuff_class_ids: Classes that are stuff in every dataset that has them; None if no dataset says.
        ignore_index: Value of void pixels in a `segmentation_map`: 255, or 65535 if that is a class.

    Raises:
        ValueError: Without datasets; if one has no class names, `repeat` names none of them or is below 1, or
            `aliases` names a class that no dataset has.
    """

    def __init__(
        self,
        datasets: Mapping[str, Any],
        repeat: Mapping[str, int] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        if not datasets:
            raise ValueError("a union needs at least one dataset")
        nameless = [name for name, part in datasets.items() if not getattr(part, "id2label", None)]
        if nameless:
            raise ValueError(f"the dataset(s) {', '.join(nameless)} have no class names, so they cannot be united")
        self.parts = dict(datasets)
        times = dict(repeat or {})
        wrong = sorted(set(times) - set(self.parts)) or [name for name, count in times.items() if count < 1]
        if wrong:
            raise ValueError(
                f"repeat is {times}; give whole numbers from 1 for some of the datasets {', '.join(self.parts)}"
            )
        self._unite(dict(aliases or {}))
        self._starts = [0]
        self._order = list(self.parts)
        for name in self._order:
            self._starts.append(self._starts[-1] + len(self.parts[name]) * times.get(name, 1))

    def _unite(self, aliases: Mapping[str, str]) -> None:
        """Numbers the classes of all datasets."""
        renamed = {_key(old): new for old, new in aliases.items()}
        numbers: dict[str, int] = {}
        self.id2label: dict[int, str] = {}
        self.class_ids: dict[str, tuple[int, ...]] = {}
        things: set[int] = set()
        stuff: set[int] = set()
        told = False
        met = set()
        for name, part in self.parts.items():
            ids = []
            of_stuff = getattr(part, "stuff_class_ids", None)
            told = told or of_stuff is not None
            for class_id in range(len(part.id2label)):
                label = str(part.id2label[class_id])
                met.add(_key(label))
                label = renamed.get(_key(label), label)
                number = numbers.setdefault(_key(label), len(numbers))
                self.id2label.setdefault(number, label.strip())
                (stuff if class_id in (of_stuff or ()) else things).add(number)
                ids.append(number)
            self.class_ids[name] = tuple(ids)
        unknown = sorted(set(renamed) - met)
        if unknown:
            raise ValueError(f"aliases name the class(es) {', '.join(unknown)}, which none of the datasets has")
        self.label2id = {label: number for number, label in self.id2label.items()}
        self.stuff_class_ids = tuple(sorted(stuff - things)) if told else None
        self.ignore_index = DEFAULT_IGNORE_INDEX if len(numbers) <= DEFAULT_IGNORE_INDEX else LARGE_IGNORE_INDEX

    def __len__(self) -> int:
        return self._starts[-1]

    def locate(self, index: int) -> tuple[str, int]:
        """Finds the dataset of a sample and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        position = bisect.bisect_right(self._starts, index) - 1
        name = self._order[position]
        return name, (index - self._starts[position]) % len(self.parts[name])

    def sample_id(self, index: int) -> str:
        """Names a sample for messages: dataset and its own name there."""
        name, number = self.locate(index)
        part = self.parts[name]
        return f"{name}/{part.sample_id(number) if hasattr(part, 'sample_id') else number}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, number = self.locate(index)
        part, ids = self.parts[name], self.class_ids[name]
        example = dict(part[number])
        if example.get("segments_info") is not None:
            example["segments_info"] = _renumbered_all(example["segments_info"], ids, name)
            # The same objects, as AP wants them.
            for key, entries in (("instances", "annotations"), ("ap_segments", "segments_info")):
                if example.get(key) is not None:
                    renumbered = _renumbered_all(example[key][entries], ids, name)
                    example[key] = {**example[key], entries: renumbered}
        elif example.get("segmentation_map") is not None:
            ignore = getattr(part, "ignore_index", DEFAULT_IGNORE_INDEX)
            example["segmentation_map"] = self._map(example["segmentation_map"], ids, ignore, name)
        checked = example.get("verified_classes")
        example["verified_classes"] = (
            sorted(set(ids)) if checked is None else sorted({_renumbered(class_id, ids, name) for class_id in checked})
        )
        if getattr(part, "kind", None) == "instance":
            example["unlabeled_is_background"] = True
        return example

    def _map(self, class_map: Any, ids: Sequence[int], ignore: int, name: str) -> np.ndarray:
        """A class map in the union's ids. Shape: (H, W) to (H, W), int32."""
        values = to_id_map(class_map, f"segmentation_map of {name}")
        void = values == ignore
        known = np.where(void, 0, values)
        if known.size and (known.min() < 0 or known.max() >= len(ids)):
            raise ValueError(
                f"a segmentation_map of {name} holds values from {known.min()} to {known.max()}; must be 0 to "
                f"{len(ids) - 1}, or {ignore} for void"
            )
        return np.where(void, self.ignore_index, np.asarray(ids, dtype=np.int32)[known]).astype(np.int32)


def _key(label: str) -> str:
    return label.strip().casefold()


def _renumbered(class_id: int, ids: Sequence[int], name: str) -> int:
    if not 0 <= int(class_id) < len(ids):
        raise ValueError(f"a segment of {name} has class {class_id}; must be 0 to {len(ids) - 1}")
    return ids[int(class_id)]


def _renumbered_all(segments: Sequence[Mapping[str, Any]], ids: Sequence[int], name: str) -> list[dict[str, Any]]:
    return [{**segment, "category_id": _renumbered(segment["category_id"], ids, name)} for segment in segments]
