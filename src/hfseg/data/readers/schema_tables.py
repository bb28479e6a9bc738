# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of referents, of masks without names, of medical slices and of in-context pairs, read as their readers do.

`hfseg.data.readers.tables` has those of the closed-vocabulary schemas, and chooses by the columns.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from .images import open_label, read_map, to_id_map, to_rgb

if TYPE_CHECKING:
    import datasets

__all__ = ["SCHEMAS", "PairTable", "PromptableTable", "ReferringTable", "SchemaTable", "SliceTable", "schema_of"]


def description_of(table: Any) -> dict[str, Any]:
    """What the table's description says of classes; nothing, if others wrote it."""
    try:
        content = json.loads(table.info.description or "{}")
    except json.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def without_decoding(table: Any, column: str) -> Any:
    """A table, or features, whose column of labels gives files as they are, so that these can be checked."""
    import datasets

    features = table if isinstance(table, datasets.Features) else table.features or {}
    if not isinstance(features.get(column), datasets.Image):
        return table
    if isinstance(table, datasets.Features):
        return datasets.Features({**table, column: datasets.Image(decode=False)})
    return table.cast_column(column, datasets.Image(decode=False))


def label_map(cell: Any, name: str) -> np.ndarray:
    """Label map of a cell: a file as stored, or what is decoded already."""
    if not isinstance(cell, dict):
        return to_id_map(cell, name)
    if not cell.get("bytes"):
        return read_map(cell["path"])
    return to_id_map(open_label(cell["bytes"], name), name)


