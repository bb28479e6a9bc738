# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Exported models without export: see `onnx_sessions`."""

import pytest

from hfseg.onnx.model import OnnxModel
from onnx_sessions import Session


@pytest.fixture(scope="module")
def opened():
    """Exported model of a shipped name, kept for the module."""
    kept = {}

    def of(name, candidate_labels=()):
        key = (name, tuple(candidate_labels))
        if key not in kept:
            kept[key] = OnnxModel(Session(name, candidate_labels), name)
        return kept[key]

    return of
