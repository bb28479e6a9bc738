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
import numpy as np
from PIL import ImageDraw

from .. import tasks
from ..files.images import load_image, open_image
from ..files.writing import write_json
from ..inference import predict_volume
from ..inference.files import Source, write_prediction
from ..inference.predictor import SUBTASKS, Options, Prediction, Predictor, Prompts
from ..inference.volume_images import fullest_slice, labels_in_ras, slice_prediction
from ..results.drawing import instance_color
from ..results.visual_formats import FORMATS
from ..volumes import MODALITIES, NOT_A_MEDICAL_DEVICE, Volume, read_volume
from .example_rows import example_rows
from .uploads import check_volume_file
from .visits import KEPT_SECONDS, Limits, note_upload, visit_folder

LARGEST_COUNT = 40  # segments that are drawn; the files have all
# Tasks that need words, and what they call them.
WORDED = {row.name: row.needs for row in tasks.TASKS.values() if row.needs in ("text", "labels")}
INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


def image_field(**settings: Any) -> gr.Image:
    """An image that gives the path of the uploaded file, which Gradio has checked to be one.

    It is opened by us: Gradio would decode it before our checks, and say less about damage. Nothing may `gr.update` it:
    Gradio would build a plain image in its place. (A class of its own would make Gradio write a `.pyi` file here.)
    """
    field = gr.Image(sources=["upload", "clipboard"], **settings)
    setattr(field, "preprocess", lambda payload: None if payload is None else payload.path)  # noqa: B010
    return field


@dataclass
class Loaded:
    """A model with the name it has in the menus."""

    name: str
    predictor: Predictor
    lock: Any


def _say(error: Exception) -> gr.Error:
    """The message of an input error, which stays until it is closed."""
    message = str(error).strip() or type(error).__name__
    return gr.Error(message[:600], duration=None, print_exception=False)


def _labels(prediction: Prediction) -> list[tuple[int, str, tuple[int, int, int]]]:
    """Position, text and color of the segments that are drawn: the largest, each with a text of its own."""
    result = prediction.result
    if result is None:
        return []
    areas = [entry["area"] for entry in result.to_coco(1)]
    chosen = sorted(sorted(range(len(areas)), key=lambda index: -areas[index])[:LARGEST_COUNT])
    seen: dict[int, int] = {}
    texts: set[str] = set()
    shown = []
    for index in chosen:
        segment = result.segments_info[index]
        label = int(segment["label_id"])
        number = seen[label] = seen.get(label, -1) + 1
        score = segment.get("score")
        text = prediction.names.get(label, str(label)) + ("" if score is None else f" {score:.2f}")
        while text in texts:
            text = f"{text} #{number + 1}" if "#" not in text else text + "'"
        texts.add(text)
        if areas[index]:
            shown.append((index, text, instance_color(label, number)))
    return shown


