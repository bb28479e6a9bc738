# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.load_dataset`: everything that the grammar of datasets names, as an object of the library `datasets`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .specs import is_medical, medical_layout, open_dataset, parse_spec

if TYPE_CHECKING:
    import datasets

    from .readers.reading import OnError

__all__ = ["is_table", "kind_of", "load_dataset", "reader_settings", "splits_of"]


def load_dataset(
    specification: str,
    split: str | None = None,
    *,
    kind: str | None = None,
    streaming: bool = False,
    tasks: Sequence[str] | None = None,
    on_error: OnError = "stop",
    cache_dir: str | Path | None = None,
    **settings: Any,
) -> datasets.Dataset | datasets.IterableDataset:
    """A dataset by its specification, as `datasets` has them, with the columns of its schema and names of classes.

    Columns by kind of data: `hfseg.data.readers.table_rows`. The result can be trained on (`transformers.Trainer` with
    a collator of `hfseg.data`), filtered, mapped and pushed like any other; `hfseg push-dataset` writes parquet files
    and a card.

    Args:
        specification: A path or `NAME[:PATH][,key=value,...]`; see the module `hfseg.data.specs`.
        split: Name of the split; None for the validation split, or all of a single file.
        kind: What samples are for: "segmentation", "referring", "medical", "in-context" or "images". None: what the
            specification says itself (`refcoco:...`, volumes in a medical layout), else "segmentation".
        streaming: True reads sample after sample while the result is iterated, and writes nothing; False writes an
            Arrow file into the cache of `datasets`. Volumes are read into memory when they are opened, either way.
        tasks: Of a source of in-context tasks (`hfseg.data.readers.in_context.TASKS`); None: all that it has the ground
            truth for.
        on_error: "stop" stops at an unreadable sample, "skip" leaves it out, with a warning and a count.
        cache_dir: Where the Arrow file goes, if not into the cache of `datasets`.
        **settings: Further arguments of the reader; those in the specification come first.

    Returns:
        A `datasets.Dataset`, or a `datasets.IterableDataset` with `streaming`.

    Raises:
        FileNotFoundError: There is no such folder or file, or files of the layout are missing.
        ValueError: A name, split or setting that there is not; damaged files.

    Example:
        >>> import hfseg
        >>> stream = hfseg.load_dataset("shapes:num_scenes=3", "val", streaming=True)
        >>> sorted(next(iter(stream)))
        ['image', 'image_id', 'segmentation', 'segments_info']
        >>> stream.features["segments_info"].feature["category_id"].num_classes
        10
    """
    from .readers.schema_rows import rows_of
    from .readers.table_rows import to_datasets

    specification = str(specification)
    kind = kind_of(specification, kind)
    if is_table(specification):
        path = str(parse_spec(specification).path)
        return _stream(path, split) if streaming else open_dataset(specification, split, kind=kind, **settings).table
    opened = open_dataset(specification, split, kind=kind, **reader_settings(kind, settings))
    return to_datasets(rows_of(opened, tasks), streaming, on_error, cache_dir)


def is_table(specification: str) -> bool:
    """Whether a specification names a table of `datasets`."""
    from .readers.folders import is_table as holds_table

    spec = parse_spec(specification)
    return spec.name == "table" or (not spec.name and holds_table(Path(str(spec.path))))


def kind_of(specification: str, kind: str | None = None) -> str:
    """What samples are for, where the caller does not say."""
    if kind is not None:
        return kind
    from .readers.in_context_sources import SOURCES

    name = parse_spec(specification).name
    if name in (*SOURCES, "labeled"):
        return "in-context"
    if name == "referring-shapes":
        return "referring"
    return "medical" if is_medical(specification) else "segmentation"


def reader_settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a reader whose samples become rows: every slice of a volume once."""
    once = {"foreground_share": 0.0, "dataset_power": 1.0} if kind == "medical" else {}
    return {**once, **settings}


def splits_of(specification: str, splits: Sequence[str] | None = None, kind: str = "segmentation") -> dict[str, Any]:
    """Splits of a dataset by the names that a table gives them; the split None of one without splits is `train`.

    Args:
        specification: See `hfseg.data.specs`.
        splits: Those that are asked for; None: all.
        kind: Of the samples.

    Raises:
        FileNotFoundError, ValueError: The dataset cannot be opened.
    """
    if splits:
        return {re.sub(r"\W+", "_", split.partition(":")[0]): split for split in splits}
    from .readers.medical_layouts import SPLIT_FOLDERS
    from .readers.official import official_names
    from .readers.refer import REFER_SPLITS

    spec = parse_spec(specification)
    name, _, partition = spec.name.partition("/")
    path = Path(str(spec.path))
    found: list[str] = []
    if name in ("shapes", "referring-shapes"):
        found = ["train", "validation", "test"]
    elif kind == "medical":
        images = path / "images"
        if (name or medical_layout(path)) in SPLIT_FOLDERS and images.is_dir():
            found = sorted(entry.name for entry in images.iterdir() if entry.is_dir())
    elif name in official_names():
        found = _official_splits(name, spec.path)
    elif name in dict(REFER_SPLITS):
        of_partition = {of: splits for (dataset, of), splits in REFER_SPLITS.items() if dataset == name}
        found = list(of_partition.get(partition, next(iter(of_partition.values()))))
    elif not name and path.is_dir() and kind == "segmentation":
        from .readers.folders import list_splits

        found = list_splits(path)
    return {split: split for split in found} or {"train": None}


def _official_splits(name: str, root: str | None) -> list[str]:
    """Splits of an official layout whose files are there; those that join others are left out.

    Raises:
        FileNotFoundError: There are none; names what the last one lacks.
    """
    from .readers.official import OFFICIAL, load_official

    found, missing = [], FileNotFoundError(f"{name} has no splits")
    for split in (split for split in OFFICIAL[name].splits if not split.startswith("train") or split == "train"):
        try:
            load_official(name, root, split)
        except FileNotFoundError as error:
            missing = error
            continue
        found.append(split)
    if not found:
        raise missing
    return found


def _stream(path: str, split: str | None) -> datasets.IterableDataset:
    """A table that is read while it is iterated; nothing is written."""
    import datasets

    place = Path(path)
    if place.is_file():
        return datasets.load_dataset("parquet", data_files={"train": path}, split="train", streaming=True)
    if (place / "state.json").is_file() or (place / "dataset_dict.json").is_file():
        mapped: Any = load_dataset(path, split)  # into memory, not read
        return mapped.to_iterable_dataset()
    from .readers.samples import matching_splits

    names = datasets.get_dataset_split_names(path)
    wanted = split or "validation"
    chosen = matching_splits(names, wanted, place)
    if not chosen:
        raise ValueError(f"split {wanted!r} is not in {path}; the splits there are {', '.join(names)}")
    return datasets.load_dataset(path, split=chosen[0], streaming=True)
