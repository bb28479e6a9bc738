# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files below a folder, in a fixed order: linked folders are followed, loops are not, and only regular files count."""

import logging
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["list_files", "list_folders"]

logger = logging.getLogger(__name__)


def list_files(
    folder: "str | os.PathLike[str]", suffixes: Collection[str] | None = None, hidden: bool = False
) -> list[Path]:
    """Lists the files at any depth below a folder, sorted by path.

    Linked files and folders are taken like others; a link to a folder that contains it is passed over.

    Args:
        folder: Where to look.
        suffixes: Endings such as `.png`, in lower case; None takes every file.
        hidden: Whether to take files and folders whose name begins with a dot.

    Raises:
        ValueError: A file of these endings is a pipe or device, which could not be read to an end.
    """
    wanted = None if suffixes is None else frozenset(suffixes)
    found = []
    for path, status in _walk(Path(folder), hidden, ()):
        if wanted is not None and path.suffix.lower() not in wanted:
            continue
        if status is None:
            logger.warning("%s is a link to nothing, and is left out.", path)
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no regular file but a pipe, socket or device; move it elsewhere.")
        found.append(path)
    return sorted(found)


def list_folders(folder: "str | os.PathLike[str]", hidden: bool = False) -> list[Path]:
    """Lists the folders directly in a folder, linked ones too, sorted by path."""
    return sorted(path for path in Path(folder).iterdir() if path.is_dir() and (hidden or path.name[0] != "."))


def _walk(
    folder: Path, hidden: bool, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Path, os.stat_result | None]]:
    """Everything that is no folder, with its status (None: a link to nothing); `above` are the folders on the way."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except FileNotFoundError:  # as of pathlib: nothing is there
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in entries:
        if path.name.startswith(".") and not hidden:
            continue
        try:
            status = path.stat()
        except OSError:  # a link to nothing, or to itself
            yield path, None
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, hidden, (*above, here))
        else:
            yield path, status
