# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Writing files so that a kill or a full disk leaves the old one, or none, but never half of one."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["replacing", "write_json", "write_text"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside a file, which takes its place when all went well."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Writes a text file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Any, indent: int = 2) -> Path:
    """Writes a json file in one step."""
    return write_text(path, json.dumps(content, indent=indent) + "\n")
