# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The tabs of the app for videos, and the table of all tabs."""

import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from .. import tasks
from ..inference.clips import segment_video
from ..inference.files import VIDEOS
from ..inference.predictor import SUBTASKS, Options, Predictor, Prompts
from ..inference.video import VideoReader
from ..results.visual_formats import FORMATS
from .answers import refusal
from .place_tab import PlaceTab
from .tabs import INPUT_ERRORS, WORDED, Loaded, _Examples, _Segments, _Tab, _Volumes, _Words
from .visits import Limits, note_upload


class _Videos(_Tab):
    """Videos frame by frame, with ids that stay with their objects."""

    title = "Videos"

    def __init__(self, models: Sequence[Loaded], limits: Limits, folder: Path) -> None:
        # The tab opens with a model that needs no words.
        super().__init__(sorted(models, key=lambda model: model.predictor.task in WORDED), limits, folder)

    def video_settings(self) -> list[Any]:
        """Sliders of the number of frames and the opacity."""
        limit = self.limits.frames
        return [
            gr.Slider(1, limit, min(60, limit), step=1, label="Frames from the beginning"),
            gr.Slider(0, 1, 0.6, step=0.05, label="Opacity"),
        ]

    def video_results(self) -> list[Any]:
        """Fields of the overlay, the status and the files."""
        self.shown = gr.Video(
            label="Result", height=420, interactive=False, autoplay=True, loop=True, elem_classes="hfseg-video-result"
        )
        self.status = gr.Markdown(elem_classes="hfseg-status")
        self.files = gr.Files(label="Download", interactive=False)
        return self.results

    @property
    def results(self) -> list[Any]:
        """Components that an answer fills."""
        return [self.shown, self.status, self.files]

    def build(self) -> None:
        worded = [model for model in self.models.values() if model.predictor.task in WORDED]
        with gr.Row():
            with gr.Column():
                model = self.menu()
                file = gr.File(
                    label=f"Video ({', '.join(VIDEOS[:5])}, ...)", type="filepath", file_types=list(VIDEOS),
                    elem_id="hfseg-video",
                )  # fmt: skip
                words = gr.Textbox(
                    label="Expressions or names of classes, one per line", value="", lines=2, max_length=2000,
                    visible=bool(worded),
                )  # fmt: skip
                kind = gr.Radio(["model's own", *SUBTASKS], value="model's own", label="Kind of segments")
                most, opacity = self.video_settings()
                button = gr.Button("Segment", variant="primary", elem_id="hfseg-video-run")
            with gr.Column():
                results = self.video_results()

        def run(
            model: str, video: str | None, words: str, subtask: str, frames: float, opacity: float,
            progress: Any = gr.Progress(),  # noqa: B008
        ) -> tuple[str, str, list[str]]:  # fmt: skip
            try:
                return self.segment(model, video, words, subtask, int(frames), opacity, progress)
            except INPUT_ERRORS as error:
                raise refusal(error, self.models.get(model)) from error

        self.finish(button.click(run, [model, file, words, kind, most, opacity], results, api_name="videos"))

    def segment(
        self,
        name: str,
        path: str | None,
        text: str,
        subtask: str,
        most: int,
        opacity: float,
        progress: Callable[..., Any] = lambda *_, **__: None,
    ) -> tuple[str, str, list[str]]:
        """Segments a video file.

        Returns:
            Video of the overlays, status, files.

        Raises:
            ValueError: Nothing that can be read; too large; what the model refuses.
        """
        model = self.chosen(name)
        lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
        if len(lines) > self.limits.prompts:
            raise ValueError(f"{len(lines)} lines at once; the limit is {self.limits.prompts}.")
        task = model.predictor.task
        words: dict[str, Any] = {WORDED[task]: lines} if task in WORDED else {}
        chosen = subtask if subtask in SUBTASKS and task in ("universal", "semantic", "open-vocabulary") else None
        return self.written(model, path, Prompts(**words), Options(subtask=chosen), most, opacity, progress)

    def chosen(self, name: str) -> Any:
        """The model of that name.

        Raises:
            ValueError: There is none.
        """
        if name not in self.models:
            raise ValueError(f"There is no model {name!r} here.")
        return self.models[name]

    def written(
        self,
        model: Any,
        path: str | None,
        given: Prompts,
        options: Options,
        most: int,
        opacity: float,
        progress: Callable[..., Any],
    ) -> tuple[str, str, list[str]]:
        """Asks a model about a video file and writes what it says; see `segment`."""
        if not path:
            raise ValueError("Upload a video first.")
        if not 1 <= most <= self.limits.frames:
            raise ValueError(f"{most} frames; the limit is {self.limits.frames}.")
        task = model.predictor.task
        model.predictor.check(given, options)
        where = str(Path(path).parent) + os.sep
        note_upload(self.folder, path)
        room = self.room()
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(path).stem)[:40] or "video"
        about = {"model": model.name, "class": model.predictor.class_name, "task": task}
        seen = 0
        clip_frames = model.predictor.clip_frames(given, options)

        def ask(frames: Any) -> Any:
            with model.lock:  # a frame or clip at a time: others need not wait for the end of the video
                answer = model.predictor if clip_frames is None else model.predictor.answer_clip
                return answer(frames, given, options)

        def count() -> None:
            nonlocal seen
            seen += 1
            progress((seen, min(most, reader.count or most)), unit="frames")

        try:
            reader = VideoReader(path, min(self.limits.frame_pixels, self.limits.pixels))
            done = segment_video(
                reader, ask, room, stem, about, opacity=opacity, track="semantic" not in (options.subtask, task),
                max_frames=most, clip_frames=clip_frames, progress=count,
            )  # fmt: skip
        except INPUT_ERRORS as error:  # the server's own paths are nobody's business
            shutil.rmtree(room, ignore_errors=True)
            raise ValueError(str(error).replace(where, "")) from error
        return self.told(done, reader, "classes" if "semantic" in (options.subtask, task) else "objects", where)

    def told(self, done: Any, reader: VideoReader, what: str, where: str) -> tuple[str, str, list[str]]:
        """Video, status and files of what was written."""
        ids = shutil.make_archive(str(done.ids), "zip", done.ids)
        frames, objects = len(done.frames), len(done.objects)
        rest = f", the first {frames}{f' of {reader.count}' if reader.count else ''}" if done.cut else ""
        found = f"{objects} {what}" if objects or done.answer is not None else "nothing found"
        status = f"**{frames} frames{rest}, {found}, {done.seconds:.2f} s**"
        if done.broken is not None:
            status += f" {done.broken.replace(where, '')}"
        answers = [] if done.answer is None else [str(done.answer)]
        return str(done.video), status, [str(done.video), *answers, ids, str(done.record)]


