# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of `datasets` that lie in a folder, with splits as folders of images have them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from .samples import HeldOut, Sample, divide, read_json, same_split
from .tables import TableDataset, load_table

__all__ = ["load_table_folder", "table_splits"]


def table_splits(path: Path) -> list[str]:
    """Splits of a table on disk; none of a single one."""
    import datasets

    if (path / "dataset_dict.json").is_file():
        return list(read_json(path / "dataset_dict.json").get("splits", ()))
    if path.is_file() or (path / "state.json").is_file():
        return []
    return list(datasets.load_dataset(str(path)))


def load_table_folder(path: Path, split: str | None, held: HeldOut) -> TableDataset:
    """A split of a table on disk, by any of its names; of a table without splits a share is held out, as of folders.

    Classes that nothing names are the values that occur.

    Raises:
        ValueError: It cannot be read, or there is no such split; as `TableDataset`.
    """
    try:
        splits = table_splits(path)
        alone = held.from_train(splits, split)
        chosen = alone or next((name for name in splits if split is not None and same_split(name, split)), None)
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


def _divided(dataset: TableDataset, split: str, held: HeldOut, where: Path) -> TableDataset:
    """One side of a seeded division."""
    rows = [Sample(str(row), where, where) for row in range(len(dataset))]
    chosen, _ = divide(rows, split, held.fraction, held.seed, where)
    divided = copy.copy(dataset)
    divided.table = dataset.table.select([int(row.name) for row in chosen])
    return divided