class SchemaTable(torch.utils.data.Dataset):
    """A map-style dataset over a table; items are those of the schema's readers.

    Attributes:
        kind: Name of the schema.
        table: The table.
        label_column: Column that is read as stored, not decoded; "" for none.
        name_column: Column of the samples' names.
        group_column: Column whose rows of one value belong together, where a share is held out; None: every row is
            its own.

    Args:
        table: A `datasets.Dataset`, or (for `item` alone) a stream.
    """

    kind: ClassVar[str]
    label_column: ClassVar[str] = ""
    name_column: ClassVar[str] = "image_id"
    group_column: ClassVar[str | None] = None

    def __init__(self, table: Any) -> None:
        self.table = table
        self._undecoded: tuple[Any, Any] | None = None  # the table, and itself with labels as stored

    def __len__(self) -> int:
        return len(self.table)

    def sample_id(self, index: int) -> str:
        """Name of a sample, without decoding it."""
        named = self.name_column in self.table.column_names
        return str(self.table[index : index + 1][self.name_column][0]) if named else str(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if self._undecoded is None or self._undecoded[0] is not self.table:
            self._undecoded = (self.table, without_decoding(self.table, self.label_column))
        return self.item(self._undecoded[1][index], index)

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Makes the item of a row.

        Raises:
            ValueError: Image and label differ in size.
        """
        raise NotImplementedError

    def _label(self, row: dict[str, Any], size: tuple[int, ...], index: int) -> np.ndarray:
        name = f"sample {row.get(self.name_column, index)}"
        labels = label_map(row[self.label_column], f"{self.label_column} of {name}")
        if labels.shape != size:
            raise ValueError(
                f"{name}: image has size {size} (height, width) and {self.label_column} {labels.shape}; make them equal"
            )
        return labels


class ReferringTable(SchemaTable):
    """Referents, as `hfseg.data.readers.refer` gives them."""

    kind = "referring"
    label_column = "mask"
    name_column = "ref_id"

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Image, mask of 0 and 255, expressions, their kinds if they are there."""
        image = to_rgb(row["image"])
        mask = (self._label(row, image.shape[:2], index) != 0).astype(np.uint8) * np.uint8(255)
        more = {"kinds": list(row["kinds"])} if row.get("kinds") else {}
        named = {"expressions": list(row["expressions"]), "ref_id": str(row.get("ref_id", index))}
        return {"image": image, "mask": mask, **named, **more}


class PromptableTable(SchemaTable):
    """Masks without names, as `hfseg.data.readers.promptable` gives them."""

    kind = "promptable"

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Image and run lengths."""
        return {"image": row["image"], "masks": list(row["masks"]), "image_id": str(row.get("image_id", index))}


class SliceTable(SchemaTable):
    """Slices of volumes, as `hfseg.data.readers.medical.MedicalSlices` gives them. There are no volumes to evaluate.

    Raises:
        ValueError: The table has no class names.
    """

    kind = "medical"
    label_column = "mask"
    name_column = "case_id"
    group_column = "patient_id"

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        content = description_of(table)
        names = getattr(getattr((table.features or {}).get("classes"), "feature", None), "names", None)
        if names is None and not content.get("id2label"):
            raise ValueError("the table of slices does not carry class names, in a column classes of ClassLabel")
        named = dict(enumerate(names)) if names is not None else content["id2label"]
        self.id2label = {int(key): name for key, name in named.items()}
        self.label2id = {name: class_id for class_id, name in self.id2label.items()}
        self.ignore_index = int(content.get("ignore_index", 255))

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Channels (C, H, W) float32 and the map of classes (H, W) uint8."""
        image = np.asarray(row["image"], dtype=np.float32)
        labels = self._label(row, image.shape[1:], index).astype(np.uint8)
        more = {key: value for key, value in row.items() if key not in ("image", "mask", "classes")}
        return {**more, "image": image, "segmentation_map": labels}


class PairTable(SchemaTable):
    """In-context pairs, drawn as by `hfseg.data.readers.in_context.InContextDataset`: other pairs of the task show it.

    Attributes:
        num_examples: Pairs that show the task.
        seed: Of the choice.
    """

    kind = "in-context"
    name_column = "sample_id"
    group_column = "sample_id"
    num_examples = 2
    seed = 0

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self._rows: tuple[Any, dict[str, list[int]]] | None = None

    def _rows_of(self, task: str) -> list[int]:
        """Rows of a task; of the table as it is now, which may be a part of the one that was opened."""
        if self._rows is None or self._rows[0] is not self.table:
            rows: dict[str, list[int]] = {}
            for row, name in enumerate(self.table["task"][:]):
                rows.setdefault(name, []).append(row)
            self._rows = (self.table, rows)
        return self._rows[1][task]

    @staticmethod
    def _pixels(cell: Any) -> np.ndarray:
        return np.stack([to_rgb(frame) for frame in cell]) if isinstance(cell, list) else to_rgb(cell)

    def _pair(self, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return self._pixels(row["input"]), self._pixels(row["target"])

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """A query with its target, and pairs of other samples that show the task.

        Raises:
            ValueError: There is no other pair of the task.
        """
        others = [other for other in self._rows_of(row["task"]) if other != index]
        if not others:
            raise ValueError(f"the table holds one pair of {row['task']} only, and none to show the task by")
        draw = np.random.default_rng([self.seed, 8, index])
        chosen = draw.choice(others, self.num_examples, replace=len(others) < self.num_examples).tolist()
        query, target = self._pair(row)
        examples = [self._pair(self.table[int(other)]) for other in chosen]
        return {"task": row["task"], "examples": examples, "query": query, "target": target}


SCHEMAS: dict[str, type[SchemaTable]] = {
    table.kind: table for table in (ReferringTable, PromptableTable, SliceTable, PairTable)
}
"""Tables by the name of their schema."""

_COLUMNS = {
    "referring": {"image", "mask", "expressions"},
    "medical": {"image", "mask", "spacing", "modality"},
    "in-context": {"task", "input", "target"},
}


def schema_of(table: datasets.Dataset | datasets.IterableDataset) -> str | None:
    """Which of `SCHEMAS` a table has, by its columns; None for none of these."""
    import datasets

    columns = set(table.column_names or ())
    masks = (table.features or {}).get("masks")
    if "image" in columns and isinstance(masks, (list, datasets.List)):
        return "promptable"
    if isinstance((table.features or {}).get("image"), datasets.Image):  # slices of floats are no images
        columns -= {"modality"}
    return next((name for name, needed in _COLUMNS.items() if needed <= columns), None)
