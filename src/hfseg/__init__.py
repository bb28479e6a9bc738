# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""hfseg: segmentation and dense vision models for the Hugging Face ecosystem.

Importing the package registers its models with transformers: afterwards `AutoModelForUniversalSegmentation`,
`AutoImageProcessor`, `pipeline("image-segmentation")` and the other Auto classes load them by folder or Hub name.

`hfseg.load`, `predict`, `evaluate`, `train`, `from_recipe`, `checkpoint` and `load_dataset` do in Python what the
commands of these names do.
"""

import itertools
import multiprocessing
import sys
from pathlib import PurePath
from typing import Any

from . import auto

__version__ = "0.1.0"

_DOORS = {
    "checkpoint": "tasks:checkpoint",
    "evaluate": "evaluation.runner:evaluate",
    "from_recipe": "training.recipe_models:from_recipe",
    "load": "inference.loading:load",
    "load_dataset": "data.specs:load_dataset",
    "predict": "inference.predict:predict",
    "train": "training.runner:train",
}
_PUBLIC = {**auto.public_names(), **_DOORS}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return auto.load(_PUBLIC[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _is_command_line() -> bool:
    """Whether `hfseg COMMAND` or `python -m hfseg COMMAND` is starting, which registers once it has work to do."""
    if multiprocessing.parent_process() is not None:  # a worker inherits its parent's command line
        return False
    if sys.argv[:1] == ["-m"]:
        words = sys.orig_argv
        return any(pair == ("-m", __name__) for pair in itertools.pairwise(words))
    return bool(sys.argv) and PurePath(sys.argv[0]).name in (__name__, f"{__name__}.exe")


if not _is_command_line():
    auto.register()
