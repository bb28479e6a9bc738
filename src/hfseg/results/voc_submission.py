# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Results of `hfseg predict` as the test server of Pascal VOC 2012 takes them.

The development kit (Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section
3.3) wants one 8-bit palette PNG per image, with class ids 0 (background) to 20, at
`results/VOC2012/Segmentation/comp6_test_cls/<id>.png` of an archive; comp5 is for models trained on VOC's data alone.
"""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files.label_names import PASCAL_VOC
from ..files.writing import replacing

__all__ = ["class_map", "voc_palette", "write_voc_submission"]

COMPETITIONS = ("comp5", "comp6")


def voc_palette(count: int = 256) -> np.ndarray:
    """Colors of VOC's label images: bits 0, 3, 6, ... of a class id are the high bits of red, and so on.

    Shape:
        (count, 3), uint8.

    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    ids = np.arange(count)
    colors = np.zeros((count, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def class_map(folder: Path, name: str) -> np.ndarray:
    """Class ids of VOC of one image, from the files that `hfseg predict --subtask semantic` wrote.

    Args:
        folder: Of the results.
        name: Of the image, without ending.

    Shape:
        (H, W), uint8; what no segment covers is background.

    Raises:
        FileNotFoundError: There is no result of that image.
        ValueError: Its classes are not VOC's.
    """
    record, ids = folder / f"{name}.json", folder / f"{name}_ids.png"
    if not record.is_file() or not ids.is_file():
        raise FileNotFoundError(f"There is no result of image {name!r} in {folder}; run hfseg predict on all of them.")
    content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    names = {int(category["id"]): str(category["name"]) for category in content["categories"]}
    strange = sorted({label for label in names.values() if label not in PASCAL_VOC})
    if strange:
        raise ValueError(f"{record} has classes that Pascal VOC does not have: {', '.join(strange[:5])}.")
    table = np.zeros(1 + max((entry["id"] for entry in content["annotations"]), default=0), dtype=np.uint8)
    for entry in content["annotations"]:
        table[entry["id"]] = PASCAL_VOC.index(names[int(entry["category_id"])])
    with Image.open(ids) as image:
        return table[np.asarray(image)]


def write_voc_submission(
    folder: str | os.PathLike[str], names: Sequence[str], file: str | os.PathLike[str], competition: str = "comp6"
) -> Path:
    """Writes the archive.

    Args:
        folder: What `hfseg predict --subtask semantic` wrote.
        names: Images of the test split, one per line of `ImageSets/Segmentation/test.txt`.
        file: The archive, `.tar.gz`, `.tgz` or `.zip`.
        competition: `comp5` or `comp6`.

    Raises:
        FileNotFoundError: An image has no result.
        ValueError: Another competition or ending, no names, or classes that are not VOC's.
    """
    target = Path(file)
    if competition not in COMPETITIONS:
        raise ValueError(f"competition is {competition!r}; must be one of {', '.join(COMPETITIONS)}.")
    if not target.name.endswith((".tar.gz", ".tgz", ".zip")):
        raise ValueError(f"The archive must be a .tar.gz, .tgz or .zip, got {target.name}.")
    if not names:
        raise ValueError("The list of images is empty; give those of ImageSets/Segmentation/test.txt.")
    target.parent.mkdir(parents=True, exist_ok=True)
    place = f"results/VOC2012/Segmentation/{competition}_test_cls"
    with replacing(target) as temporary:
        if target.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w") as packed:  # PNG are compressed already
                for name, content in _images(Path(folder), names):
                    packed.writestr(f"{place}/{name}.png", content)
            return target
        with tarfile.open(temporary, "w:gz") as archive:
            for name, content in _images(Path(folder), names):
                entry = tarfile.TarInfo(f"{place}/{name}.png")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return target


def _images(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """PNG files with VOC's palette, by name."""
    palette = voc_palette().ravel().tolist()
    for name in names:
        image, content = Image.fromarray(class_map(folder, name)), io.BytesIO()
        image.putpalette(palette)
        image.save(content, "PNG")
        yield name, content.getvalue()
