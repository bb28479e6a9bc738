# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics as `evaluate.Metric` classes that stream and merge; each says what it averages over. No model is imported."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Dice": "dice",
    "FROC": "froc",
    "Finding": "froc",
    "find_candidates": "froc",
    "find_nodules": "froc",
    "MaskAP": "mask_ap",
    "MeanIoU": "mean_iou",
    "OracleIoU": "oracle_iou",
    "PanopticQuality": "panoptic_quality",
    "ReferringSegmentation": "referring_segmentation",
    "SegmentationCovering": "segmentation_covering",
    "StreamingMetric": "streaming",
    "SurfaceDistance": "surface_distance",
    "surface_distances": "surface_distance",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used, so that importing hfseg stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