class _ClipsByExample(_Videos):
    """Videos clip by clip, by a model that is shown what to do with a clip."""

    title = "Videos by example"

    def build(self) -> None:
        kinds: dict[str, Any] = {"type": "filepath", "file_types": list(VIDEOS)}
        with gr.Row():
            with gr.Column():
                model = self.menu()
                given = gr.File(label="Example: a clip", elem_id="hfseg-clip-input", **kinds)
                target = gr.File(
                    label="Example: its target, a clip of the same length", elem_id="hfseg-clip-target", **kinds
                )
                file = gr.File(label="Query video, processed in clips of that length", elem_id="hfseg-clip", **kinds)
                task = gr.Dropdown(["images", *FORMATS], value="images", label="Output")
                steps = gr.Slider(1, 40, 19, step=1, label="Steps")
                most, opacity = self.video_settings()
                button = gr.Button("Generate", variant="primary", elem_id="hfseg-clip-run")
            with gr.Column():
                results = self.video_results()

        def run(
            model: str, input: str | None, target: str | None, video: str | None, answer: str, steps: float,
            frames: float, opacity: float, progress: Any = gr.Progress(),  # noqa: B008
        ) -> tuple[str, str, list[str]]:  # fmt: skip
            try:
                return self.answered(model, (input, target), video, answer, int(steps), int(frames), opacity, progress)
            except INPUT_ERRORS as error:
                raise refusal(error, self.models.get(model)) from error

        fields = [model, given, target, file, task, steps, most, opacity]
        self.finish(button.click(run, fields, results, api_name="clips"))

    def answered(
        self,
        name: str,
        example: tuple[str | None, str | None],
        path: str | None,
        kind: str,
        steps: int,
        most: int,
        opacity: float,
        progress: Callable[..., Any] = lambda *_, **__: None,
    ) -> tuple[str, str, list[str]]:
        """Answers a video after the pattern of one pair of clips.

        Raises:
            ValueError: As `segment`; an example that is missing, or too long.
        """
        model = self.chosen(name)
        if not all(example):
            raise ValueError("Give an example: a clip and its target.")
        pair = tuple(self.clip(str(file)) for file in example)
        prompts = Prompts(examples=[pair], task=kind if kind in FORMATS else None)
        return self.written(model, path, prompts, Options(num_inference_steps=steps), most, opacity, progress)

    def clip(self, path: str) -> list[Image.Image]:
        """Reads the frames of an example."""
        note_upload(self.folder, path)
        try:
            reader = VideoReader(path, min(self.limits.frame_pixels, self.limits.pixels))
            frames = list(itertools.islice(iter(reader), self.limits.frames + 1))
        except INPUT_ERRORS as error:
            raise ValueError(str(error).replace(str(Path(path).parent) + os.sep, "")) from error
        if len(frames) > self.limits.frames:
            raise ValueError(f"{Path(path).name} has more than {self.limits.frames} frames, the limit.")
        return frames


def _tab(predictor: Predictor) -> str:
    """The tab of a model's task, as the table of tasks names it."""
    return tasks.find(predictor.task).demo


TABS: tuple[tuple[Callable[..., Any], Callable[[Predictor], bool]], ...] = (
    (_Segments, lambda predictor: _tab(predictor) == "segments"),
    (lambda *given: _Words(*given, names=False), lambda predictor: _tab(predictor) == "text"),
    (lambda *given: _Words(*given, names=True), lambda predictor: _tab(predictor) == "labels"),
    (PlaceTab, lambda predictor: _tab(predictor) == "prompts"),
    (_Examples, lambda predictor: _tab(predictor) == "examples"),
    (_Volumes, lambda predictor: predictor.reads_volumes),
    (_ClipsByExample, lambda predictor: _tab(predictor) == "examples"),
    (_Videos, lambda predictor: _tab(predictor) in ("segments", "text", "labels") and not predictor.reads_volumes),
)
