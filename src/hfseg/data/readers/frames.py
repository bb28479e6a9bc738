# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images and clips without a task: what an autoencoder learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...results.visual_formats import FORMATS
from .in_context import InContextCollator, ShapesSource, open_described, scattered
from .in_context_sources import FrameFolderSource, PhotoSource

__all__ = ["FramesCollator", "FramesDataset"]


class FramesDataset(torch.utils.data.Dataset):
    """Images, clips, or both, without a task: what an autoencoder learns from.

    Args:
        source: Source with `image` or `frames`, as of `InContextDataset`, or a list of them; None:
            `ShapesSource(**shapes)`.
        with_targets: Show targets of dense tasks too (depth, normals, segments), by turns with images.
        video_source: Source of clips beside the images of `source`, or a list of them; None: none, or with
            `video_share` `ShapesSource(num_frames=..., **shapes)`.
        video_share: Share of items that are clips, where there are both; default: 0.5.
        bucket: That many neighbors are all images or all clips, so that a batch has equal shapes; with it `shuffle`
            must be off, and the order of the sources is scattered.
        shapes: Arguments of `ShapesSource`; without `video_share`, `num_frames` makes all of them clips.

    Where there are both, images and clips alternate by their share, and there are as many items as it takes to show
    every image and every clip.

    Raises:
        ValueError: `video_share` is not in [0, 1]; a source is described wrongly.
    """

    def __init__(
        self,
        source: Any = None,
        with_targets: bool = True,
        video_source: Any = None,
        video_share: float | None = None,
        bucket: int = 1,
        **shapes: Any,
    ) -> None:
        self.with_targets, self.bucket = with_targets, bucket
        both = video_source is not None or video_share is not None
        self.video_share = (0.5 if video_share is None else float(video_share)) if both else 0.0
        if not 0 <= self.video_share <= 1:
            raise ValueError(f"video_share is {video_share}; it must be between 0 and 1.")
        frames = int(shapes.pop("num_frames", 17)) if both else 0
        self.sources = _several(source, PhotoSource) or [ShapesSource(**shapes)]
        self.video_sources = _several(video_source, FrameFolderSource)
        if both and not self.video_sources:
            self.video_sources = [ShapesSource(num_frames=frames, **shapes)]

    def __len__(self) -> int:
        of_images = sum(map(len, self.sources)) / (1 - self.video_share) if self.video_share < 1 else 0
        of_clips = sum(map(len, self.video_sources)) / self.video_share if self.video_share > 0 else 0
        return math.ceil(max(of_images, of_clips))

    def _place(self, index: int) -> tuple[Any, int]:
        """Source and place of an item: clips are spread evenly among the buckets."""
        number, offset = divmod(index, self.bucket)
        clips = math.floor(number * self.video_share)  # buckets of clips before this one
        is_clip = math.floor((number + 1) * self.video_share) > clips
        sources = self.video_sources if is_clip else self.sources
        count = sum(map(len, sources))
        place = ((clips if is_clip else number - clips) * self.bucket + offset) % count
        if self.bucket > 1:
            place = scattered(place, count)
        for source in sources:
            if place < len(source):
                return source, place
            place -= len(source)
        raise IndexError(f"item {index} of {len(self)}")

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        source, place = self._place(index)
        record = source[place]
        video = "frames" in record
        shown: list[np.ndarray] = [record["frames" if video else "image"]]
        if self.with_targets:
            prefix = "video_" if video else ""
            for key, visual_format in (("depth", "depth"), ("normals", "normal"), ("segmentation", "segmentation")):
                if prefix + key in record:
                    shown.append(FORMATS[visual_format].encode(record[prefix + key]))
        return shown[index % len(shown)]


def _several(source: Any, default: type) -> list[Any]:
    """Opens a source or a list of sources; of None no source."""
    if source is None:
        return []
    given = source if isinstance(source, list) and source and isinstance(source[0], Mapping) else [source]
    return [open_described(one, default) for one in given]


class FramesCollator(InContextCollator):
    """Makes batches of `FramesDataset`.

    Shape:
        pixel_values: (B, 3, T, H, W), float32 in [-1, 1].
    """

    def __call__(self, items: Sequence[Any]) -> dict[str, Any]:
        """Collates images or clips of one shape.

        Raises:
            ValueError: Their shapes differ.
        """
        pixels = [self._pixels(item) for item in items]
        shapes = {tuple(one.shape[1:]) for one in pixels}
        if len(shapes) > 1:
            raise ValueError(
                f"A batch mixes shapes (T, H, W): {sorted(shapes)}. Set data.train.bucket to data.batch_size and "
                "data.shuffle to false, so that images and clips do not meet, and give the collator height and width."
            )
        return {"pixel_values": torch.stack(pixels)}
