# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A video from file to files: frame by frame or clip by clip, with ids that stay with their objects."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.writing import write_json
from ..results.incomplete import summary, told_once
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
        answer: mp4 file of the images that an in-context model generated; None for other models.
        frames: Per frame its number and segments, as in `record`.
        cut: Whether frames were left at the end.
        broken: What is wrong with the file after the last frame; None if nothing.
        seconds: Time of everything.
    """

    video: Path
    ids: Path
    record: Path
    answer: Path | None = None
    frames: list[dict[str, Any]] = field(default_factory=list)
    cut: bool = False
    broken: str | None = None
    seconds: float = 0.0

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every object once: id and label."""
        found = {(segment["id"], segment["label"]) for frame in self.frames for segment in frame["segments"]}
        return [{"id": number, "label": label} for number, label in sorted(found)]

    @property
    def incomplete(self) -> str:
        """Of how many frames a limit has cut the results, and why; empty if of none."""
        return summary([frame.get("incomplete", "") for frame in self.frames], "frames")


def _frames(reader: VideoReader, done: SegmentedVideo, max_frames: int | None) -> Iterator[Image.Image]:
    """Gives frames until the end, the limit, or damage, which is noted; damage at once is an error."""
    images, count = iter(reader), 0
    while max_frames is None or count < max_frames:
        try:
            image = next(images, None)
        except ValueError as error:
            if not count:
                raise
            done.broken = str(error)
            return
        if image is None:
            return
        count += 1
        yield image
    with contextlib.suppress(ValueError):  # what lies behind the last frame may be damaged
        done.cut = next(images, None) is not None


def _by_clip(
    frames: Iterator[Image.Image], ask: Callable[[list[Image.Image]], list[Prediction]], length: int, path: Path
) -> Iterator[Prediction]:
    """Asks about clips of `length` frames, one behind the other; the last one reaches back so that it is whole.

    Where an answer has another length than its clip (frame prediction), only the video's last clip is asked about.
    """
    clip: list[Image.Image] = []
    new, alike, size = 0, True, None
    for frame in frames:
        size = size or frame.size
        if frame.size != size:
            raise ValueError(f"Frames of {path} differ in size: {size} and {frame.size} (width, height).")
        clip, new = [*clip, frame][-length:], new + 1
        if new == length and alike:
            answers = ask(clip)
            alike = len(answers) == length
            if alike:
                yield from answers
                new = 0
    if len(clip) < length:
        raise ValueError(
            f"{path} has {len(clip)} frame(s); the clips of the examples have {length}: give a longer one."
        )
    if not alike:
        yield from ask(clip)
    elif new:
        yield from ask(clip)[-new:]


def segment_video(
    reader: VideoReader,
    ask: Callable[..., Any],
    folder: Path,
    stem: str,
    about: dict[str, Any],
    *,
    opacity: float = 0.5,
    track: bool = True,
    max_frames: int | None = None,
    clip_frames: int | None = None,
    progress: Callable[[], Any] | None = None,
) -> SegmentedVideo:
    """Segments a video and writes overlay, id maps and record, of a damaged one for the frames before the damage.

    Args:
        reader: The video.
        ask: Function from a frame to its `Prediction`; with `clip_frames` from that many frames to a list of them.
        folder: For the results.
        stem: Beginning of their names.
        about: What the record says of model and settings.
        opacity: Of the overlay.
        track: Whether ids are made stable over the frames; those of semantic segments are so by themselves.
        max_frames: Stop after so many.
        clip_frames: Length of the clips that the model is asked about; None asks frame by frame.
        progress: Called after every frame.

    Raises:
        ValueError: As `ask`, and as the reader if not even the first frame can be read; a video shorter than a clip.
    """
    done = SegmentedVideo(folder / f"{stem}_overlay.mp4", folder / f"{stem}_ids", folder / f"{stem}.json")
    done.ids.mkdir(exist_ok=True)
    tracker = IdTracker()
    labels: dict[int, str] = {}
    start = time.perf_counter()
    frames = _frames(reader, done, max_frames)
    predictions = map(ask, frames) if clip_frames is None else _by_clip(frames, ask, clip_frames, reader.path)
    with VideoWriter(done.video, reader.rate) as writer, contextlib.ExitStack() as more, told_once("frames"):
        answers: VideoWriter | None = None
        for prediction in predictions:
            if prediction.answer is not None:
                if answers is None:
                    done.answer = folder / f"{stem}_answer.mp4"
                    answers = more.enter_context(VideoWriter(done.answer, reader.rate))
                answers.write(prediction.answer)
            if prediction.result is not None:
                if track:
                    prediction.result = tracker(prediction.result)
                file = done.ids / f"{len(done.frames):06d}.png"
                write_image(file, id_map_image(prediction.result.segmentation))
            labels |= prediction.names
            writer.write(prediction.overlay(opacity, minimum_side=512))
            message = "" if prediction.result is None else prediction.result.incomplete
            cut = {"incomplete": message} if message else {}
            done.frames.append({"frame": len(done.frames), "segments": prediction.entries(), **cut})
            if progress is not None:
                progress()
    done.seconds = time.perf_counter() - start
    categories = [{"id": index, "name": name} for index, name in sorted(labels.items())]
    info = {**about, "frames_per_second": float(reader.rate), "seconds": round(done.seconds, 3)}
    write_json(done.record, {"info": info, "categories": categories, "frames": done.frames})
    return done
