# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of example inputs below the tabs of the app, for the models that come with the package."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .examples import Example, examples, examples_for

__all__ = ["example_rows", "is_example", "models_for"]


@functools.cache
def _digests() -> frozenset[str]:
    files = [path for example in examples() for path in (example.path, *example.pair)]
    return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def is_example(path: str | Path) -> bool:
    """Whether a file is one of the package's examples, which stay on the server when a visit ends."""
    file = Path(path)
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() in _digests()


def models_for(example: Example, models: Sequence[Any]) -> list[str]:
    """Names of the models to ask about an example: those trained on its dataset, or else all of its task."""
    able = [model for model in models if example in examples_for(model.predictor)]
    trained = [model.name for model in able if model.predictor.folder.resolve().name.endswith(f"-{example.data}")]
    return trained or [model.name for model in able]


def example_rows(
    models: Sequence[Any],
    menu: Any,
    inputs: Sequence[Any],
    row: Callable[[Example], list[Any]],
    shipped: bool,
    volumes: bool,
) -> Any:
    """Adds the examples that a tab's models can be asked about; none for models of the user's own.

    Args:
        models: Loaded models of the tab.
        menu: Of these models; an example chooses one that was trained on its dataset.
        inputs: Components that an example fills.
        row: What it fills them with.
        shipped: Whether these are models of the package.
        volumes: Whether the tab takes volumes, or else images.

    Returns:
        The event of an example that fills the inputs, or None.
    """
    offered = [example for model in models for example in examples_for(model.predictor)] if shipped else []
    fitting = list({example.name: example for example in offered if example.is_volume == volumes}.values())
    if not fitting:
        return None
    rows = [row(example) for example in fitting]
    able = [models_for(example, models) for example in fitting]
    shown = gr.Dataset(
        components=list(inputs),
        samples=rows,
        # Images show themselves.
        sample_labels=[example.path.name for example in fitting] if volumes else None,
        label="Examples: " + "; ".join(f"{example.name}, {example.about}" for example in fitting),
        type="index",
        elem_classes="hfseg-examples",
    )

    def fill(index: int, name: str) -> list[Any]:
        """Plain values: `gr.Examples` would update the fields, and lose what is changed about them."""
        return [name if name in able[index] else able[index][0], *rows[index]]

    return shown.click(fill, [shown, menu], [menu, *inputs], show_progress="hidden", api_visibility="private")
