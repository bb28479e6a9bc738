# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of a `datasets` table from every reader: columns by schema, files kept as they are where that is possible.

| reader | columns, beside `image` |
|---|---|
| semantic | `segmentation_map`, `classes` (those that occur; carries the names), `image_id` |
| panoptic, instance, `shapes` | `segmentation`, `segments_info` (`category_id` carries the names), `image_id` |
| instances of COCO, YOLO, labelme | besides, `instances`: every object's own mask as run lengths, overlaps kept |
| captions | `text`, `image_id` |
| referring | `mask`, `expressions`, `ref_id`; of `shapes` also `kinds` |
| masks without names | `masks`: run lengths of COCO, `image_id` |
| medical | slices: `image` of floats, `mask`, `classes`, `spacing`, `modality`, `orientation`, ... |
| in-context | `task`, `input`, `target`, `target_format`, `sample_id`; no `image` |

Images keep their original bytes; label maps become PNG of 8 or 16 bits.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...files.images import FORMATS
from ...results.run_lengths import decode_segmentation, encode_run_lengths
from .reading import OnError, check_on_error, listing
from .schema import compact_ids, instance_features, medical_features, semantic_features, universal_features

if TYPE_CHECKING:
    import datasets

__all__ = ["ROWS", "Rows", "rows_of", "to_datasets"]

logger = logging.getLogger(__name__)

_SHARDS = 64
_EXIF_ORIENTATION = 0x0112


