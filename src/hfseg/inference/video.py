# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Videos frame by frame: reading and writing, and ids that stay with their objects.

PyAV reads and writes (extra `video`): it is alive and brings its own FFmpeg, where torchcodec needs one that is
installed and torchvision's reader is gone. A folder of images is a video, too. One frame is in memory at a time.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment

from ..files.images import DEFAULT_MAX_PIXELS, load_image
from ..files.writing import replacing
from ..results.segmentation_result import SegmentationResult
from .files import IMAGES, natural_order

__all__ = ["IdTracker", "VideoReader", "VideoWriter"]

FOLDER_RATE = Fraction(10)  # frames per second of a folder of images
# Encoders in order of preference, with what they need: the first plays everywhere, the second is always there.
ENCODERS = (("libx264", {"crf": "18"}), ("libopenh264", {"b": "8000000"}), ("mpeg4", {"qscale": "3"}))


def _need_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError("Videos need PyAV: pip install 'hfseg[video]', or give a folder of frames.") from error
    return av


class VideoReader:
    """Frames of a video file or of a folder of images, in order.

    Args:
        path: File or folder.
        max_pixels: Largest number of pixels of a frame.

    Attributes:
        rate: Frames per second.
        count: Number of frames, as far as the file says; None if it does not.

    Raises:
        FileNotFoundError, ValueError: Not there, no video, no frames, or frames too large.
        ImportError: PyAV is missing.
    """

    def __init__(self, path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.path, self.max_pixels = Path(path), max_pixels
        self.rate, self.count = FOLDER_RATE, None
        self._files: list[Path] | None = None
        if self.path.is_dir():
            self._files = sorted((f for f in self.path.iterdir() if f.suffix.lower() in IMAGES), key=natural_order)
            self._files = [file for file in self._files if not file.name.startswith(".")]
            if not self._files:
                raise ValueError(f"The folder {path} holds no images.")
            self.count = len(self._files)
            return
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no video file {str(path)!r}.")
        with self._open() as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError(f"{str(path)!r} is no video that can be read: its codec is not known.")
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > max_pixels:
                raise ValueError(f"Frames of {path} have {width} x {height} pixels; the limit is {max_pixels} pixels.")
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self.count = stream.frames or None

    def _open(self) -> Any:
        av = _need_av()
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{str(self.path)!r} is no video that can be read: {reason}.") from error
        if not container.streams.video:
            container.close()
            raise ValueError(f"{str(self.path)!r} has no images in it, only other streams.")
        return container

    def __iter__(self) -> Iterator[Image.Image]:
        """Decodes frame by frame.

        Raises:
            ValueError: At a damaged place; frames before it have been given.
        """
        if self._files is not None:
            for file in self._files:
                yield load_image(file, self.max_pixels)
            return
        av = _need_av()
        number = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    if frame.width * frame.height > self.max_pixels:  # sizes may change on the way
                        raise ValueError(
                            f"Frame {number} of {self.path} has {frame.width} x {frame.height} pixels; the limit is "
                            f"{self.max_pixels} pixels."
                        )
                    image = frame.to_image()
                    rotation = int(getattr(frame, "rotation", 0) or 0)
                    yield image.rotate(rotation, expand=True) if rotation % 360 else image
                    number += 1
            except av.error.FFmpegError as error:
                raise ValueError(f"{str(self.path)!r} is damaged after frame {number}: {error}.") from error
        if number == 0:
            raise ValueError(f"{str(self.path)!r} holds no frame that can be decoded.")


class VideoWriter:
    """Writes frames to an mp4 file, which appears when it is complete.

    Args:
        path: `.mp4`.
        rate: Frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self._place = replacing(path)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        self._temporary = self._place.__enter__()
        return self

    def _start(self, size: tuple[int, int]) -> None:
        av = _need_av()
        self._container = av.open(str(self._temporary), "w", format="mp4")
        for name, options in ENCODERS:
            try:
                self._stream = self._container.add_stream(name, rate=self.rate, options=dict(options))
                break
            except (av.error.FFmpegError, ValueError):
                continue
        if self._stream is None:
            raise ValueError("This build of FFmpeg has none of the encoders " + ", ".join(n for n, _ in ENCODERS))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"

    def write(self, image: Image.Image) -> None:
        """Adds a frame; sides become even, as the color format wants, by repeating the last row and column."""
        av = _need_av()
        array = np.asarray(image.convert("RGB"))
        array = np.pad(array, ((0, array.shape[0] % 2), (0, array.shape[1] % 2), (0, 0)), mode="edge")
        if self._container is None:
            self._start((array.shape[1], array.shape[0]))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is not None:
            for packet in self._stream.encode() if kind is None else ():
                self._container.mux(packet)
            self._container.close()
        elif kind is None:
            self._temporary.touch()
        self._place.__exit__(kind, error, trace)


class IdTracker:
    """Gives segments of consecutive frames the same id where they overlap.

    Segments of one class are matched one to one so that the sum of their IoU with the frame before is largest; below
    `minimum_iou` nothing is matched, and the segment gets a new id. A segment that is not seen keeps its place for
    `memory` frames, so that one missed frame does not end it. Ids are never used twice.

    Args:
        minimum_iou: Smallest IoU of one object in two frames; above 0.
        memory: Frames for which a segment that is missing is remembered.

    Example:
        >>> tracker, frame = IdTracker(), torch.tensor([[0, 1, 1, 1]])
        >>> moved = torch.tensor([[0, 0, 2, 2]])
        >>> first = tracker(SegmentationResult(frame, [{"id": 1, "label_id": 7, "score": 0.9}]))
        >>> then = tracker(SegmentationResult(moved, [{"id": 2, "label_id": 7, "score": 0.8}]))
        >>> then["segmentation"].tolist(), then["segments_info"][0]["id"]
        ([[0, 0, 1, 1]], 1)
    """

    def __init__(self, minimum_iou: float = 0.3, memory: int = 5) -> None:
        if not 0 < minimum_iou <= 1 or memory < 0:
            raise ValueError(f"minimum_iou is {minimum_iou} and memory {memory}; must be (0, 1] and 0 or more.")
        self.minimum_iou, self.memory = minimum_iou, memory
        self._next = 1
        self._map: np.ndarray | None = None  # last seen place of every track
        self._classes: dict[int, int] = {}
        self._missing: dict[int, int] = {}

    def __call__(self, result: SegmentationResult) -> SegmentationResult:
        """Renames the segments of the next frame; `track` among their entries says that the id is an object's."""
        ids = result.segmentation.cpu().numpy()
        segments = result.segments_info
        if self._map is None or self._map.shape != ids.shape:
            self._map, self._classes, self._missing = np.zeros_like(ids), {}, {}
        names = self._match(ids, segments)
        table = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.int32)
        for segment, name in zip(segments, names):
            if segment["id"] < len(table):
                table[segment["id"]] = name
        renamed = table[np.maximum(ids, 0)]
        self._remember(renamed, segments, names)
        info = [{**segment, "id": name, "track": name} for segment, name in zip(segments, names)]
        return SegmentationResult(
            torch.from_numpy(renamed),
            info,
            result.packed_masks,
            result.mask_indices if result.packed_masks is not None else None,
            incomplete=result.incomplete,
        )

    def _match(self, ids: np.ndarray, segments: Sequence[dict[str, Any]]) -> list[int]:
        assert self._map is not None
        tracks = list(self._classes)
        names: list[int] = [0] * len(segments)
        if tracks and segments:
            track_ids = np.array([0, *tracks])
            row = np.searchsorted(track_ids, self._map)  # tracks are in rising order
            place = {segment["id"]: index + 1 for index, segment in enumerate(segments)}
            table = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.int64)
            for value, index in place.items():
                if value < len(table):
                    table[value] = index
            column = table[np.maximum(ids, 0)]
            shape = (len(track_ids), len(segments) + 1)
            overlap = np.bincount((row * shape[1] + column).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
            union = overlap.sum(1)[:, None] + overlap.sum(0)[None] - overlap
            iou = (overlap / np.maximum(union, 1))[1:, 1:]
            same = np.array([[self._classes[t] == s["label_id"] for s in segments] for t in tracks])
            iou = np.where(same & (iou >= self.minimum_iou), iou, 0.0)
            for track, segment in zip(*linear_sum_assignment(iou, maximize=True)):
                if iou[track, segment] > 0:
                    names[segment] = tracks[track]
        for index, name in enumerate(names):
            if name == 0:
                names[index], self._next = self._next, self._next + 1
        return names

    def _remember(self, renamed: np.ndarray, segments: Sequence[dict[str, Any]], names: Sequence[int]) -> None:
        assert self._map is not None
        seen = set(names)
        self._missing = {t: self._missing.get(t, 0) + 1 for t in self._classes if t not in seen}
        kept = [track for track, frames in self._missing.items() if frames <= self.memory]
        old = np.where(np.isin(self._map, kept), self._map, 0)
        self._map = np.where(renamed > 0, renamed, old)
        classes = {track: self._classes[track] for track in kept}
        classes.update({name: int(segment["label_id"]) for segment, name in zip(segments, names)})
        self._classes = dict(sorted(classes.items()))
