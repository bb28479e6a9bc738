# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Optional packages of the room, imported when a file asks for them."""

import importlib
from typing import Any

__all__ = ["need"]


def need(package: str) -> Any:
    """Imports a package of the extra `medical`, or says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"Reading this format needs {package}: pip install 'hfseg[medical]'.") from error
