# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`datasets` objects from the readers and back: Arrow tables, parquet files, the Hub.

    table = load_official("ade20k_semantic", root).to_datasets()
    table.push_to_hub("me/ade20k")                      # or table.to_parquet(...), table.save_to_disk(...)
    dataset = load_table("me/ade20k", split="train")    # or TableDataset(table)

Columns are those of `hfseg.data.readers.table_rows`, where tables are made.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ...files.images import FORMATS
from .images import orientation_of, say_once, stretch_contrast, to_rgb
from .reading import listing
from .schema import DEFAULT_IGNORE_INDEX, white_of
from .schema_tables import SCHEMAS, SchemaTable, description_of, label_map, schema_of, without_decoding

if TYPE_CHECKING:
    import datasets

__all__ = ["TableDataset", "TableStream", "load_table"]

logger = logging.getLogger(__name__)

_LOOKED_AT = 200  # rows whose values are looked at
_LOOKED_AT_OF_STREAMS = 20


def _names(features: Any) -> list[str] | None:
    """Names of the classes in a table's features."""
    for name in ("segments_info", "classes", "categories", "objects"):
        column = features.get(name)
        inner = getattr(column, "feature", column[0] if isinstance(column, list) and column else column)
        if isinstance(inner, dict):
            inner = next((inner[key] for key in ("category_id", "category", "label", "class") if key in inner), None)
            inner = getattr(inner, "feature", inner)
        names = getattr(inner, "names", None)
        if inner is not column and names:
            return list(names)
    return None


# Columns of class maps, ours first; in tables of others only if they hold images.
MAP_COLUMNS = ("segmentation_map", "label", "labels", "annotation", "annotations", "mask", "masks", "semantic")


def _own_masks(entries: Any, size: tuple[int, ...]) -> dict[str, Any]:
    """`instances` of an item from the cell of that name, if it is one of ours: objects with run lengths."""
    if not isinstance(entries, list):
        return {}
    if not all(isinstance(entry, Mapping) and isinstance(entry.get("segmentation"), Mapping) for entry in entries):
        return {}
    return {"instances": {"height": size[0], "width": size[1], "annotations": entries}}


def _map_column(table: Any) -> str | None:
    """Column of the class maps."""
    import datasets

    if "segmentation_map" in table.column_names:
        return "segmentation_map"
    features = table.features or {}
    return next((name for name in MAP_COLUMNS if isinstance(features.get(name), datasets.Image)), None)


def _is_finite(table: Any) -> bool:
    """Whether rows can be looked at by number, and are no stream."""
    return hasattr(table, "__getitem__") and hasattr(table, "__len__")


