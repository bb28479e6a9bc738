# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Which inputs there are, and what is written of their predictions: every file complete or not at all."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files.writing import replacing, write_json
from ..volumes import is_dicom
from .predictor import Prediction

__all__ = [
    "IMAGES",
    "VIDEOS",
    "VOLUMES",
    "Source",
    "find_sources",
    "id_map_image",
    "natural_order",
    "refuse_results_among_inputs",
    "write_image",
    "write_prediction",
]

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd")
DICOM = (".dcm", ".ima")
LARGEST_ID = 65535  # of a 16-bit PNG


@dataclass(frozen=True)
class Source:
    """One thing to segment.

    Attributes:
        path: Its file or folder.
        kind: "image", "video" or "volume".
        stem: Beginning of the names of its results.
    """

    path: Path
    kind: str
    stem: str


def natural_order(path: Path) -> list[Any]:
    """Sorting key by which frame 10 comes after frame 9."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", path.name)]


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _kind(path: Path) -> str | None:
    suffix = _suffix(path)
    for kind, suffixes in (("image", IMAGES), ("video", VIDEOS), ("volume", (*VOLUMES, *DICOM))):
        if suffix in suffixes:
            return kind
    return None


def _is_slice(path: Path) -> bool:
    """Whether a file is DICOM, by its ending or, under an unknown one, by its content."""
    return _suffix(path) in DICOM or (_kind(path) is None and path.is_file() and is_dicom(path))


def refuse_results_among_inputs(inputs: list[str], folder: Path) -> None:
    """Checks that results do not come to lie in a folder of inputs, where they would be inputs the next time.

    Raises:
        ValueError: An input is the folder of the results.
    """
    for name in inputs:
        if Path(name).is_dir() and folder.resolve() == Path(name).resolve():
            raise ValueError(
                f"--output_dir {folder} is the folder of the inputs: its results would be segmented the next time. "
                f"Name another folder, such as {folder / 'segmented'}."
            )


def find_sources(inputs: list[str], volumes: bool = False, frames: bool = False) -> list[Source]:
    """Lists what is to be segmented.

    Args:
        inputs: Files and folders. Of a folder, all images, videos and volumes directly in it, in natural order; a
            folder of DICOM files is one volume.
        volumes: Whether the model segments volumes.
        frames: Take a folder of images as the frames of one video.

    Raises:
        FileNotFoundError: A path that is not there, or a folder without anything to segment.
        ValueError: A URL, or a file of a kind that is not read.
    """
    found: list[tuple[Path, str]] = []
    for name in inputs:
        if "://" in name or name.startswith("data:"):
            raise ValueError(
                f"Only local files are opened, got the URL {name[:100]!r}. Download it, or give --allow_urls."
            )
        path = Path(name)
        if path.is_dir():
            found += _of_folder(path, volumes, frames)
        elif not path.exists():
            raise FileNotFoundError(f"There is no file or folder {name!r}.")
        else:
            # A file of an unknown name may still be an image; its content decides when it is opened.
            found.append((path, _kind(path) or ("volume" if _is_slice(path) else "image")))
    return [Source(path, kind, name) for (path, kind), name in zip(found, _own_names([path for path, _ in found]))]


def _links_to_nothing(files: list[Path]) -> list[Path]:
    """Links whose file is not there: they fail by name when they are opened, and the others go on."""
    return [file for file in files if file.is_symlink() and not file.exists()]


def _of_folder(path: Path, volumes: bool, frames: bool) -> list[tuple[Path, str]]:
    """What of a folder is to be segmented, with its kind: the folder itself as volume or video, or files in it."""
    files = sorted((file for file in path.iterdir() if not file.name.startswith(".")), key=natural_order)
    lost = _links_to_nothing(files)
    odd = [file for file in files if _kind(file) and not file.is_file() and not file.is_dir() and file not in lost]
    if odd:
        raise ValueError(f"{odd[0]} is no regular file but a pipe, socket or device; move it elsewhere.")
    if any(_is_slice(file) for file in files):
        return [(path, "volume")]
    if frames and any(_kind(file) == "image" for file in files):
        return [(path, "video")]
    readable = [file for file in files if file.is_file()] + lost
    kinds = [(file, _kind(file)) for file in sorted(readable, key=natural_order)]
    listed = [(file, kind) for file, kind in kinds if kind and (volumes or kind != "volume")]
    if not listed:
        known = ", ".join((*IMAGES, *VIDEOS, *(VOLUMES if volumes else ())))
        raise FileNotFoundError(f"The folder {path} holds nothing to segment ({known}).")
    return listed


def _own_names(paths: list[Path]) -> list[str]:
    """A name for every file, no two alike: the stem, where that repeats the file's name, then with a number."""
    stems = [_stem(path) for path in paths]
    repeated = {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else set()
    names: dict[str, None] = {}  # in order
    for path, stem in zip(paths, stems):
        name = path.name if stem in repeated else stem
        number = 2
        while name in names:
            name, number = f"{path.name}-{number}", number + 1
        names[name] = None
    return list(names)


def _stem(path: Path) -> str:
    name = path.resolve().name if path.is_dir() else path.name
    return name[: -len(_suffix(path))] if not path.is_dir() and _suffix(path) else name


def write_image(path: Path, image: Image.Image, compress_level: int = 6) -> Path:
    """Writes an image in one step; level 1 is ten times as fast as 6 for photographs, which hardly shrink."""
    with replacing(path) as temporary:
        image.save(temporary, compress_level=compress_level)
    return path


def id_map_image(segmentation: Any) -> Image.Image:
    """The id map as a 16-bit image.

    Raises:
        ValueError: Ids beyond 65535.

    Shape:
        segmentation: (H, W), integer.
    """
    ids = np.asarray(segmentation)
    if ids.size and int(ids.max()) > LARGEST_ID:
        raise ValueError(f"The segment id {int(ids.max())} does not fit into a 16-bit image ({LARGEST_ID}).")
    return Image.fromarray(np.maximum(ids, 0).astype(np.uint16))


def coco_record(prediction: Prediction, file_name: str, about: dict[str, Any]) -> dict[str, Any]:
    """A prediction in COCO's annotation format, which pycocotools reads; annotation ids are the id map's values."""
    width, height = prediction.image.size
    incomplete = "" if prediction.result is None else prediction.result.incomplete
    cut = {"incomplete": incomplete} if incomplete else {}
    return {
        "info": {**about, "seconds": round(prediction.seconds, 4), **cut},
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "categories": [{"id": index, "name": name} for index, name in sorted(prediction.names.items())],
        "annotations": prediction.entries(),
    }


def write_prediction(
    prediction: Prediction,
    source: Source,
    folder: Path,
    about: dict[str, Any],
    opacity: float = 0.5,
    legend: bool = False,
) -> list[Path]:
    """Writes what an image gave: overlay, id map and COCO json, or the painted answer; returns the files."""
    files = []
    if prediction.answer is not None:
        files.append(write_image(folder / f"{source.stem}_answer.png", prediction.answer))
        decoded = prediction.decoded
        if isinstance(decoded, np.ndarray) and prediction.result is None:
            path = folder / f"{source.stem}_decoded.npy"
            with replacing(path) as temporary, open(temporary, "wb") as stream:
                np.save(stream, decoded, allow_pickle=False)
            files.append(path)
        elif decoded is not None:
            about = {**about, "decoded": None if isinstance(decoded, np.ndarray) else list(decoded)}
    drawn = prediction.overlay(opacity, legend=legend)
    files.append(write_image(folder / f"{source.stem}_overlay.png", drawn, compress_level=1))
    if prediction.result is not None:
        files.append(write_image(folder / f"{source.stem}_ids.png", id_map_image(prediction.result.segmentation)))
    files.append(write_json(folder / f"{source.stem}.json", coco_record(prediction, source.path.name, about)))
    return files
