# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A dataset as parquet shards, written row by row: memory holds a few rows, whatever the dataset's size."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arrow import is_table, kind_of, reader_settings, splits_of
from .readers.reading import OnError, check_on_error
from .readers.schema_rows import rows_of
from .readers.table_rows import Rows, generate
from .specs import open_dataset

__all__ = ["MAX_SHARD_SIZE", "WrittenDataset", "write_parquet"]

MAX_SHARD_SIZE = 500 * 10**6
ROWS_PER_GROUP = 100  # what a reader of one sample has to load
SHOWN = 3


@dataclasses.dataclass
class WrittenDataset:
    """What was written.

    Attributes:
        folder: Where; the shards are in `data/`.
        features: Columns.
        description: Classes, stuff classes and void, for readers of this package.
        rows: Number of rows by split.
        bytes: Size of the shards by split.
        samples_of_class: By split and class: images (of class maps) or objects (of segments).
        counts_objects: Whether objects were counted.
        shown: The first rows of the first split, images as bytes.
    """

    folder: Path
    features: Any
    description: dict[str, Any]
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    samples_of_class: dict[str, Counter[int]] = dataclasses.field(default_factory=dict)
    counts_objects: bool = False
    shown: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def class_names(self) -> dict[int, str]:
        """Names of classes; none where samples have none."""
        return {int(key): name for key, name in self.description.get("id2label", {}).items()}

    @property
    def description_text(self) -> str:
        """The description as tables carry it."""
        return json.dumps(self.description)


def write_parquet(
    specification: str,
    folder: str | os.PathLike[str],
    splits: Sequence[str] | None = None,
    *,
    kind: str | None = None,
    tasks: Sequence[str] | None = None,
    on_error: OnError = "stop",
    max_shard_size: int = MAX_SHARD_SIZE,
    **settings: Any,
) -> WrittenDataset:
    """Writes splits of a dataset as `data/SPLIT-00000-of-00001.parquet`, ..., in the columns of its schema.

    Args:
        specification: See `hfseg.data.specs`; a table has its columns already and is refused.
        folder: For the files; made if need be.
        splits: Names; None: all that there are.
        kind, tasks, on_error, **settings: As `hfseg.load_dataset`.
        max_shard_size: Bytes of images after which a new shard begins.

    Raises:
        FileNotFoundError, ValueError: As `hfseg.load_dataset`; a split is empty, or splits have other classes.
    """
    check_on_error(on_error)
    folder = Path(folder)
    if is_table(specification):
        raise ValueError(f"{specification} is a table already: push_to_hub of the library datasets publishes it")
    kind = kind_of(specification, kind)
    written: WrittenDataset | None = None
    for name, split in splits_of(specification, splits, kind).items():
        rows = rows_of(open_dataset(specification, split, kind=kind, **reader_settings(kind, settings)), tasks)
        if written is None:
            written = WrittenDataset(folder, rows.features, rows.description)
        elif rows.features != written.features:
            raise ValueError(f"the split {name} of {specification} has other columns or classes than those before it")
        _write_split(rows, name, written, on_error, max_shard_size)
    assert written is not None
    return written


def _write_split(rows: Rows, split: str, written: WrittenDataset, on_error: str, max_shard_size: int) -> None:
    """Writes the shards of a split and counts what is in them."""
    from datasets.arrow_writer import ParquetWriter

    place = written.folder / "data"
    place.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    writer, size, number = None, 0, 0
    counted: Counter[int] = Counter()
    for row in generate(rows, [range(len(rows))], "", on_error):
        if writer is None or size > max_shard_size:
            if writer is not None:
                writer.finalize()
            parts.append(place / f"{split}-{len(parts):05d}.parquet.part")
            writer = ParquetWriter(path=str(parts[-1]), features=rows.features, writer_batch_size=ROWS_PER_GROUP)
            size = 0
        classes = rows.classes_in(row)
        counted.update(classes)
        written.counts_objects |= "segments_info" in row
        if not written.rows and number < SHOWN:
            written.shown.append(row)
        writer.write(row)
        size += _bytes_in(row)
        number += 1
    if writer is None:
        raise ValueError(f"the split {split} has no sample that can be read")
    writer.finalize()
    for index, part in enumerate(parts):
        os.replace(part, place / f"{split}-{index:05d}-of-{len(parts):05d}.parquet")
    written.rows[split], written.samples_of_class[split] = number, counted
    written.bytes[split] = sum(file.stat().st_size for file in place.glob(f"{split}-*-of-*.parquet"))


def _bytes_in(value: Any) -> int:
    """Bytes of images in a row, and four per number of an array."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_bytes_in(entry) for entry in value.values())
    if isinstance(value, list):
        return sum(_bytes_in(entry) for entry in value)
    return getattr(value, "nbytes", 4)