def draw(prediction: Prediction | None, opacity: float, prompts: Prompts | None = None) -> Any:
    """What the image with hover labels shows: the image with prompts, and masks of the given opacity."""
    if prediction is None:
        return None
    base = (prediction.image if prediction.result is not None else prediction.answer or prediction.image).copy()
    if prompts is not None and (prompts.points or prompts.boxes):
        pen, size = ImageDraw.Draw(base), max(round(max(base.size) / 120), 3)
        for x, y in prompts.points:
            pen.ellipse(
                (x - size, y - size, x + size, y + size), fill="white", outline="black", width=max(size // 3, 1)
            )
        for box in prompts.boxes:
            pen.rectangle(tuple(box), outline="black", width=size)
            pen.rectangle(tuple(box), outline="white", width=max(size // 2, 1))
    result = prediction.result
    shown = _labels(prediction)
    masks: list[Any] = (
        [(result.mask(index) * float(opacity), text) for index, text, _ in shown] if result is not None else []
    )
    colors = {text: "#{:02x}{:02x}{:02x}".format(*color) for _, text, color in shown}
    return gr.AnnotatedImage(value=(base, masks), color_map=colors)


class _Tab:
    """What the tabs share: a menu of models, the result with its opacity, files and time.

    Attributes:
        shipped: Whether the models come with the package; then the tabs have example inputs.
        takes_volumes: Whether an input is a volume, or else an image.
    """

    shipped = False
    takes_volumes = False

    def __init__(self, models: Sequence[Loaded], limits: Limits, folder: Path) -> None:
        self.models, self.limits, self.folder = {model.name: model for model in models}, limits, folder

    def menu(self) -> Any:
        """The models of the tab."""
        names = list(self.models)
        return gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, interactive=True)

    def examples(self, inputs: Sequence[Any], row: Callable[[Any], list[Any]]) -> None:
        """Example inputs, below the input that they fill."""
        example_rows(list(self.models.values()), inputs, row, self.shipped, self.takes_volumes)

    def outputs(self) -> None:
        """The right-hand side."""
        self.shown = gr.AnnotatedImage(label="Result", height=520, elem_classes="hfseg-result")
        self.status = gr.Markdown(elem_classes="hfseg-status")
        self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity")
        self.files = gr.Files(label="Download", interactive=False)
        self.state = gr.State(time_to_live=KEPT_SECONDS)
        self.opacity.release(
            lambda kept, opacity: draw(kept[0], opacity, kept[1]) if kept else None,
            [self.state, self.opacity], self.shown, show_progress="hidden",
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
            raise ValueError(str(error).replace(str(Path(file).parent) + os.sep, "")) from error

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
            for given in (prompts.text, prompts.labels, prompts.points, prompts.boxes):
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
            raise _say(error) from error
        return (
            draw(prediction, opacity, prompts), _status(prediction), [str(path) for path in written],
            (prediction, prompts),
        )  # fmt: skip


def _status(prediction: Prediction) -> str:
    """Time and number of segments."""
    width, height = prediction.image.size
    count = len(prediction.result.segments_info) if prediction.result is not None else None
    found = "" if count is None else f"{count} segment{'' if count == 1 else 's'}, "
    more = f" (the {LARGEST_COUNT} largest are drawn)" if count is not None and count > LARGEST_COUNT else ""
    return f"**{found}{prediction.seconds:.2f} s** for {width} x {height} pixels{more}"


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

        def run(name: str, file: str | None, kind: str, smallest: float, opacity: float) -> tuple[Any, ...]:
            task = self.models[name].predictor.task if name in self.models else ""
            chosen = kind if kind in SUBTASKS else None
            least = smallest if smallest > 0 and task in ("universal", "object-detection") else None
            return self.answer(name, file, opacity, Prompts(), Options(subtask=chosen, threshold=least))

        given = [model, image, subtask, threshold, self.opacity]
        gr.on([button.click, image.upload], run, given, self.results, api_name="segments")


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

        def run(name: str, file: str | None, words: str, subtask: str, opacity: float) -> tuple[Any, ...]:
            lines = [line.strip() for line in (words or "").splitlines() if line.strip()]
            prompts = Prompts(labels=lines) if self.names else Prompts(text=lines)
            return self.answer(name, file, opacity, prompts, Options(subtask=subtask if self.names else None))

        given = [model, image, text, kind, self.opacity]
        gr.on([button.click], run, given, self.results, api_name="names" if self.names else "expressions")


def read_places(text: str) -> Prompts:
    """Reads points and boxes as the field has them: `x,y; x,y; x0,y0,x1,y1`.

    Raises:
        ValueError: Something else, or both kinds.
    """
    points: list[list[float]] = []
    boxes: list[list[float]] = []
    for part in filter(None, (part.strip() for part in (text or "").replace("\n", ";").split(";"))):
        try:
            values = [float(value) for value in part.split(",")]
        except ValueError:
            values = []
        if len(values) not in (2, 4) or not np.isfinite(values).all():
            raise ValueError(f"{part!r} is neither a point x,y nor a box x0,y0,x1,y1.")
        (points if len(values) == 2 else boxes).append(values)
    return Prompts(points=points, boxes=boxes)


def write_places(prompts: Any) -> str:
    """Writes points and boxes as `read_places` reads them."""
    return "; ".join(",".join(f"{value:g}" for value in place) for place in (*prompts.points, *prompts.boxes))


class _Places(_Tab):
    """Points and boxes: click and drag on the image."""

    title = "Points and boxes"

    def build(self) -> None:
        with gr.Row():
            with gr.Column():
                model = self.menu()
                gr.Markdown("Click on a thing, or drag a box around it. Without either, everything is segmented.")
                image = image_field(
                    label="Image", height=420, elem_id="hfseg-places",
                    buttons=[],
                )  # fmt: skip
                places = gr.Textbox(label="Points x,y and boxes x0,y0,x1,y1 (with ; between)", max_length=2000)
                drag = gr.Textbox(elem_id="hfseg-drag", show_label=False)
                with gr.Row():
                    button = gr.Button("Segment", variant="primary", elem_id="hfseg-places-run")
                    clear = gr.Button("Clear")
                self.examples([image, places], lambda example: [str(example.path), write_places(example)])
            with gr.Column():
                self.outputs()

        def add(text: str, place: str) -> str:
            """Points replace boxes and boxes points: a model is asked for one kind at a time."""
            old = [part.strip() for part in (text or "").split(";") if part.strip()]
            kept = [part for part in old if part.count(",") == place.count(",")]
            return "; ".join([*kept, place])

        def click(text: str, event: gr.SelectData) -> str:
            x, y = event.index[:2]
            return add(text, f"{round(x)},{round(y)}")

        def run(name: str, file: str | None, text: str, opacity: float) -> tuple[Any, ...]:
            try:
                prompts = read_places(text)
            except ValueError as error:
                raise _say(error) from error
            return self.answer(name, file, opacity, prompts)

        given = [model, image, places, self.opacity]
        image.select(click, places, places, show_progress="hidden", api_visibility="private").then(
            run, given, self.results, api_visibility="private"
        )
        drag.change(add, [places, drag], places, show_progress="hidden", api_visibility="private").then(
            run, given, self.results, api_visibility="private"
        )
        button.click(run, given, self.results, api_name="places")
        gr.on([clear.click, image.clear, image.upload], lambda: "", None, places, api_visibility="private")


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
                            fields.append(image_field(label=f"Example {number}, {kind}", height=150))
                image = image_field(label="Image", height=260)
                task = gr.Dropdown(["an image", *FORMATS], value="an image", label="The answer is")
                steps = gr.Slider(1, 40, 19, step=1, label="Steps")
                button = gr.Button("Answer", variant="primary")
                self.examples(
                    [*fields[:2], image, task],
                    lambda example: [*map(str, example.pair), str(example.path), example.answer or "an image"],
                )
            with gr.Column():
                self.outputs()

        def run(name: str, file: str | None, kind: str, count: float, opacity: float, *files: str | None) -> Any:
            try:
                pairs = []
                for number, (given, target) in enumerate(zip(files[::2], files[1::2]), start=1):
                    if bool(given) != bool(target):
                        raise ValueError(f"Example {number} has an input or a target only; give both.")
                    if given:
                        pairs.append(tuple(load_image(path, self.limits.pixels) for path in (given, str(target))))
                if not pairs:
                    raise ValueError(
                        "Give at least one example, an input with its target: the model has no other task."
                    )
            except INPUT_ERRORS as error:
                raise _say(error) from error
            prompts = Prompts(examples=pairs, task=kind if kind in FORMATS else None)
            return self.answer(name, file, opacity, prompts, Options(num_inference_steps=int(count)))

        button.click(run, [model, image, task, steps, self.opacity, *fields], self.results, api_name="examples")


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

        def show(kept: Any, index: float, opacity: float) -> Any:
            if not kept:
                return None
            volume, labels, axis, names = kept
            chosen = min(max(int(index), 0), labels.shape[axis] - 1)
            return draw(slice_prediction(volume, labels, axis, chosen, names), opacity)

        def run(name: str, path: str | None, kind: str, opacity: float) -> tuple[Any, ...]:
            try:
                kept, written, seconds, found = self.segment(name, path, kind)
            except INPUT_ERRORS as error:
                raise _say(error) from error
            _, labels, axis, _ = kept
            index = fullest_slice(labels, axis)
            amounts = ", ".join(f"{label} {ml:.2f} ml" for label, ml in list(found.milliliters_per_class.items())[1:])
            size = " x ".join(map(str, labels.shape))
            status = f"**{seconds:.2f} s** for {size} voxels. {amounts}. *{found.notice}.*"
            slider = gr.Slider(0, labels.shape[axis] - 1, index, step=1)
            return show(kept, index, opacity), status, written, kept, slider

        button.click(run, [model, file, modality, self.opacity], [*self.results, place], api_name="volumes")
        gr.on(
            [place.change, self.opacity.change], show, [self.state, place, self.opacity], self.shown,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def outputs(self) -> None:
        """As everywhere, but the opacity redraws a slice."""
        self.shown = gr.AnnotatedImage(label="Result", height=520, elem_classes="hfseg-result")
        self.status = gr.Markdown(elem_classes="hfseg-status")
        self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity")
        self.files = gr.Files(label="Download", interactive=False)
        self.state = gr.State(time_to_live=KEPT_SECONDS)

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
            raise ValueError(str(error).replace(str(Path(path).parent) + os.sep, "")) from error
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
