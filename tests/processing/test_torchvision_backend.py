# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Backends are hooks: nothing else differs between torchvision and Pillow."""

from hfseg.processing.pil_backend import PilPixels
from hfseg.processing.torchvision_backend import TorchvisionPixels

HOOKS = {"resize_images", "normalize_images", "filled", "device_of"}


def own(cls):
    return {name for name, value in vars(cls).items() if callable(value) and not name.startswith("__")}


def test_backends_are_hooks():
    assert own(TorchvisionPixels) == HOOKS
    assert own(PilPixels) == HOOKS | {"resize"}  # of floats, which transformers resizes as 8 bits