class Rows:
    """A reader's samples as rows.

    Attributes:
        description: What readers of the table need and columns do not say: names of classes, stuff classes, void.

    Args:
        dataset: A map-style reader.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.description: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def features(self) -> datasets.Features:
        """Columns of the table."""
        raise NotImplementedError

    @property
    def class_names(self) -> list[str]:
        """Names of the classes 0 .. C-1; none where samples have none."""
        return list(self.description.get("id2label", {}).values())

    def row(self, index: int) -> dict[str, Any] | None:
        """One row, with images as bytes; None for a sample that has nothing to show and is left out.

        Raises:
            OSError, ValueError: The sample cannot be read.
        """
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Name of a sample in messages."""
        return str(self.dataset.sample_id(index)) if hasattr(self.dataset, "sample_id") else str(index)

    def classes_in(self, row: Mapping[str, Any]) -> list[int]:
        """Class of every object, or of every class map, that a row holds."""
        return list(row.get("classes", ()))

    def state(self) -> str:
        """Hash of sizes and times of the files, so that a cached table of other files is not taken for this one."""
        state = hashlib.sha256()
        for file in sorted(set(_paths(vars(self.dataset)))):
            for entry in (file, *(sorted(file.rglob("*")) if file.is_dir() else ())):
                if entry.is_file():
                    status = entry.stat()
                    state.update(f"{entry}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return state.hexdigest()


def _paths(value: Any, depth: int = 0) -> Iterator[Path]:
    """Files and folders that a reader's attributes name."""
    if isinstance(value, Path):
        yield value
    elif depth < 6 and isinstance(value, Mapping):
        yield from itertools.chain.from_iterable(_paths(entry, depth + 1) for entry in value.values())
    elif depth < 6 and isinstance(value, (list, tuple)):
        yield from itertools.chain.from_iterable(_paths(entry, depth + 1) for entry in value)
    elif depth < 6 and type(value).__module__.startswith("hfseg.data") and hasattr(value, "__dict__"):
        yield from _paths(vars(value), depth + 1)


class FolderRows(Rows):
    """Semantic, panoptic and instance datasets and captions in files."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self.description = {
            "id2label": dataset.id2label,
            "stuff_class_ids": list(dataset.stuff_class_ids),
            "ignore_index": dataset.ignore_index,
        }

    @property
    def features(self) -> datasets.Features:
        """Columns; class names are part of them."""
        import datasets

        names = list(self.dataset.id2label.values())
        if self.dataset.kind == "captions":
            features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        elif self.dataset.kind == "semantic":
            features = semantic_features()
            features["classes"] = datasets.List(datasets.ClassLabel(names=names))
        else:
            features = universal_features(names)
            if self.dataset.own_masks:
                features["instances"] = datasets.List(instance_features(names))
        features["image_id"] = datasets.Value("string")
        return features

    def row(self, index: int) -> dict[str, Any]:
        """The image's own bytes, and its label."""
        item = self.dataset[index]
        image = encoded_image(self.dataset.files(index)[0], item["image"])
        row = {"image": image, "image_id": item["image_id"]}
        if self.dataset.kind == "captions":
            return row | {"text": item["text"]}
        if self.dataset.kind == "semantic":
            values = item["segmentation_map"]
            present = compact_ids(values)[0].tolist()
            row["segmentation_map"] = encoded_map(values, np.uint8 if max(present) < 256 else np.uint16)
            return row | {"classes": [value for value in present if value != self.dataset.ignore_index]}
        if self.dataset.own_masks:
            row["instances"] = _instances(item["instances"])
        return row | _segments(item)

    def classes_in(self, row: Mapping[str, Any]) -> list[int]:
        """Class of every segment, or those of the class map."""
        segments = row.get("segments_info", ())
        return [segment["category_id"] for segment in segments] or super().classes_in(row)

    def state(self) -> str:
        """Hash of names, sizes and times of all files."""
        state = hashlib.sha256()
        for index in range(len(self.dataset)):
            for file in self.dataset.files(index):
                status = file.stat()
                state.update(f"{file}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return state.hexdigest()


class ShapesRows(FolderRows):
    """Scenes of `shapes`."""

    @property
    def features(self) -> datasets.Features:
        """Columns of the universal schema."""
        import datasets

        return datasets.Features(
            {**universal_features(list(self.dataset.id2label.values())), "image_id": datasets.Value("string")}
        )

    def name(self, index: int) -> str:
        """Split, seed and number of a scene."""
        return f"{self.dataset.split}-{self.dataset.seed}-{index}"

    def row(self, index: int) -> dict[str, Any]:
        """Renders a scene."""
        item = self.dataset[index]
        return {"image": encoded_png(item["image"]), "image_id": self.name(index), **_segments(item)}

    def state(self) -> str:
        """Nothing: there are no files."""
        return ""


class ReferringRows(Rows):
    """Referents: an image, a mask, and what is said of it."""

    @property
    def features(self) -> datasets.Features:
        """Columns of the referring schema."""
        import datasets

        texts = datasets.List(datasets.Value("string"))
        columns = {"image": datasets.Image(), "mask": datasets.Image(), "expressions": texts}
        if getattr(self.dataset, "names_kinds", False):
            columns["kinds"] = texts
        return datasets.Features({**columns, "ref_id": datasets.Value("string")})

    def row(self, index: int) -> dict[str, Any]:
        """The image's own bytes where it is a file; the mask as PNG, 0 or 255."""
        item = self.dataset[index]
        if hasattr(self.dataset, "image_file"):
            image = encoded_image(self.dataset.image_file(index), item["image"])
        else:
            image = encoded_png(item["image"])
        return {**item, "image": image, "mask": encoded_map(item["mask"], np.uint8)}


class MedicalRows(Rows):
    """Slices of volumes, normalized as a network is shown them."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self.description = {"id2label": dataset.id2label, "ignore_index": dataset.ignore_index}

    @property
    def features(self) -> datasets.Features:
        """Columns of the medical schema; class names are part of them."""
        return medical_features(list(self.dataset.id2label.values()))

    def row(self, index: int) -> dict[str, Any]:
        """Channels as floats, the mask as PNG of class ids."""
        item = dict(self.dataset[index])
        item.pop("annotated_classes", None)
        labels = item.pop("segmentation_map")
        present = [value for value in np.unique(labels).tolist() if value != self.dataset.ignore_index]
        return {**item, "mask": encoded_map(labels, np.uint8), "classes": present}

    def state(self) -> str:
        """Nothing: all voxels are in memory, and so in the table's key."""
        return ""


ROWS: dict[str, type[Rows]] = {
    "folder": FolderRows,
    "shapes": ShapesRows,
    "referring": ReferringRows,
    "medical": MedicalRows,
}
"""Rows by the attribute `schema` of a reader."""


def _instances(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Objects with their own masks as COCO's compressed run lengths, overlaps kept."""
    size, rows = (own["height"], own["width"]), []
    for entry in own["annotations"]:
        mask = entry["segmentation"]
        mask = mask if isinstance(mask, np.ndarray) else decode_segmentation(mask, size)
        rows.append(
            {
                "category_id": entry["category_id"],
                "iscrowd": int(entry.get("iscrowd", 0)),
                "area": float(entry.get("area", mask.sum())),
                "segmentation": encode_run_lengths(mask, compressed=True),
            }
        )
    return rows


def _segments(item: Mapping[str, Any]) -> dict[str, Any]:
    segmentation, segments = item["segmentation"], item["segments_info"]
    ids, index_map = compact_ids(segmentation)
    if ids[-1] > 65535:  # COCO's ids have 24 bits, the column 16
        new_ids = np.arange(len(ids)) + (ids[0] != 0)  # 0 stays void
        number = dict(zip(ids.tolist(), new_ids.tolist()))
        segmentation = new_ids[index_map]
        segments = [{**segment, "id": number[segment["id"]]} for segment in segments]
    return {"segmentation": encoded_map(segmentation, np.uint16), "segments_info": segments}


def encoded_png(pixels: np.ndarray) -> dict[str, Any]:
    """Cell of an image that is no file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return {"bytes": buffer.getvalue(), "path": None}


def encoded_map(values: np.ndarray, dtype: type) -> dict[str, Any]:
    """Cell of a label map."""
    return encoded_png(values.astype(dtype))


def encoded_image(file: Path | bytes, pixels: np.ndarray) -> dict[str, Any]:
    """The file's own bytes, unless a decoder that obeys the EXIF orientation would turn it against its label."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        size = image.size if turned else image.size[::-1]
    name = None if isinstance(file, bytes) else file
    if size == pixels.shape[:2]:
        return {"bytes": content, "path": None if name is None else name.name}
    return {**encoded_png(pixels), "path": None if name is None else name.with_suffix(".png").name}


def rows_of(dataset: Any) -> Rows:
    """Rows of a reader's samples, by the reader's attribute `schema`.

    Args:
        dataset: A reader of files or scenes in one of the schemas of `ROWS`; others: `hfseg.data.readers.schema_rows`.

    Raises:
        ValueError: It has none of them.
    """
    schema = getattr(dataset, "schema", None)
    if schema not in ROWS:
        raise ValueError(f"{type(dataset).__name__} has the schema {schema!r}; must be one of {', '.join(ROWS)}")
    return ROWS[schema](dataset)


def generate(rows: Rows, parts: Iterable[range], state: str, on_error: str) -> Iterator[dict[str, Any]]:
    """Yields rows of parts; `state` is only there to tell tables of other files apart.

    Raises:
        OSError, ValueError: A sample cannot be read, with "stop".
    """
    skipped = []
    for part in parts:
        for index in part:
            try:
                row = rows.row(index)
            except (OSError, ValueError) as error:
                if on_error == "stop":
                    raise
                skipped.append(rows.name(index))
                logger.warning("Sample %s cannot be read and is left out: %s", skipped[-1], error)
                continue
            if row is not None:
                yield row
    if skipped:
        logger.warning("%d samples were left out: %s", len(skipped), listing(skipped, 20))


def to_datasets(
    dataset: Any,
    streaming: bool = False,
    on_error: OnError = "stop",
    cache_dir: str | Path | None = None,
) -> datasets.Dataset | datasets.IterableDataset:
    """A reader's samples as a table.

    Args:
        dataset: From `load_official`, `load_folder` or another reader with a `schema`, or its `Rows`.
        streaming: True reads while the table is iterated, in up to 64 shards for nodes and workers; False writes an
            Arrow file into the cache first.
        on_error: "stop" stops at an unreadable sample, "skip" leaves it out, with a warning and a count.
        cache_dir: Where the Arrow file goes, if not into the cache of `datasets`.

    Raises:
        ValueError: At an unreadable sample, which is named.
    """
    import datasets

    check_on_error(on_error)
    rows = dataset if isinstance(dataset, Rows) else rows_of(dataset)
    shards = min(_SHARDS, len(rows))
    bounds = [len(rows) * shard // shards for shard in range(shards + 1)]
    parts = [range(start, stop) for start, stop in itertools.pairwise(bounds)]
    arguments: dict[str, Any] = {"rows": rows, "parts": parts, "on_error": on_error}
    table: Any
    if streaming:
        arguments["state"] = ""
        table = datasets.IterableDataset.from_generator(generate, features=rows.features, gen_kwargs=arguments)
    else:
        try:
            table = datasets.Dataset.from_generator(
                generate,
                features=rows.features,
                cache_dir=None if cache_dir is None else str(cache_dir),
                gen_kwargs={**arguments, "state": rows.state()},
            )
        except datasets.exceptions.DatasetGenerationError as error:
            raise ValueError(
                f"the table of {getattr(rows.dataset, 'path', type(rows.dataset).__name__)} could not be made: "
                f"{error.__cause__ or error}; repair the sample, or use on_error='skip'"
            ) from error
    table.info.description = json.dumps(rows.description) if rows.description else ""
    return table
