# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The tabs of the app for images and volumes, one per kind of task; those for videos are in `video_tabs`.

Every tab ends in `_Tab.answer`: read the upload, ask the model, draw. What is wrong with an input is shown to the user
and stops there; the server goes on. Models are asked one at a time.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .. import tasks
from ..files.images import load_image, open_image
from ..files.writing import write_json
from ..inference import predict_volume
from ..inference.files import Source, write_prediction
from ..inference.predictor import SUBTASKS, Options, Predictor, Prompts
from ..inference.volume_images import fullest_slice, labels_in_ras, slice_prediction
from ..results.visual_formats import FORMATS
from ..volumes import MODALITIES, NOT_A_MEDICAL_DEVICE, Volume, read_volume
from .answers import draw, refusal, status
from .example_rows import example_rows
from .uploads import check_volume_file
from .visits import KEPT_SECONDS, Limits, note_upload, visit_folder

# Tasks that need words, and what they call them.
WORDED = {row.name: row.needs for row in tasks.TASKS.values() if row.needs in ("text", "labels")}
SCROLL = """
() => {
  const shown = [...document.querySelectorAll('.hfseg-result, .hfseg-video-result')].find((part) => part.offsetParent);
  const show = () => shown.scrollIntoView({ behavior: 'smooth', block: 'start' });
  if (shown && window.innerWidth < 640) setTimeout(show, 300);  // when the image has its height
}
"""
INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


def image_field(**settings: Any) -> gr.Image:
    """An image that gives the path of the uploaded file, which Gradio has checked to be one.

    It is opened by us: Gradio would decode it before our checks, and say less about damage. Nothing may `gr.update` it:
    Gradio would build a plain image in its place. (A class of its own would make Gradio write a `.pyi` file here.)
    """
    field = gr.Image(sources=["upload", "clipboard"], elem_classes="hfseg-input", **settings)
    setattr(field, "preprocess", lambda payload: None if payload is None else payload.path)  # noqa: B010
    return field


@dataclass
class Loaded:
    """A model with the name it has in the menus."""

    name: str
    predictor: Predictor
    lock: Any


