# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing datasets: parquet shards and a card, which `datasets.load_dataset` reads without this package.

What only this package's readers ask for (stuff classes, void) stands in the card's `dataset_info`, as the table's
description, so that it comes back with the table.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from huggingface_hub import DatasetCard
from PIL import Image

from ..data.parquet import MAX_SHARD_SIZE, WrittenDataset, write_parquet
from ..data.readers.images import to_id_map, to_rgb
from ..data.readers.promptable import masks_of
from ..data.specs import parse_spec
from ..files.writing import write_text
from ..results.drawing import overlay, overlay_semantic
from ..results.grids import image_grid, side_by_side
from .publishing import PublishingError, check_reachable, check_repo_id, check_tag, find_token, make_plan, upload

__all__ = ["dataset_card", "push_dataset"]

# Columns that tell the schemas apart -> tasks of the Hub, and what the card calls the data.
TASKS = (
    ("segments_info", ["image-segmentation"], "Images with a mask for every segment"),
    ("segmentation_map", ["image-segmentation"], "Images with a class for every pixel"),
    ("expressions", ["image-segmentation", "image-text-to-text"], "Images with expressions, and the mask each means"),
    ("masks", ["mask-generation"], "Images with masks without names"),
    ("spacing", ["image-segmentation"], "Slices of medical volumes with a class for every pixel"),
    ("target_format", ["image-to-image"], "Inputs and targets of in-context tasks"),
    ("text", ["image-to-text"], "Images with captions"),
)
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
OWN_LICENSES = {"shapes": "apache-2.0", "referring-shapes": "apache-2.0"}


def push_dataset(
    specification: str,
    repo_id: str,
    *,
    license_name: str | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    private: bool = False,
    tag: str | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
    **reading: Any,
) -> dict[str, Any]:
    """Publishes a dataset on the Hub as parquet shards with a card.

    Args:
        specification: See `hfseg.data.specs`.
        repo_id: Owner and name on the Hub.
        license_name: Of the data, in the Hub's spelling; needed for all but `shapes`, which is ours.
        dry_run: New folder for what would be uploaded; then nothing is.
        splits: Names; None: all that there are.
        private: Whether a new repository is hidden from others.
        tag: Name of this revision.
        max_shard_size: Bytes of images per shard.
        **reading: As `hfseg.data.parquet.write_parquet`: `kind`, `tasks`, `on_error` and settings of the reader.

    Returns:
        The plan, `rows` by split, and `url` (None if nothing was uploaded).

    Raises:
        PublishingError: The license is missing, the folder exists, or the Hub refuses.
        FileNotFoundError, ValueError: The dataset cannot be read.
    """
    check_repo_id(repo_id)
    check_tag(tag)
    license_name = license_name or OWN_LICENSES.get(parse_spec(specification).name)
    if license_name is None:
        raise PublishingError(
            "The license of the data is missing: give --license NAME as the Hub spells it, e.g. cc-by-4.0, or other."
        )
    token = None if dry_run is not None else find_token()
    if token is not None:
        check_reachable()
    place = Path(tempfile.mkdtemp(prefix="hfseg-push-")) if dry_run is None else Path(dry_run)
    if dry_run is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise PublishingError(f"--dry_run {place} exists and is not empty: give a new folder.")
    try:
        written = write_parquet(specification, place, splits, max_shard_size=max_shard_size, **reading)
        sheet = examples_image(written)
        if sheet is not None:
            sheet.save(place / "examples.png")
        write_text(place / "README.md", dataset_card(written, repo_id, license_name, sheet is not None))
        plan = make_plan(place, repo_id, "Upload dataset with hfseg", tag, private)
        url = None if token is None else upload(place, plan, token, repo_type="dataset")
        return {**plan.to_dict(), "text": plan.to_text(), "rows": written.rows, "url": url}
    finally:
        if dry_run is None:
            shutil.rmtree(place, ignore_errors=True)


