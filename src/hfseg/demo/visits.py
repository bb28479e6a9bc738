# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the server takes, and the files of a visit: noted when they come, removed when it ends."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.context import LocalContext
from gradio.utils import get_upload_folder

from .example_rows import is_example

__all__ = ["KEPT_SECONDS", "Limits", "forget_visit", "note_upload", "visit_folder"]

KEPT_SECONDS = 900  # of results on the server


@dataclass(frozen=True)
class Limits:
    """What the server takes.

    Attributes:
        megabytes: Of an upload.
        pixels: Of an image.
        voxels: Of a volume.
        frames: Of a video; later ones are left out.
        frame_pixels: Of a frame.
        prompts: Points, boxes, expressions or names at once.
    """

    megabytes: int = 64
    pixels: int = 24_000_000
    voxels: int = 100_000_000
    frames: int = 300
    frame_pixels: int = 2_500_000
    prompts: int = 32


def visit_folder(folder: Path, request: Any = None) -> Path:
    """The folder of a visit's files: of the request in progress, unless one is given."""
    request = request if request is not None else LocalContext.request.get(None)
    session = re.sub(r"\W", "", str(getattr(request, "session_hash", None) or "")) or "visit"
    place = folder / session
    place.mkdir(parents=True, exist_ok=True)
    return place


def note_upload(folder: Path, path: str) -> None:
    """Remembers an upload of the visit in progress, in its folder; examples of the package are no uploads."""
    if is_example(path):
        return
    with open(visit_folder(folder) / "uploads.txt", "a", encoding="utf-8") as file:
        file.write(f"{path}\n")


def forget_visit(folder: Path, request: Any = None) -> None:
    """Removes the files of a visit: uploads, results, and the copies that Gradio made of them."""
    from gradio.processing_utils import hash_file

    place, cache = visit_folder(folder, request), Path(get_upload_folder()).resolve()
    for file in [path for path in place.rglob("*") if path.is_file()]:
        if file.name == "uploads.txt":
            for line in file.read_text(encoding="utf-8").splitlines():
                parent = Path(line).resolve().parent
                if parent.parent == cache:  # Gradio gives every upload a folder
                    shutil.rmtree(parent, ignore_errors=True)
        else:
            shutil.rmtree(cache / hash_file(file), ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