class _Tab:
    """What the tabs share: a menu of models, the result with its opacity, files and time.

    Attributes:
        shipped: Whether the models come with the package; then the tabs have example inputs.
        takes_volumes: Whether an input is a volume, or else an image.
    """

    shipped = False
    takes_volumes = False
    model: Any = None
    filled: Any = None
    shown: Any = None

    def __init__(self, models: Sequence[Loaded], limits: Limits, folder: Path) -> None:
        self.models, self.limits, self.folder = {model.name: model for model in models}, limits, folder

    def menu(self) -> Any:
        """The models of the tab."""
        names = list(self.models)
        self.model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, interactive=True)
        return self.model

    def examples(self, inputs: Sequence[Any], row: Callable[[Any], list[Any]]) -> None:
        """Example inputs, below the input that they fill; see `run_examples`."""
        models = list(self.models.values())
        self.filled = example_rows(models, self.model, inputs, row, self.shipped, self.takes_volumes)

    def run_examples(self, run: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any] = ()) -> None:
        """Asks the model about an example as soon as it is chosen."""
        if self.filled is not None:
            self.finish(self.filled.then(run, list(inputs), [*self.results, *outputs], api_visibility="private"))

    def finish(self, event: Any, scroll: bool = True) -> None:
        """After an answer a phone scrolls to it; after an error no earlier answer stands beside the new input."""
        nothing: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        event.failure(lambda: [None] * len(self.results), None, self.results, **nothing)
        if scroll:
            event.success(None, js=SCROLL, **nothing)

    def outputs(self) -> None:
        """The right-hand side."""
        self.shown = gr.AnnotatedImage(label="Result", height=520, elem_classes="hfseg-result")
        self.status = gr.Markdown(elem_classes="hfseg-status")
        self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity")
        self.files = gr.Files(label="Download", interactive=False)
        self.state = gr.State(time_to_live=KEPT_SECONDS)
        self.opacity.release(
            lambda kept, opacity: draw(kept[0], opacity, kept[1]) if kept else None,
            [self.state, self.opacity], self.shown, show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    @property
    def results(self) -> list[Any]:
        """Components that an answer fills."""
        return [self.shown, self.status, self.files, self.state]

    def read(self, file: str | None, model: Loaded) -> Any:
        """Opens an upload.

        Raises:
            ValueError: Nothing was uploaded; as the reader.
        """
        if not file:
            raise ValueError("Upload an image first.")
        note_upload(self.folder, file)
        try:
            own = getattr(model.predictor.image_processor, "load_image", None)
            if own is None:
                return load_image(file, self.limits.pixels)
            open_image(file, self.limits.pixels)  # within the limit, and whole
            return own(file)
        except INPUT_ERRORS as error:  # the server's own paths are nobody's business
            raise ValueError(self.without_folders(error, file)) from error

    @staticmethod
    def without_folders(error: Exception, *files: str) -> str:
        """The message of a reader without the folders of uploads."""
        # What a server's owner may change is no advice for its visitors.
        message = str(error).partition(" If the source is trusted")[0]
        for file in files:
            message = message.replace(str(Path(file).parent) + os.sep, "")
        return message

    def room(self) -> Path:
        """A new folder for downloads; those of a while ago are removed."""
        for old in self.folder.glob("*/*"):
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=visit_folder(self.folder)))

    def answer(
        self, name: str, file: str | None, opacity: float, prompts: Prompts, options: Options | None = None
    ) -> tuple[Any, ...]:
        """Asks a model and fills `results`."""
        try:
            if name not in self.models:
                raise ValueError(f"There is no model {name!r} here.")
            for given in (prompts.text, prompts.labels, [*prompts.points, *prompts.negative_points], prompts.boxes):
                if len(given) > self.limits.prompts:
                    raise ValueError(f"{len(given)} prompts at once; the limit is {self.limits.prompts}.")
            model = self.models[name]
            image = self.read(file, model)
            with model.lock:
                prediction = model.predictor(image, prompts, options or Options())
            about = {"model": model.name, "class": model.predictor.class_name, "task": model.predictor.task}
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(str(file)).stem)[:40] or "image"
            written = write_prediction(prediction, Source(Path(str(file)), "image", stem), self.room(), about, opacity)
        except INPUT_ERRORS as error:
            raise refusal(error, self.models.get(name)) from error
        return (
            draw(prediction, opacity, prompts), status(prediction, prompts), [str(path) for path in written],
            (prediction, prompts),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- tabs


class _Segments(_Tab):
    """Closed vocabulary: upload and press."""

    title = "Segments"

    def build(self) -> None:
        with gr.Row():
            with gr.Column():
                model = self.menu()
                image = image_field(label="Image", height=360, elem_id="hfseg-segments")
                subtask = gr.Radio(["model's own", *SUBTASKS], value="model's own", label="Kind of segments")
                threshold = gr.Slider(0, 1, 0, step=0.05, label="Smallest score (0: the model's own)")
                button = gr.Button("Segment", variant="primary", elem_id="hfseg-segments-run")
                self.examples([image], lambda example: [str(example.path)])
            with gr.Column():
                self.outputs()

        given = [model, image, subtask, threshold, self.opacity]
        self.finish(gr.on([button.click, image.upload], self.run, given, self.results, api_name="segments"))
        self.run_examples(self.run, given)

    def run(self, model: str, image: str | None, subtask: str, threshold: float, opacity: float) -> tuple[Any, ...]:
        """Segments an image."""
        task = self.models[model].predictor.task if model in self.models else ""
        chosen = subtask if subtask in SUBTASKS else None
        least = threshold if threshold > 0 and task in ("universal", "object-detection") else None
        return self.answer(model, image, opacity, Prompts(), Options(subtask=chosen, threshold=least))


class _Words(_Tab):
    """Referring expressions or names of classes."""

    def __init__(self, models: Sequence[Loaded], limits: Limits, folder: Path, names: bool) -> None:
        super().__init__(models, limits, folder)
        self.names = names
        self.title = "Names of classes" if names else "Expressions"

    def build(self) -> None:
        what = "Names, one class per line; synonyms with commas" if self.names else "Expressions, one per line"
        example = "dog, puppy\nsofa" if self.names else "the man in the yellow vest"
        with gr.Row():
            with gr.Column():
                model = self.menu()
                image = image_field(label="Image", height=360)
                text = gr.Textbox(label=what, placeholder=example, lines=3, max_length=2000)
                kind = gr.Radio(list(SUBTASKS), value="panoptic", label="Kind of segments", visible=self.names)
                button = gr.Button("Segment", variant="primary")
                self.examples([image, text], lambda ex: [str(ex.path), "\n".join(ex.labels or ex.text)])
            with gr.Column():
                self.outputs()

        given = [model, image, text, kind, self.opacity]
        name = "names" if self.names else "expressions"
        self.finish(button.click(self.run, given, self.results, api_name=name))
        self.run_examples(self.run, given)

    def run(self, model: str, image: str | None, words: str, subtask: str, opacity: float) -> tuple[Any, ...]:
        """Segments what the words mean."""
        lines = [line.strip() for line in (words or "").splitlines() if line.strip()]
        prompts = Prompts(labels=lines) if self.names else Prompts(text=lines)
        return self.answer(model, image, opacity, prompts, Options(subtask=subtask if self.names else None))


class _Examples(_Tab):
    """In-context: pairs of images show the task."""

    title = "Examples"

    def build(self) -> None:
        with gr.Row():
            with gr.Column():
                model = self.menu()
                fields = []
                for number in (1, 2, 3):
                    with gr.Row():
                        for kind in ("input", "target"):
                            fields.append(image_field(label=f"Example {number}, {kind}", height=150, min_width=120))
                image = image_field(label="Image", height=260)
                task = gr.Dropdown(["an image", *FORMATS], value="an image", label="Output")
                steps = gr.Slider(1, 40, 19, step=1, label="Steps")
                button = gr.Button("Generate", variant="primary")
                self.examples(
                    [*fields[:2], image, task],
                    lambda example: [*map(str, example.pair), str(example.path), example.answer or "an image"],
                )
            with gr.Column():
                self.outputs()

        given = [model, image, task, steps, self.opacity, *fields]
        self.finish(button.click(self.run, given, self.results, api_name="examples"))
        self.run_examples(self.run, given)

    def run(
        self,
        model: str,
        image: str | None,
        answer: str,
        steps: float,
        opacity: float,
        input_1: str | None = None,
        target_1: str | None = None,
        input_2: str | None = None,
        target_2: str | None = None,
        input_3: str | None = None,
        target_3: str | None = None,
    ) -> tuple[Any, ...]:
        """Answers an image after the pattern of one to three pairs."""
        given = ((input_1, target_1), (input_2, target_2), (input_3, target_3))
        try:
            pairs = [self.pair(number, *files) for number, files in enumerate(given, start=1) if any(files)]
            if not pairs:
                raise ValueError("Give at least one example, an input with its target: the model has no other task.")
        except INPUT_ERRORS as error:
            raise refusal(error) from error
        prompts = Prompts(examples=pairs, task=answer if answer in FORMATS else None)
        return self.answer(model, image, opacity, prompts, Options(num_inference_steps=int(steps)))

    def pair(self, number: int, given: str | None, target: str | None) -> tuple[Any, Any]:
        """Opens the images of an example.

        Raises:
            ValueError: One is missing; as the reader.
        """
        if not given or not target:
            raise ValueError(f"Example {number} has an input or a target only; give both.")
        for path in (given, target):
            note_upload(self.folder, path)
        try:
            return load_image(given, self.limits.pixels), load_image(target, self.limits.pixels)
        except INPUT_ERRORS as error:
            raise ValueError(self.without_folders(error, given, target)) from error


class _Volumes(_Tab):
    """NIfTI volumes with a slider through the slices."""

    takes_volumes = True
    title = "Volumes"

    def build(self) -> None:
        with gr.Row():
            with gr.Column():
                model = self.menu()
                gr.Markdown(f"*{NOT_A_MEDICAL_DEVICE}.*")
                file = gr.File(label="Volume (.nii, .nii.gz, .mha)", type="filepath", elem_id="hfseg-volume")
                modality = gr.Radio(["file's own", *MODALITIES], value="file's own", label="Modality")
                button = gr.Button("Segment", variant="primary")
                place = gr.Slider(0, 1, 0, step=1, label="Slice")
                self.examples([file], lambda example: [str(example.path)])
            with gr.Column():
                self.outputs()

        given = [model, file, modality, self.opacity]
        self.finish(button.click(self.run, given, [*self.results, place], api_name="volumes"))
        self.run_examples(self.run, given, [place])
        gr.on(
            [place.change, self.opacity.change], self.slice, [self.state, place, self.opacity], self.shown,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def outputs(self) -> None:
        """As everywhere, but the opacity redraws a slice."""
        self.shown = gr.AnnotatedImage(label="Result", height=520, elem_classes="hfseg-result")
        self.status = gr.Markdown(elem_classes="hfseg-status")
        self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity")
        self.files = gr.Files(label="Download", interactive=False)
        self.state = gr.State(time_to_live=KEPT_SECONDS)

    def slice(self, kept: Any, index: float, opacity: float) -> Any:
        """Draws a slice of what is kept of a segmented volume."""
        if not kept:
            return None
        volume, labels, axis, names = kept
        chosen = min(max(int(index), 0), labels.shape[axis] - 1)
        return draw(slice_prediction(volume, labels, axis, chosen, names), opacity)

    def run(self, model: str, volume: str | None, modality: str, opacity: float) -> tuple[Any, ...]:
        """Segments a volume and shows its fullest slice."""
        try:
            kept, written, seconds, found = self.segment(model, volume, modality)
        except INPUT_ERRORS as error:
            raise refusal(error, self.models.get(model)) from error
        _, labels, axis, _ = kept
        index = fullest_slice(labels, axis)
        present = list(found.milliliters_per_class.items())[1:]
        amounts = ", ".join(f"{label} {ml:.2f} ml" for label, ml in present)
        nothing = "Nothing found, " if not any(ml for _, ml in present) else ""
        size = " x ".join(map(str, labels.shape))
        line = f"**{nothing}{seconds:.2f} s** for {size} voxels. {amounts}. *{found.notice}.*"
        slider = gr.Slider(0, labels.shape[axis] - 1, index, step=1)
        return self.slice(kept, index, opacity), line, written, kept, slider

    def segment(self, name: str, path: str | None, kind: str) -> tuple[Any, list[str], float, Any]:
        """Segments a volume file."""
        if not path:
            raise ValueError("Upload a volume first.")
        if name not in self.models:
            raise ValueError(f"There is no model {name!r} here.")
        model = self.models[name]
        modality = kind if kind in MODALITIES else None
        note_upload(self.folder, path)
        try:
            check_volume_file(path, self.limits.voxels)
            volume: Volume = read_volume(path, modality)
        except INPUT_ERRORS as error:
            raise ValueError(self.without_folders(error, path)) from error
        if volume.voxels.size > self.limits.voxels:
            raise ValueError(f"The volume has {volume.voxels.size} voxels; the limit is {self.limits.voxels}.")
        room = self.room()
        start = time.perf_counter()
        with model.lock:
            found = predict_volume(
                model.predictor.pipe.model, model.predictor.image_processor, volume, room / "segmentation.nii.gz",
                modality=modality, progress=False,
            )  # fmt: skip
        seconds = time.perf_counter() - start
        amounts = {"milliliters_per_class": found.milliliters_per_class, "notice": found.notice}
        record = write_json(room / "segmentation.json", {"model": model.name, **amounts})
        kept = (volume, labels_in_ras(found), found.record["axis"], model.predictor.labels)
        return kept, [str(room / "segmentation.nii.gz"), str(record)], seconds, found
