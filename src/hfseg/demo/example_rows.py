# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of example inputs below the tabs of the app, for the models that come with the package."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .examples import Example, examples, examples_for

__all__ = ["example_rows", "is_example"]


@functools.cache
def _digests() -> frozenset[str]:
    files = [path for example in examples() for path in (example.path, *example.pair)]
    return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def is_example(path: str | Path) -> bool:
    """Whether a file is one of the package's examples, which stay on the server when a visit ends."""
    file = Path(path)
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() in _digests()


def example_rows(
    models: Sequence[Any], inputs: Sequence[Any], row: Callable[[Example], list[Any]], shipped: bool, volumes: bool
) -> None:
    """Adds the examples that a tab's models can be asked about; none for models of the user's own.

    Args:
        models: Loaded models of the tab.
        inputs: Components that an example fills.
        row: What it fills them with.
        shipped: Whether these are models of the package.
        volumes: Whether the tab takes volumes, or else images.
    """
    offered = [example for model in models for example in examples_for(model.predictor)] if shipped else []
    fitting = {example.name: example for example in offered if example.is_volume == volumes}
    if not fitting:
        return
    rows = [row(example) for example in fitting.values()]
    shown = gr.Dataset(
        components=list(inputs),
        samples=rows,
        sample_labels=[f"{example.name}: {example.about}" for example in fitting.values()],
        label="Examples of the package",
        type="index",
    )

    def fill(index: int) -> Any:
        """Plain values: `gr.Examples` would update the fields, and lose what is changed about them."""
        return rows[index] if len(inputs) > 1 else rows[index][0]

    shown.click(fill, shown, list(inputs), show_progress="hidden", api_visibility="private")
