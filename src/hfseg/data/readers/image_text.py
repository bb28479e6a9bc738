# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image-text pairs from shards: WebDataset tars and parquet files, on local disks.

A tar holds files that share a stem: `000017.jpg` with `000017.txt` (or `000017.json` with a `caption` or `text` key). A
parquet file has an image column (bytes, or `datasets`' image struct) and a text column. Either way a pair is found by
its number without reading what comes before: shards stay where they are, only a list of offsets is kept per shard, made
when a shard is first used and at most `open_shards` at a time. Training can thus shuffle, be resumed exactly, and be
shared by any number of processes like with any other dataset. `stream` gives the same shards through `datasets`, for
one pass in order.
"""

from __future__ import annotations

import bisect
import io
import json
import tarfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...files.images import FORMATS
from .images import to_rgb
from .reading import listing

__all__ = ["ImageTextShards", "stream"]

IMAGES = ("jpg", "jpeg", "png", "webp")
TEXTS = ("txt", "json")
TEXT_KEYS = ("text", "caption", "TEXT")
IMAGE_KEYS = ("image", "jpg", "png", "webp", "jpeg")


def find_shards(shards: str | Path | Sequence[str | Path]) -> list[Path]:
    """Lists shard files: of a folder, of a pattern, or as given.

    Raises:
        FileNotFoundError: If there is none.
    """
    if isinstance(shards, (str, Path)):
        path = Path(shards)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".tar", ".parquet"))
        elif path.is_file():
            files = [path]
        else:
            files = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    else:
        files = [Path(file) for file in shards]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise FileNotFoundError(
            f"No image-text shards at {shards!r}{': missing ' + listing(missing) if missing else ''}; give a folder, a "
            "pattern or a list of .tar (WebDataset) or .parquet files."
        )
    wrong = [file.name for file in files if file.suffix not in (".tar", ".parquet")]
    if wrong:
        raise ValueError(f"Shards are .tar or .parquet files, not {listing(wrong)}.")
    return files


class _TarShard:
    """Offsets of the pairs of a tar."""

    def __init__(self, file: Path) -> None:
        self.file = file
        parts: dict[str, dict[str, tuple[int, int]]] = {}
        try:
            with tarfile.open(file, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        folder, slash, base = member.name.rpartition("/")  # a folder's name may hold dots
                        stem, _, extension = base.partition(".")
                        stem = folder + slash + stem
                        parts.setdefault(stem, {})[extension.lower()] = (member.offset_data, member.size)
        except tarfile.TarError as error:
            raise ValueError(
                f"{file} is not a plain tar ({error}); compressed tars cannot be read by offset."
            ) from error
        self.pairs = [(stem, found) for stem, found in parts.items() if found.keys() & {*IMAGES, *TEXTS}]

    def __len__(self) -> int:
        return len(self.pairs)

    def _read(self, place: tuple[int, int]) -> bytes:
        with self.file.open("rb") as handle:
            handle.seek(place[0])
            return handle.read(place[1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        stem, found = self.pairs[index]
        image = next((found[name] for name in IMAGES if name in found), None)
        text: Any = None
        if "txt" in found:
            text = self._read(found["txt"]).decode("utf-8", errors="replace")
        elif "json" in found:
            text = _text_of(json.loads(self._read(found["json"])))
        return {"image": None if image is None else self._read(image), "text": text, "id": stem}


class _ParquetShard:
    """Row groups of a parquet file."""

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet as parquet

        self.file = parquet.ParquetFile(file)
        names = self.file.schema_arrow.names
        self.image = next((name for name in IMAGE_KEYS if name in names), None)
        self.text = next((name for name in TEXT_KEYS if name in names), None)
        if self.image is None or self.text is None:
            raise ValueError(
                f"{file} has the columns {', '.join(names)}; it needs an image ({', '.join(IMAGE_KEYS)}) and a text "
                f"({', '.join(TEXT_KEYS)})."
            )
        groups = self.file.metadata.num_row_groups
        sizes = [self.file.metadata.row_group(group).num_rows for group in range(groups)]
        self.starts = [sum(sizes[:group]) for group in range(groups + 1)]
        self.cached: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        group = bisect.bisect_right(self.starts, index) - 1
        if self.cached[0] != group:
            self.cached = (group, self.file.read_row_group(group, columns=[self.image, self.text]))
        row = self.cached[1].slice(index - self.starts[group], 1).to_pylist()[0]
        image = row[self.image]
        image = image.get("bytes") if isinstance(image, Mapping) else image
        return {"image": image, "text": row[self.text], "id": str(index)}


def _text_of(record: Any) -> Any:
    return next((record[key] for key in TEXT_KEYS if record.get(key)), None) if isinstance(record, Mapping) else None


class ImageTextShards(torch.utils.data.Dataset):
    """Pairs `{"image": (H, W, 3) uint8, "text": str or list}` of shards, by number.

    Args:
        shards: Folder, pattern or list of `.tar` and `.parquet` files.
        counts: Pairs per shard, if known (`counts.json` beside the shards, name to number, is read by itself); else
            every shard is looked through once at the start.
        open_shards: Shards whose offsets are kept.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: If a shard cannot be read, or (of an item) a pair lacks its image or its text.
    """

    def __init__(
        self, shards: str | Path | Sequence[str], counts: Mapping[str, int] | None = None, open_shards: int = 16
    ) -> None:
        self.files = find_shards(shards)
        self.open_shards = max(1, open_shards)
        self._opened: OrderedDict[int, Any] = OrderedDict()
        index_file = self.files[0].parent / "counts.json"
        if counts is None and index_file.is_file():
            counts = json.loads(index_file.read_text(encoding="utf-8"))
        sizes = []
        for number, file in enumerate(self.files):
            known = None if counts is None else counts.get(file.name)
            sizes.append(len(self._shard(number)) if known is None else int(known))
        self.starts = [0]
        for size in sizes:
            self.starts.append(self.starts[-1] + size)
        if self.starts[-1] == 0:
            raise ValueError(f"The shards {listing([str(file) for file in self.files])} hold no pair.")

    def _shard(self, number: int) -> Any:
        if number not in self._opened:
            file = self.files[number]
            self._opened[number] = _TarShard(file) if file.suffix == ".tar" else _ParquetShard(file)
            while len(self._opened) > self.open_shards:
                self._opened.popitem(last=False)
        self._opened.move_to_end(number)
        return self._opened[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict()}  # workers open their own

    def __len__(self) -> int:
        return self.starts[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """Finds the shard of a pair and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        number = bisect.bisect_right(self.starts, index) - 1
        return number, index - self.starts[number]

    def sample_id(self, index: int) -> str:
        """Names a pair for messages."""
        number, row = self.locate(index)
        return f"{self.files[number].name}#{row}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, row = self.locate(index)
        shard = self._shard(number)
        if row >= len(shard):
            raise ValueError(
                f"{self.files[number]} holds {len(shard)} pairs, but counts.json says more: make it again or remove it."
            )
        pair = shard[row]
        return _checked(pair, f"{self.sample_id(index)} ({pair['id']})")


def _checked(pair: Mapping[str, Any], name: str) -> dict[str, Any]:
    from PIL import Image

    texts = [pair["text"]] if isinstance(pair["text"], str) else list(pair["text"] or [])
    texts = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    if pair["image"] is None:
        raise ValueError(f"The pair {name} has no image (.{', .'.join(IMAGES)}): drop it or set data.on_error=skip.")
    if not texts:
        raise ValueError(f"The pair {name} has no text, or an empty one: drop it or set data.on_error=skip.")
    image = pair["image"]
    if isinstance(image, bytes):
        try:
            image = Image.open(io.BytesIO(image), formats=FORMATS)
            image.load()
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"The image of the pair {name} cannot be decoded: {error}") from error
    return {"image": to_rgb(image), "text": texts[0] if len(texts) == 1 else texts}


def stream(shards: str | Path | Sequence[str], shuffle_buffer: int = 0, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Streams pairs in order (or through a shuffle buffer) with `datasets`; pairs without image or text are skipped.

    Yields:
        `{"image": (H, W, 3) uint8, "text": str or list}`.
    """
    import datasets

    files = find_shards(shards)
    kinds = {file.suffix for file in files}
    if len(kinds) > 1:
        raise ValueError("Stream tars and parquet files apart; `ImageTextShards` reads them together.")
    kind = "webdataset" if kinds == {".tar"} else "parquet"
    dataset = datasets.load_dataset(kind, data_files=[str(file) for file in files], split="train", streaming=True)
    if shuffle_buffer:
        dataset = dataset.shuffle(seed=seed, buffer_size=shuffle_buffer)
    for number, row in enumerate(dataset):
        image = next((row[key] for key in IMAGE_KEYS if row.get(key) is not None), None)
        text = row.get("txt") or _text_of(row) or _text_of(row.get("json"))
        if isinstance(image, Mapping):
            image = image.get("bytes")
        try:
            yield _checked({"image": image, "text": text}, str(row.get("__key__", number)))
        except ValueError:
            continue
