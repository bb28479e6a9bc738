# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring datasets in the referring schema: RefCOCO, RefCOCO+, RefCOCOg, the CRIS authors' LMDB, and JSON lists.

Official layout (the REFER release), with the root of all of them as `root`:

    refcoco/refs(unc).p  refcoco/refs(google).p  refcoco/instances.json      likewise refcoco+ (unc), and
    refcocog/refs(umd).p  refcocog/refs(google).p  refcocog/instances.json
    images/train2014/ or images/mscoco/images/train2014/ or train2014/       COCO's images

An item is one referent: `{"image": (H, W, 3) uint8, "mask": (H, W) uint8 0 or 255, "expressions": [str], "ref_id"}`.
Pickles are read without executing anything: only plain containers and scalars are accepted.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...files.images import FORMATS
from ...results.run_lengths import decode_segmentation
from .coco import CORRECT, check_inside
from .images import open_label, read_image, to_rgb
from .samples import check_unique, listing, read_json, say_what_is_nothing

__all__ = ["REFER_SPLITS", "ReferDataset", "ReferLmdbDataset", "load_refer", "load_refer_json", "read_plain_pickle"]

# Dataset and partition -> splits.
REFER_SPLITS = {
    ("refcoco", "unc"): ("train", "val", "testA", "testB"),
    ("refcoco", "google"): ("train", "val", "test"),
    ("refcoco+", "unc"): ("train", "val", "testA", "testB"),
    ("refcocog", "umd"): ("train", "val", "test"),
    ("refcocog", "google"): ("train", "val"),
}
_DEFAULT_PARTITION = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that finds no class or function: what is left are containers, strings, bytes and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only plain containers and scalars are read")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside")


def read_plain_pickle(content: bytes, name: str) -> Any:
    """Reads a pickle of plain containers and scalars; byte strings of Python 2 become text.

    Raises:
        ValueError: If it is damaged or asks for anything else; nothing is executed.
    """
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(f"{name} is not a pickle of plain containers: {error}") from error


@dataclasses.dataclass(frozen=True)
class Referent:
    """Where one referent's image, mask and expressions are.

    Attributes:
        ref_id: Its id.
        image: Path of the image.
        expressions: Its sentences.
        mask: Path of a mask, a COCO run-length code, or polygons.
        size: (height, width) of the image that polygons were drawn on, where it is known.
    """

    ref_id: str
    image: Path
    expressions: tuple[str, ...]
    mask: Any
    size: tuple[int, int] | None = None


class ReferDataset(torch.utils.data.Dataset):
    """Map-style dataset of referents.

    Overlapping polygons of one object are joined, 255 inside. (The authors' preparation adds them, which gives 254
    where two overlap: in training a difference of 1/255.)

    Args:
        referents: What there is.
        name: Of the dataset, for messages.
    """

    schema = "referring"

    def __init__(self, referents: Sequence[Referent], name: str) -> None:
        if not referents:
            raise ValueError(f"{name} has 0 usable referents")
        self.referents, self.name = list(referents), name

    def __len__(self) -> int:
        return len(self.referents)

    def sample_id(self, index: int) -> str:
        """Id of a referent."""
        return self.referents[index].ref_id

    def image_file(self, index: int) -> Path:
        """File of a referent's image."""
        return self.referents[index].image

    def __getitem__(self, index: int) -> dict[str, Any]:
        referent = self.referents[index]
        where = f"{self.name}: referent {referent.ref_id}"
        shape = referent.mask
        if isinstance(shape, Path):
            mask = read_mask(shape)
            image = read_image(referent.image, mask.shape, shape)
            size = image.shape[:2]
        else:
            stated = shape.get("size") if isinstance(shape, Mapping) else referent.size
            drawn_on = (stated[0], stated[1]) if isinstance(stated, (list, tuple)) and len(stated) == 2 else None
            image = read_image(referent.image, drawn_on, labeled=True)  # polygons may not say what they were drawn on
            size = image.shape[:2]
            try:
                mask = decode_segmentation(shape, size)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        if not mask.any():
            say_what_is_nothing(Path(self.name), [f"referent {referent.ref_id} in {referent.image}"], 1)
        if mask.shape != size:
            raise ValueError(f"{where}: the mask has size {mask.shape}, the image {size} (height, width)")
        return {
            "image": image,
            "mask": (mask != 0).astype(np.uint8) * np.uint8(255),
            "expressions": list(referent.expressions),
            "ref_id": referent.ref_id,
        }


def read_mask(path: Path) -> np.ndarray:
    """Mask of an image file; any value but 0 is inside.

    Shape:
        (H, W), bool.
    """
    return inside_of(open_label(path), str(path))


def inside_of(image: Image.Image, name: str) -> np.ndarray:
    """Pixels of a mask that are not 0, or not black.

    Raises:
        ValueError: The mask is partly transparent, so that it is not clear what is inside.

    Shape:
        (H, W), bool.
    """
    values = np.asarray(image)
    if values.ndim == 2:
        return values != 0
    if image.mode == "PA" or values.shape[2] in (2, 4):
        if (values[..., -1] != 255).any():
            raise ValueError(f"{name} is a mask with transparency, and what is inside is not clear; save it as gray")
        values = values[..., :-1]
    return np.asarray(values.any(axis=-1))


