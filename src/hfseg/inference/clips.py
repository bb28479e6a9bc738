# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A video from file to files: frame by frame, with ids that stay with their objects."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.writing import write_json
from .files import id_map_image, write_image
from .predictor import Prediction
from .video import IdTracker, VideoReader, VideoWriter

__all__ = ["SegmentedVideo", "segment_video"]


@dataclass
class SegmentedVideo:
    """What became of a video.

    Attributes:
        video: mp4 file of the overlays.
        ids: Folder of the frames' id maps, 16-bit PNG.
        record: json file with the segments of every frame.
        frames: Per frame its number and segments, as in `record`.
        cut: Whether frames were left at the end.
        broken: What is wrong with the file after the last frame; None if nothing.
        seconds: Time of everything.
    """

    video: Path
    ids: Path
    record: Path
    frames: list[dict[str, Any]] = field(default_factory=list)
    cut: bool = False
    broken: str | None = None
    seconds: float = 0.0

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every object once: id and label."""
        found = {(segment["id"], segment["label"]) for frame in self.frames for segment in frame["segments"]}
        return [{"id": number, "label": label} for number, label in sorted(found)]


def segment_video(
    reader: VideoReader,
    ask: Callable[[Image.Image], Prediction],
    folder: Path,
    stem: str,
    about: dict[str, Any],
    *,
    opacity: float = 0.5,
    track: bool = True,
    max_frames: int | None = None,
    progress: Callable[[], Any] | None = None,
) -> SegmentedVideo:
    """Segments a video and writes overlay, id maps and record, of a damaged one for the frames before the damage.

    Args:
        reader: The video.
        ask: Function from a frame to its prediction.
        folder: For the results.
        stem: Beginning of their names.
        about: What the record says of model and settings.
        opacity: Of the overlay.
        track: Whether ids are made stable over the frames; those of semantic segments are so by themselves.
        max_frames: Stop after so many.
        progress: Called after every frame.

    Raises:
        ValueError: As `ask`, and as the reader if not even the first frame can be read.
    """
    done = SegmentedVideo(folder / f"{stem}_overlay.mp4", folder / f"{stem}_ids", folder / f"{stem}.json")
    done.ids.mkdir(exist_ok=True)
    tracker = IdTracker()
    labels: dict[int, str] = {}
    start = time.perf_counter()
    with VideoWriter(done.video, reader.rate) as writer:
        images = iter(reader)
        while True:
            if max_frames is not None and len(done.frames) >= max_frames:
                with contextlib.suppress(ValueError):  # what lies behind the last frame may be damaged
                    done.cut = next(images, None) is not None
                break
            try:
                image = next(images, None)
            except ValueError as error:  # of reading; a failing prediction fails the whole video
                if not done.frames:
                    raise
                done.broken = str(error)
                break
            if image is None:
                break
            prediction = ask(image)
            if prediction.result is not None:
                if track:
                    prediction.result = tracker(prediction.result)
                file = done.ids / f"{len(done.frames):06d}.png"
                write_image(file, id_map_image(prediction.result.segmentation))
            labels |= prediction.names
            writer.write(prediction.overlay(opacity, minimum_side=512))
            done.frames.append({"frame": len(done.frames), "segments": prediction.entries()})
            if progress is not None:
                progress()
    done.seconds = time.perf_counter() - start
    categories = [{"id": index, "name": name} for index, name in sorted(labels.items())]
    info = {**about, "frames_per_second": float(reader.rate), "seconds": round(done.seconds, 3)}
    write_json(done.record, {"info": info, "categories": categories, "frames": done.frames})
    return done