def dataset_card(written: WrittenDataset, repo_id: str, license_name: str, has_image: bool) -> str:
    """The card of a dataset: metadata for the Hub and for `datasets`, classes with counts, and how to load it.

    Raises:
        ValueError: The Hub would not accept the metadata.
    """
    import datasets

    _, tags, about = next(entry for entry in TASKS if entry[0] in written.features)
    total = sum(written.rows.values())
    info = datasets.DatasetInfo(features=written.features)
    info.splits = datasets.SplitDict(
        {
            split: datasets.SplitInfo(split, num_bytes=written.bytes[split], num_examples=rows)
            for split, rows in written.rows.items()
        }
    )
    info.download_size = info.dataset_size = sum(written.bytes.values())
    described = info._to_yaml_dict() | ({"description": written.description_text} if written.description else {})
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in written.rows]
    metadata = {
        "license": license_name,
        "task_categories": tags,
        "size_categories": [next((name for limit, name in SIZES if total < limit), "n>1M")],
        "pretty_name": repo_id.partition("/")[2],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": described,
    }
    first = next(iter(written.rows))
    lines = [f"# {repo_id.partition('/')[2]}", "", f"{about}.", ""]
    lines += ["![The first samples](examples.png)", ""] if has_image else []
    lines += ["| split | rows | bytes |", "|---|---|---|"]
    lines += [f"| {split} | {rows:,} | {written.bytes[split]:,} |" for split, rows in written.rows.items()]
    lines += ["", "## Use", "", "```python", "import datasets", ""]
    lines += [f'dataset = datasets.load_dataset("{repo_id}", split="{first}")', "print(dataset.features)", "```", ""]
    lines += [f"With hfseg: `hfseg train --recipe RECIPE --data {repo_id} --output_dir model`.", ""]
    lines += _class_table(written)
    lines += ["## Columns", "", *(f"- `{name}`: {_feature_text(value)}" for name, value in written.features.items())]
    text = f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n" + "\n".join(lines) + "\n"
    DatasetCard(text)  # raises if the block cannot be read
    return text


def _class_table(written: WrittenDataset) -> list[str]:
    if not written.class_names:
        return []
    counted = "objects" if written.counts_objects else "images that show it"
    head = ["class", *(f"{counted}, {split}" for split in written.rows)]
    lines = ["## Classes", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for class_id, name in written.class_names.items():
        counts = [f"{written.samples_of_class[split][class_id]:,}" for split in written.rows]
        lines.append(f"| {name.replace('|', '/')} | {' | '.join(counts)} |")
    return [*lines, ""]


def _feature_text(feature: Any) -> str:
    inner = getattr(feature, "feature", None)
    if inner is not None:
        if isinstance(inner, dict):
            return f"list of {{{', '.join(inner)}}}"
        return f"list of {_feature_text(inner)}"
    return {"Image": "image", "ClassLabel": "class"}.get(type(feature).__name__, getattr(feature, "dtype", "value"))


def examples_image(written: WrittenDataset) -> Image.Image | None:
    """The first samples with their labels drawn on them, side by side; None where nothing is to be drawn."""
    drawn = [_drawn(row, written) for row in written.shown]
    return image_grid(drawn, len(drawn)) if drawn else None


def _decoded(cell: dict[str, Any]) -> Image.Image:
    with Image.open(io.BytesIO(cell["bytes"])) as image:
        image.load()
        return image


def _drawn(row: dict[str, Any], written: WrittenDataset) -> Image.Image:
    """A row's image with its label."""
    names = written.class_names
    if "target_format" in row:
        pair = [_decoded(cell[0] if isinstance(cell, list) else cell) for cell in (row["input"], row["target"])]
        return side_by_side(pair, [row["task"], "target"], minimum_side=256)
    if "spacing" in row:
        gray = np.asarray(row["image"], dtype=np.float32)[len(row["image"]) // 2]
        low, high = np.percentile(gray, (1, 99))
        pixels = (np.clip((gray - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
        labels = np.asarray(_decoded(row["mask"])).astype(np.int32)
        ignored = int(written.description.get("ignore_index", 255))
        return overlay_semantic(
            np.repeat(pixels[..., None], 3, -1), np.where(labels == 0, ignored, labels), names, ignored
        )
    image = to_rgb(_decoded(row["image"]))
    if "segments_info" in row:
        return overlay(image, to_id_map(_decoded(row["segmentation"])), row["segments_info"], names)
    if "segmentation_map" in row:
        void = int(written.description.get("ignore_index", 255))
        return overlay_semantic(image, to_id_map(_decoded(row["segmentation_map"])), names, void)
    if "expressions" in row:
        mask = (to_id_map(_decoded(row["mask"])) != 0).astype(np.int32)
        segment = [{"id": 1, "category_id": 0, "label": row["expressions"][0]}]
        return overlay(image, mask, segment, None)
    if "masks" in row:
        masks = masks_of({"masks": row["masks"], "image": image})
        numbers = np.zeros(image.shape[:2], dtype=np.int32)
        for index in np.argsort([-int(mask.sum()) for mask in masks]):  # the small ones on top
            numbers[masks[index]] = index + 1
        segments = [{"id": index + 1, "category_id": index} for index in range(len(masks))]
        return overlay(image, numbers, segments, draw_labels=False)
    return Image.fromarray(image)