def _sentences(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = entry.get("expressions", entry.get("sentences", entry.get("sents")))
    texts = [given] if isinstance(given, str) else list(given or [])
    texts = [text.get("sent", text.get("raw")) if isinstance(text, Mapping) else text for text in texts]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where} has no expressions, or empty ones: {texts!r:.200}")
    return tuple(text.strip() for text in texts)


def load_refer(
    root: str | Path, name: str = "refcoco", split: str = "train", partition: str | None = None
) -> ReferDataset:
    """RefCOCO, RefCOCO+ or RefCOCOg from the official files.

    Args:
        root: Folder that holds `refcoco`, `refcoco+` and `refcocog`, and the images.
        name: One of these.
        split: train, val, testA, testB or test, as the partition has.
        partition: unc or google for RefCOCO, unc for RefCOCO+, umd (default) or google for RefCOCOg.

    Raises:
        FileNotFoundError: Names all that is missing.
        ValueError: For an unknown name, split or partition, and damaged or contradictory files.
    """
    root = Path(root)
    split = {"validation": "val"}.get(split, split)
    partition = partition or _DEFAULT_PARTITION.get(name, "")
    if (name, partition) not in REFER_SPLITS:
        raise ValueError(
            f"{name!r} ({partition}) is not known; must be one of {', '.join(map(' '.join, REFER_SPLITS))}"
        )
    if split not in REFER_SPLITS[name, partition]:
        raise ValueError(f"{name} ({partition}) has no split {split!r}: {', '.join(REFER_SPLITS[name, partition])}")
    refs_file, instances_file = root / name / f"refs({partition}).p", root / name / "instances.json"
    folders = [root / path for path in ("images/train2014", "images/mscoco/images/train2014", "train2014")]
    images = next((folder for folder in folders if folder.is_dir()), None)
    missing = [str(file) for file in (refs_file, instances_file) if not file.is_file()]
    missing += [] if images is not None else [f"{folders[0]}/ (COCO's images)"]
    if missing:
        raise FileNotFoundError(f"{root} is not a complete {name}: missing are {', '.join(missing)}")
    assert images is not None
    refs = read_plain_pickle(refs_file.read_bytes(), str(refs_file))
    return _joined(refs, read_json(instances_file), split, images, f"{name} ({partition}, {split})")


def _joined(refs: Any, instances: Any, split: str | None, images: Path, name: str) -> ReferDataset:
    """Referents of REFER's list, with images and outlines of COCO's."""
    if not isinstance(refs, list) or not isinstance(instances, dict):
        raise ValueError(f"{name}: refs must be a list and instances a JSON object")
    images_of, annotations_of = instances.get("images", []), instances.get("annotations", [])
    check_unique([image["id"] for image in images_of], "image id", Path(name))
    check_unique([annotation["id"] for annotation in annotations_of], "annotation id", Path(name))
    files = {image["id"]: image["file_name"] for image in images_of}
    sizes = {i["id"]: (i["height"], i["width"]) for i in images_of if "height" in i and "width" in i}
    outlines = {annotation["id"]: annotation for annotation in annotations_of}
    referents = []
    for ref in refs:
        if split is not None and ref.get("split") != split:
            continue
        where = f"{name}: referent {ref.get('ref_id')}"
        if ref["ann_id"] not in outlines or ref["image_id"] not in files:
            raise ValueError(f"{where} names annotation {ref['ann_id']} of image {ref['image_id']}, which is not there")
        outline = outlines[ref["ann_id"]]["segmentation"]
        size = sizes.get(ref["image_id"])
        check_inside(files[ref["image_id"]], images, images, Path(name), CORRECT)
        photo = images / files[ref["image_id"]]
        referents.append(Referent(str(ref["ref_id"]), photo, _sentences(ref, where), outline, size))
    absent = sorted({str(one.image) for one in referents if not one.image.is_file()})
    if absent:
        raise FileNotFoundError(f"{len(absent)} images of {name} are missing: {listing(absent)}")
    return ReferDataset(referents, name)


