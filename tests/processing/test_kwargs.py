# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Settings of image processors are declared once."""

from hfseg.processing.kwargs import SemanticImageProcessorKwargs, UniversalImageProcessorKwargs


def test_settings_are_declared_once():
    semantic, universal = (
        set(c.__annotations__) for c in (SemanticImageProcessorKwargs, UniversalImageProcessorKwargs)
    )
    assert {"size_divisor", "num_labels"} <= semantic < universal
