# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics as `evaluate.Metric` classes that stream and merge; each says what it averages over. No model is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..files.lazy_names import lazy_names

# What type checkers and editors see; a test compares it with the table.
if TYPE_CHECKING:
    from .cityscapes_ap import CityscapesAP as CityscapesAP
    from .dice import Dice as Dice
    from .froc import FROC as FROC
    from .froc import Finding as Finding
    from .froc import find_candidates as find_candidates
    from .froc import find_nodules as find_nodules
    from .mask_ap import MaskAP as MaskAP
    from .mean_iou import MeanIoU as MeanIoU
    from .oracle_iou import OracleIoU as OracleIoU
    from .panoptic_quality import PanopticQuality as PanopticQuality
    from .referring_segmentation import ReferringSegmentation as ReferringSegmentation
    from .segmentation_covering import SegmentationCovering as SegmentationCovering
    from .streaming import StreamingMetric as StreamingMetric
    from .surface_distance import SurfaceDistance as SurfaceDistance
    from .surface_distance import surface_distances as surface_distances

_EXPORTS = {
    "CityscapesAP": "cityscapes_ap",
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


if not TYPE_CHECKING:  # else every name would be one that exists, of type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)
