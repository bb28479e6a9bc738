# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Result types, run lengths and polygons, drawing, visual formats.

Drawing (`drawing`, `grids`, `confusion`) and the formats of dense tasks (`visual_formats`) are imported when used.
"""

from .run_lengths import decode_run_lengths, draw_polygons, encode_run_lengths
from .segment import Segment
from .segment_list import SegmentList
from .segmentation_result import SegmentationResult

__all__ = [
    "Segment",
    "SegmentList",
    "SegmentationResult",
    "decode_run_lengths",
    "draw_polygons",
    "encode_run_lengths",
]