def _values(table: Any, column: str, most: int | None = None) -> set[int]:
    """Values of class maps; of `most` rows, spread over the table."""
    number = len(table)
    rows = range(0, number, 1 if most is None else max(number // most, 1))
    found: set[int] = set()
    labels = without_decoding(table.select_columns([column]), column)
    for row in rows:
        found.update(np.unique(label_map(labels[row][column], f"{column} of row {row}")).tolist())
    return found


def _scanned_names(table: Any, column: str) -> dict[int, str]:
    """Classes of maps that nothing names: the values that occur, as of folders without `classes.json`.

    Raises:
        ValueError: The values are no class ids.
    """
    values = _values(table, column)
    if 0 in values and white_of(values) is not None:
        return {0: "class_0", 1: "class_1"}
    classes = sorted(values - {DEFAULT_IGNORE_INDEX})
    if not classes or classes[0] < 0 or classes[-1] > DEFAULT_IGNORE_INDEX:
        raise ValueError(
            f"the table does not carry class names, and its column {column} holds the values {classes[:3]} to "
            f"{classes[-1:]}: give id2label={{0: name, ...}}"
        )
    return {value: f"class_{value}" for value in range(classes[-1] + 1)}


def _say_orientation(cell: Any, name: str) -> bool:
    """Warns of an undecoded image that decoding turns, and that is square or turned by 180 degrees or mirrored."""
    try:
        file = io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"]
        with Image.open(file, formats=FORMATS) as image:
            turn, square = orientation_of(image), image.width == image.height
    except (OSError, ValueError, SyntaxError, KeyError, AttributeError, TypeError):
        return False  # said when it is read
    if turn == 1 or (turn >= 5 and not square):
        return False
    say_once(
        "The image of %s has the EXIF orientation %d and is turned upright, and the size of its label does not tell "
        "whether that was drawn on the upright image: it is taken to be. If labels look turned, store the images "
        "without EXIF orientation.",
        name,
        turn,
    )
    return True


def _kind_of(table: Any) -> str:
    """What a table holds, by its columns: panoptic, semantic, or captions.

    Raises:
        ValueError: Nothing of these.
    """
    columns = set(table.column_names)
    if {"image", "segmentation", "segments_info"} <= columns:
        return "panoptic"
    if "image" in columns and _map_column(table) is not None:
        return "semantic"
    if {"image", "text"} <= columns:
        return "captions"
    raise ValueError(
        f"the table has the columns {sorted(columns)}; it needs image and segmentation with segments_info, "
        "segmentation_map (or label, annotation, mask: an image of class ids), text, mask with expressions, masks (run "
        "lengths), or task with input and target"
    )


class TableDataset(torch.utils.data.Dataset):
    """Items of a table as those of `FolderDataset`: arrays, in the universal, semantic or caption schema.

    Maps of two classes that hold 0 and 255 only are read as 0 and 1, with a warning, unless `ignore_index` is given.

    Attributes:
        stretch_contrast: Whether images are brought to the full range of intensities, as by `load_folder`.

    Args:
        table: A `datasets.Dataset` with the columns of `schema`.
        id2label: Class names, where the table does not carry them.
        stuff_class_ids: Classes without instances; None: what the table says, else all classes of a semantic table and
            none otherwise.
        ignore_index: Value of void in a `segmentation_map`; None: what the table says, else 255 (65535 where there are
            more than 255 classes).
        name_values: Whether the classes of a semantic table without names are the values that occur.

    Raises:
        ValueError: If columns or class names are missing.
    """

    stretch_contrast = False

    def __init__(
        self,
        table: datasets.Dataset,
        id2label: dict[int, str] | None = None,
        stuff_class_ids: Sequence[int] | None = None,
        ignore_index: int | None = None,
        name_values: bool = False,
    ) -> None:
        self.kind = _kind_of(table)
        self._map_column = _map_column(table)
        self._check_length(table)
        described, names = description_of(table), _names(table.features)
        if id2label is None and described.get("id2label"):
            id2label = {int(key): name for key, name in described["id2label"].items()}
        elif id2label is None and names is not None:
            id2label = dict(enumerate(names))
        elif id2label is None and self.kind == "semantic" and name_values:
            id2label = _scanned_names(table, str(self._map_column))
        elif id2label is None and self.kind != "captions":
            raise ValueError("the table does not carry class names; give id2label={0: name, ...}")
        self.table = table
        self._undecoded: tuple[Any, Any] | None = None  # the table, and itself with labels as stored
        self.id2label = {int(key): name for key, name in (id2label or {}).items()}
        repeated = [name for name, count in Counter(self.id2label.values()).items() if count > 1]
        if repeated:
            raise ValueError(f"the class name {listing(repeated)} occurs more than once; give every class its own name")
        self.label2id = {name: class_id for class_id, name in self.id2label.items()}
        default_stuff = list(self.id2label) if self.kind == "semantic" else []
        stuff = described.get("stuff_class_ids", default_stuff) if stuff_class_ids is None else stuff_class_ids
        self.stuff_class_ids = tuple(stuff)
        given_void = ignore_index
        if ignore_index is None:
            large = len(self.id2label) > DEFAULT_IGNORE_INDEX
            ignore_index = described.get("ignore_index", 65535 if large else DEFAULT_IGNORE_INDEX)
        stated = ignore_index != DEFAULT_IGNORE_INDEX or "ignore_index" in described
        self.ignore_index = ignore_index
        self._second_value = None if stated or given_void is not None else self._second(table)
        if not described:  # those of `to_datasets` agree
            self._say_orientations(table)

    def _second(self, table: Any) -> int | None:
        """White, if the maps of two classes hold nothing else but 0: it is the second class then, and not void."""
        if self.kind != "semantic" or len(self.id2label) != 2:
            return None
        column = str(self._map_column)
        if _is_finite(table):
            white = white_of(_values(table, column, _LOOKED_AT))
        else:  # a stream: its beginning
            labels = without_decoding(table.select_columns([column]), column)
            rows = itertools.islice(labels, _LOOKED_AT_OF_STREAMS)
            white = white_of({value for row in rows for value in np.unique(label_map(row[column], column)).tolist()})
        if white is None:
            return None
        logger.warning(
            "The labels hold 0 and %d only, and there are two classes: %d is read as %r. If %d means void, give "
            "ignore_index=%d.",
            *(white, white, self.id2label[1], white, white),
        )
        return white

    def __len__(self) -> int:
        return len(self.table)

    def sample_id(self, index: int) -> str:
        """Name of a sample, without decoding it."""
        return (
            str(self.table[index : index + 1]["image_id"][0]) if "image_id" in self.table.column_names else str(index)
        )

    def _check_length(self, table: Any) -> None:
        if len(table) == 0:
            raise ValueError("the table has 0 usable samples")

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self._undecoded is None or self._undecoded[0] is not self.table:
            self._undecoded = (self.table, without_decoding(self.table, self.label_column))
        return self.item(self._undecoded[1][index], index)

    @property
    def label_column(self) -> str:
        """Column of the class or segment maps."""
        return str(self._map_column) if self.kind == "semantic" else "segmentation"

    def item(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Makes the item of a row, whose labels are as stored.

        Raises:
            ValueError: Image and label differ in size, or the label is damaged.
        """
        item: dict[str, Any] = {"image": to_rgb(row["image"]), "image_id": str(row.get("image_id", index))}
        if self.stretch_contrast:
            item["image"] = stretch_contrast(item["image"])
        if self.kind == "captions":
            return item | {"text": row["text"]}
        column = self.label_column
        labels = label_map(row[column], f"{column} of sample {item['image_id']}")
        if labels.shape != item["image"].shape[:2]:
            raise ValueError(
                f"sample {item['image_id']}: image has size {item['image'].shape[:2]} (height, width) and {column} "
                f"{labels.shape}; make them equal"
                + (
                    " (images are turned upright by their EXIF orientation: turn the label too, or store the image "
                    "without EXIF)"
                    if labels.shape == item["image"].shape[1::-1]
                    else ""
                )
            )
        if self.kind != "semantic":
            # An empty cell says nothing where there are segments: the column is not ours.
            ours = bool(row.get("instances")) or not row["segments_info"]
            own = _own_masks(row.get("instances"), labels.shape) if ours else {}
            return item | {"segmentation": labels, "segments_info": row["segments_info"], **own}
        if self._second_value is not None:
            labels = np.where(labels == self._second_value, 1, labels).astype(labels.dtype)
        return item | {"segmentation_map": labels}

    def _say_orientations(self, table: Any) -> None:
        """Warns of images with an EXIF orientation whose labels' size does not tell whether they are turned too."""
        import datasets

        column = (table.features or {}).get("image")
        if self.kind == "captions" or not _is_finite(table) or not isinstance(column, datasets.Image):
            return
        stored = table.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
        for row in range(0, len(stored), max(len(stored) // _LOOKED_AT, 1)):
            if _say_orientation(stored[row]["image"], f"row {row}"):
                return


class TableStream:
    """Items of a streamed table: those of `TableDataset`, in shards, without a length.

    `shard(index)` is a `datasets.IterableDataset` of undecoded rows, whose `state_dict()` and `load_state_dict(state)`
    say and set where it stands; `example(row)` decodes one.

    Args:
        table: A `datasets.IterableDataset` with the columns of `schema`.
        id2label, stuff_class_ids, ignore_index: As `TableDataset`.

    Attributes:
        num_shards: Number of files (or generator parts) that can be read apart.
        num_samples: Number of samples, None where it is not known.
        kind, id2label, label2id, stuff_class_ids, ignore_index: As `TableDataset`.

    Raises:
        ValueError: As `TableDataset`; a table without features (`table.cast`), or of in-context pairs (each is shown by
            others), cannot be streamed.
    """

    def __init__(
        self,
        table: datasets.IterableDataset,
        id2label: dict[int, str] | None = None,
        stuff_class_ids: Sequence[int] | None = None,
        ignore_index: int | None = None,
    ) -> None:
        if table.features is None:
            raise ValueError("the streamed table does not know its columns; give it features (table.cast)")
        schema = schema_of(table)
        if schema == "in-context":
            raise ValueError("a table of in-context pairs cannot be streamed for training: pairs are shown by others")
        self._described: SchemaTable | _Streamed
        if schema is not None:
            self._described = SCHEMAS[schema](table)
        else:
            self._described = _Streamed(table, id2label, stuff_class_ids, ignore_index)
        for name in ("kind", "id2label", "label2id", "stuff_class_ids", "ignore_index"):
            if hasattr(self._described, name):
                setattr(self, name, getattr(self._described, name))
        self.features = table.features
        self._features = without_decoding(table.features, self._described.label_column)
        self.table = table.decode(False)
        self.num_shards = table.num_shards
        split = (table.info.splits or {}).get(str(table.split)) if table.split is not None else None
        self.num_samples: int | None = split.num_examples if split is not None else None

    def shard(self, index: int) -> datasets.IterableDataset:
        """One shard of undecoded rows."""
        return self.table.shard(num_shards=self.num_shards, index=index)

    def name_of(self, row: dict[str, Any]) -> str:
        """Name of a sample, empty if it has none."""
        column = getattr(self._described, "name_column", "image_id")
        return str(row.get(column, ""))

    def example(self, row: dict[str, Any]) -> dict[str, Any]:
        """Decodes one row."""
        if self._described.kind not in ("captions", *SCHEMAS) and isinstance(row.get("image"), dict):
            _say_orientation(row["image"], f"sample {self.name_of(row)}")
        return self._described.item(self._features.decode_example(row), 0)


class _Streamed(TableDataset):
    """A stream's schema and decoding."""

    def _check_length(self, table: Any) -> None:
        pass


def load_table(
    path: str | Path,
    split: str = "train",
    name: str | None = None,
    id2label: dict[int, str] | None = None,
    stuff_class_ids: Sequence[int] | None = None,
    ignore_index: int | None = None,
    streaming: bool = False,
    name_values: bool = False,
) -> TableDataset | SchemaTable | TableStream:
    """Dataset of a table: parquet files, a folder of `save_to_disk`, or a dataset of the Hub.

    Args:
        path: Folder, parquet file, or Hub id.
        split: Its split.
        name: Configuration on the Hub.
        id2label, stuff_class_ids, ignore_index: As `TableDataset`.
        streaming: True reads while it is trained on, in shards for nodes, ranks and workers: of parquet files or of the
            Hub. A folder of parquet files is named by its path, with `<split>` at the beginning of the files' names or
            as a folder.
        name_values: As `TableDataset`.

    Raises:
        FileNotFoundError, ValueError: If it is not found, has no such split, or lacks columns or names.
    """
    import datasets

    place = Path(path)
    if streaming:
        if place.suffix == ".parquet" and place.is_file():
            files = {split: str(place)}
            stream = datasets.load_dataset("parquet", data_files=files, split=split, streaming=True)
        else:
            stream = datasets.load_dataset(str(path), name=name, split=split, streaming=True)
        return TableStream(stream, id2label, stuff_class_ids, ignore_index)
    if (place / "state.json").is_file() or (place / "dataset_dict.json").is_file():
        table = datasets.load_from_disk(str(place))
        if isinstance(table, datasets.DatasetDict):
            if split not in table:
                raise ValueError(f"{place} has no split {split!r}; it has {', '.join(map(str, table))}")
            table = table[split]
    elif place.suffix == ".parquet" and place.is_file():
        table = datasets.Dataset.from_parquet(str(place))
    else:
        table = datasets.load_dataset(str(path), name=name, split=split)
    schema = schema_of(table)
    if schema is not None:
        return SCHEMAS[schema](table)
    return TableDataset(table, id2label, stuff_class_ids, ignore_index, name_values)