def load_refer_json(
    file: str | Path, split: str | None = None, images: str | Path | None = None, allow_outside: bool = False
) -> ReferDataset:
    """Referents of a JSON list (or one JSON object per line), for one's own data.

    An entry has `image` or `file_name` (a path from the folder of images), `expressions` (or `sentences`, as in
    ReferIt's and REFER's files), a mask as `mask` (path of an image) or `segmentation` (COCO polygons or run lengths),
    and optionally `ref_id` and `split`.

    Args:
        file: The JSON.
        split: Entries of this split only; None takes all.
        images: Folder of images and masks; default: that of the file.
        allow_outside: Whether names of images and masks may lead out of that folder.

    Raises:
        FileNotFoundError: If the file, images or masks are missing.
        ValueError: If it is damaged, an entry is incomplete, or a name leads out of the folder.
    """
    file = Path(file)
    folder = file.parent if images is None else Path(images)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if file.suffix == ".jsonl":
        lines = file.read_text(encoding="utf-8").splitlines()
        try:
            entries = [json.loads(line) for line in lines if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is not one JSON object per line: {error}") from error
    else:
        entries = read_json(file)
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError(f"{file} is not a list of objects")
    referents = []
    for position, entry in enumerate(entries):
        if split is not None and entry.get("split") != split:
            continue
        where = f"{file}: entry {position}"
        photo = entry.get("image", entry.get("file_name"))
        mask = folder / entry["mask"] if entry.get("mask") else entry.get("segmentation")
        if not isinstance(photo, str) or not mask:
            raise ValueError(f"{where} needs `image`, and `mask` or `segmentation`; it has {sorted(entry)}")
        named = [photo, *([str(entry["mask"])] if entry.get("mask") else [])]
        for name in [] if allow_outside else named:
            check_inside(name, folder, folder, file)
        ref_id = str(entry.get("ref_id", position))
        referents.append(Referent(ref_id, folder / photo, _sentences(entry, where), mask))
    needed = [one.image for one in referents] + [one.mask for one in referents if isinstance(one.mask, Path)]
    absent = sorted({str(path) for path in needed if not path.is_file()})
    if absent:
        raise FileNotFoundError(f"{len(absent)} files named by {file} are missing: {listing(absent)}")
    return ReferDataset(referents, str(file))


# A process may open an LMDB only once, and must not use one that its parent opened.
_ENVIRONMENTS: dict[tuple[int, str], Any] = {}


def _environment(file: Path) -> Any:
    """Opens an LMDB for this process."""
    place = (os.getpid(), str(file.resolve()))
    if place not in _ENVIRONMENTS:
        try:
            import lmdb
        except ImportError as error:
            raise ImportError("LMDB files need the package lmdb; install it with: pip install 'hfseg[lmdb]'") from error
        try:
            _ENVIRONMENTS[place] = lmdb.open(
                str(file), subdir=file.is_dir(), readonly=True, lock=False, readahead=False
            )
        except lmdb.Error as error:
            raise ValueError(f"{file} is not a readable LMDB: {error}") from error
    return _ENVIRONMENTS[place]


class ReferLmdbDataset(torch.utils.data.Dataset):
    """The CRIS authors' LMDB: one file per split, a pickled dictionary per referent.

    Args:
        file: `train.lmdb`, `val.lmdb`, ...
        mask_root: Folder of `<seg_id>.png`, from which the authors read the truth of validation and test; None takes
            the masks inside.

    Raises:
        ImportError: Without the package lmdb.
        FileNotFoundError, ValueError: If the file is missing, or was written by pyarrow's old serialization.
    """

    schema = "referring"

    def __init__(self, file: str | Path, mask_root: str | Path | None = None) -> None:
        self.file, self.mask_root = Path(file), None if mask_root is None else Path(mask_root)
        if not self.file.exists():
            raise FileNotFoundError(f"there is no LMDB {self.file}")
        self.length = int(self._read(b"__len__"))
        self.keys = list(self._read(b"__keys__"))
        if self.length < 1 or len(self.keys) != self.length:
            raise ValueError(f"{self.file} says {self.length} referents and lists {len(self.keys)} keys")

    def _read(self, key: bytes) -> Any:
        with _environment(self.file).begin() as transaction:
            content = transaction.get(key)
        if content is None:
            raise ValueError(f"{self.file} has no entry {key!r}; it is not an LMDB of the CRIS authors' script")
        return read_plain_pickle(content, f"{self.file}: entry {key!r} (if pyarrow wrote it, write it again by pickle)")

    def __len__(self) -> int:
        return self.length

    def sample_id(self, index: int) -> str:
        """Key of a referent."""
        key = self.keys[index]
        return key.decode() if isinstance(key, bytes) else str(key)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.length <= index < self.length:
            raise IndexError(f"referent {index} of {self.length}")
        key = self.keys[index]
        entry = self._read(key if isinstance(key, bytes) else str(key).encode())
        with Image.open(io.BytesIO(as_bytes(entry["img"])), formats=FORMATS) as photo:
            image = to_rgb(photo)
        if self.mask_root is not None:
            mask = read_mask(self.mask_root / f"{entry['seg_id']}.png").astype(np.uint8) * np.uint8(255)
        else:
            with Image.open(io.BytesIO(as_bytes(entry["mask"])), formats=FORMATS) as drawn:
                mask = np.asarray(drawn.convert("L"))
        where = f"{self.file}: referent {index}"
        if mask.shape != image.shape[:2]:
            raise ValueError(f"{where}: the mask has size {mask.shape}, the image {image.shape[:2]} (height, width)")
        return {
            "image": image,
            "mask": mask,
            "expressions": list(_sentences(entry, where)),
            "ref_id": str(entry["seg_id"]),
        }


def as_bytes(content: Any) -> bytes:
    """Undoes the reading of byte strings as text."""
    return content.encode("latin1") if isinstance(content, str) else bytes(content)
