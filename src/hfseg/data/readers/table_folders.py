# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of `datasets` that lie in a folder, with splits as folders of images have them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from .samples import HeldOut, Sample, divide, matching_splits, read_json
from .schema_tables import SchemaTable
from .tables import TableDataset, load_table

__all__ = ["load_side", "load_table_folder", "table_splits"]


def table_splits(path: Path) -> list[str]:
    """Splits of a table on disk, or of the Hub; none of a single one."""
    import datasets

    if (path / "dataset_dict.json").is_file():
        return list(read_json(path / "dataset_dict.json").get("splits", ()))
    if path.is_file() or (path / "state.json").is_file():
        return []
    return list(datasets.load_dataset(str(path)))


def load_table_folder(path: Path, split: str | None, held: HeldOut) -> TableDataset | SchemaTable:
    """A split of a table on disk, by any of its names; of a table without splits a share is held out, as of folders.

    Classes that nothing names are the values that occur.

    Raises:
        ValueError: It cannot be read, or there is no such split; as `TableDataset`.
    """
    try:
        splits = table_splits(path)
        alone = held.from_train(splits, split)
        chosen = alone or next(iter(matching_splits(splits, split, path) if split is not None else ()), None)
        if splits and chosen is None:
            raise ValueError(f"split {split!r} is not in {path}; the splits there are {', '.join(splits)}")
        dataset: Any = load_table(path, chosen or "train", name_values=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # of pyarrow and datasets, which have many
        if type(error) is ValueError:
            raise
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} looks like a table of the library datasets, but cannot be read: {text}") from error
    if split is None or (splits and alone is None):
        return dataset
    return _divided(dataset, split, held, path)


def _divided(dataset: Any, split: str, held: HeldOut, where: Path) -> Any:
    """One side of a seeded division."""
    column = getattr(dataset, "group_column", None)  # rows of one person, or of one sample, stay on one side
    groups = [str(row) for row in range(len(dataset))] if column is None else list(map(str, dataset.table[column][:]))
    names = [Sample(name, where, where) for name in dict.fromkeys(groups)]
    chosen = {sample.name for sample in divide(names, split, held.fraction, held.seed, where)[0]}
    divided = copy.copy(dataset)
    divided.table = dataset.table.select([row for row, name in enumerate(groups) if name in chosen])
    return divided


def load_side(path: str | Path, split: str = "train", validation_fraction: float = 0.2, seed: int = 0) -> Any:
    """Training or validation data of a table, for every schema: of parquet files in a folder, or of the Hub.

    Args:
        path: Folder or Hub id.
        split: "train", "validation" or another split of the table.
        validation_fraction: Share of `train` that is held out where there is no split for validation; all rows of one
            person, and all pairs of one sample, are on one side.
        seed: Of that division.

    Raises:
        ValueError: It cannot be read, or there is no such split; as `TableDataset`.
    """
    return load_table_folder(Path(path), split, HeldOut(validation_fraction, seed, of_train=True))
