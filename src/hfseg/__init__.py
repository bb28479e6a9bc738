# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""hfseg: segmentation and dense vision models for the Hugging Face ecosystem.

Importing the package registers its models with transformers: afterwards `AutoModelForUniversalSegmentation`,
`AutoImageProcessor`, `pipeline("image-segmentation")` and the other Auto classes load them by folder or Hub name.
"""

from typing import Any

from . import auto

__version__ = "0.1.0"

_PUBLIC = auto.public_names()
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return auto.load(_PUBLIC[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


auto.register()
