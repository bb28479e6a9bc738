# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Predictions of any model folder of the zoo.

The folder says what it holds: `config.json` names architecture and class, the table of `hfseg.auto` says of which task
the class is, and the task has one `pipeline()`. What the pipelines return is brought into one form, an id map with a
list of segments (`hfseg.results.segmentation_result`), or a picture for models that paint their answer.
"""

import json
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import auto
from ..files.images import DEFAULT_MAX_PIXELS, convert_to_rgb, load_image
from ..results.drawing import side_by_side
from ..results.segmentation_result import SegmentationResult
from . import sliding_window_segmentation, tiled_panoptic_segmentation

__all__ = ["TASKS", "Options", "Prediction", "Predictor", "Prompts", "find_task"]

# Auto class that loads a model to what the model is for; the first that names the folder's class counts.
TASK_OF_AUTO_CLASS = {
    "AutoModelForUniversalSegmentation": "universal",
    "AutoModelForSemanticSegmentation": "semantic",
    "AutoModelForReferringImageSegmentation": "referring",
    "AutoModelForOpenVocabularySegmentation": "open-vocabulary",
    "AutoModelForMaskGeneration": "mask-generation",
}
PIPELINES = {
    "universal": "image-segmentation",
    "semantic": "image-segmentation",
    "referring": "referring-image-segmentation",
    "open-vocabulary": "open-vocabulary-segmentation",
    "mask-generation": "mask-generation",
}
# Task to what it needs and what it may be given, in the words of `Prompts` and `Options`.
NEEDS = {
    "universal": "",
    "semantic": "",
    "referring": "text",
    "open-vocabulary": "labels",
    "mask-generation": "",
    "in-context": "examples",
}
TAKES = {
    "universal": {"subtask", "threshold", "tile"},
    "semantic": {"subtask", "tile"},
    "referring": {"text", "threshold"},
    "open-vocabulary": {"labels", "subtask", "threshold"},
    "mask-generation": {"points", "boxes", "threshold"},
    "in-context": {"examples", "task", "steps", "seed"},
}
TASKS = tuple(NEEDS)
SUBTASKS = ("panoptic", "instance", "semantic")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

# What a prediction with segments does as its result does.
HANDED_ON = ("plot", "save", "to_coco", "to_pandas", "to_supervision")


@dataclass
class Prompts:
    """What a model is asked, besides the picture.

    Attributes:
        text: Expressions, for referring models.
        labels: Names of classes, for open-vocabulary models; synonyms separated by commas.
        points: (x, y) in pixels of the picture, one mask each, for models of masks.
        boxes: (x0, y0, x1, y1), likewise.
        examples: Folder of `<id>_input.png` and `<id>_target.png`, or pairs of pictures, for in-context models.
        task: Visual format of an in-context answer (`hfseg.results.visual_formats`): what its colours mean.
    """

    text: Sequence[str] = ()
    labels: Sequence[str] = ()
    points: Sequence[Sequence[float]] = ()
    boxes: Sequence[Sequence[float]] = ()
    examples: Any = None
    task: str | None = None


@dataclass
class Options:
    """How a model is asked.

    Attributes:
        subtask: "panoptic", "instance" or "semantic"; None takes the model's first.
        threshold: Smallest score of a segment, or of a pixel of a referring mask; None takes the processor's.
        tile: Side of overlapping windows in pixels of the picture, for large pictures; None sees the picture whole.
        steps: Points of time of in-context models.
        seed: Of their noise.
    """

    subtask: str | None = None
    threshold: float | None = None
    tile: int | None = None
    steps: int | None = None
    seed: int = 0


@dataclass
class Prediction:
    """What a model found in one picture.

    Attributes:
        picture: The picture, upright 8-bit RGB.
        result: Id map and segments, or None for an answer that has none.
        names: Label id to name.
        answer: Picture that an in-context model painted.
        decoded: What the answer says, in the terms of its visual format.
        seconds: Time of the model with its processing.
    """

    picture: Image.Image
    result: SegmentationResult | None
    names: dict[int, str] = field(default_factory=dict)
    answer: Image.Image | None = None
    decoded: Any = None
    seconds: float = 0.0
    # What `entries` gave, and for which result.
    _segments: tuple[SegmentationResult, list[dict[str, Any]]] | None = field(default=None, repr=False, compare=False)

    def overlay(
        self, opacity: float = 0.5, labels: bool = True, legend: bool = False, minimum_side: int = 0
    ) -> Image.Image:
        """Draws the segments over the picture, each object in its own color, or the answer beside it.

        Args:
            opacity: Of the tint, 0 to 1.
            labels: Write names and scores on the segments.
            legend: Add names and colors at the right; without it the drawing has the picture's size.
            minimum_side: Smaller pictures are enlarged by a whole factor until their longer side has this length.
        """
        if self.result is None:
            assert self.answer is not None
            return side_by_side([self.picture, self.answer], ["picture", "answer"])
        return self.result.plot(
            self.picture, self.names, alpha=opacity, draw_labels=labels, legend=legend, minimum_side=minimum_side
        )

    def __len__(self) -> int:
        """Number of segments."""
        return 0 if self.result is None else len(self.result)

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        # `plot`, `save`, `to_coco`, `to_supervision` and `to_pandas` are the result's.
        if name in HANDED_ON:
            if self.result is None:
                raise AttributeError(f"The model generated an image and no segments: use .answer instead of .{name}.")
            return getattr(self.result, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def segments(self) -> "PredictedSegments":
        """Views of the segments: `.label`, `.score`, `.box`, `.area`, `.mask`. Called, it gives `entries()`."""
        return PredictedSegments(self)

    def entries(self) -> list[dict[str, Any]]:
        """Lists the segments as COCO entries with names: id (value in the id map), label, score, area, bbox, mask."""
        if self.result is None:
            return []
        if self._segments is None or self._segments[0] is not self.result:
            entries = self.result.to_coco(image_id=1)
            named = [
                {**entry, "id": int(info["id"]), "label": self.names.get(info["label_id"], str(info["label_id"]))}
                for entry, info in zip(entries, self.result.segments_info)
            ]
            self._segments = (self.result, named)
        return list(self._segments[1])


class PredictedSegments(list):
    """Segments of a prediction, as views; called, as COCO entries with names (`Prediction.entries`)."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__(() if prediction.result is None else prediction.result.segments)
        self._prediction = prediction

    def __call__(self) -> list[dict[str, Any]]:
        return self._prediction.entries()


def find_task(folder: str | os.PathLike[str]) -> tuple[str, str, str]:
    """Reads what a model folder is for.

    Returns:
        Task (of `TASKS`), architecture, and class name.

    Raises:
        FileNotFoundError: There is no such folder, or it has no configuration.
        ValueError: The configuration is damaged, or its model is not one of the zoo that segments.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no model folder {str(folder)!r}: train or convert a model first.")
    file = next((path / name for name in ("config.json", "model_index.json") if (path / name).is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{path} is no model folder: neither config.json nor model_index.json is in it.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}.") from error
    if file.name == "model_index.json":
        named = config.get("_class_name")
        name = str(named[-1] if isinstance(named, list) and named else named)
        for row in auto.ARCHITECTURES:
            if any(component.endswith(f":{name}") for component in row.components):
                return "in-context", row.model_type, name
        pipelines = [component.partition(":")[2] for row in auto.ARCHITECTURES for component in row.components[:1]]
        raise ValueError(f"{path} is a diffusers folder of {name}; hfseg has {', '.join(pipelines)}.")
    model_type, classes = config.get("model_type"), config.get("architectures") or []
    rows = [row for row in auto.ARCHITECTURES if row.config is not None and row.model_type == model_type]
    if not rows:
        known = ", ".join(row.model_type for row in auto.ARCHITECTURES if row.config is not None)
        raise ValueError(f"{file} has model_type {model_type!r}; the zoo has {known}.")
    (row,) = rows
    for auto_class, task in TASK_OF_AUTO_CLASS.items():
        models = row.models.get(auto_class, ())
        for model in (models,) if isinstance(models, str) else models:
            if model.partition(":")[2] in classes:
                return task, row.model_type, model.partition(":")[2]
    legal = sorted(
        model.partition(":")[2]
        for auto_class, value in row.models.items()
        if auto_class in TASK_OF_AUTO_CLASS
        for model in ((value,) if isinstance(value, str) else value)
    )
    raise ValueError(f"{file} names {', '.join(classes) or 'no class'}, which makes no masks; {', '.join(legal)} does.")


class Predictor:
    """A loaded model with its processing.

    Args:
        folder: Of a trained or converted model; or a name on the Hub.
        device: Where it runs.
        dtype: Of its weights and activations.
        promptable: Load an open-vocabulary folder for points and boxes instead of names, where its model can.
        progress: Whether the libraries show bars while they load.

    Attributes:
        task: Of `TASKS`.
        model_type: Architecture.
        class_name: Of the model or pipeline.
        reads_volumes: Whether it segments NIfTI and DICOM volumes too.

    Raises:
        FileNotFoundError, ValueError: As `find_task`, and what the folder lacks.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        promptable: bool = False,
        progress: bool = True,
    ) -> None:
        name = os.fspath(folder)
        if not os.path.isdir(name) and HUB_NAME.fullmatch(name) and not name.startswith("."):
            name = _fetch(name)
        self.folder = Path(name)
        self.task, self.model_type, self.class_name = find_task(self.folder)
        if promptable and self.task == "open-vocabulary" and "AutoModelForMaskGeneration" in self._row().models:
            self.task = "mask-generation"
        self.device, self.dtype = torch.device(device), dtype
        if not progress:
            _hide_bars(self.task)
        try:
            self.pipe = self._load()
        except (OSError, ImportError, KeyError, RuntimeError, TypeError) as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise ValueError(f"{self.folder} cannot be loaded: {reason}") from error
        self.image_processor: Any = None
        if self.task != "in-context":
            processor = self.pipe.image_processor or getattr(self.pipe.processor, "image_processor", None)
            self.image_processor = processor
        self.reads_volumes = hasattr(self.image_processor, "volume_settings")

    def _row(self) -> auto.Architecture:
        return auto.find(self.model_type)

    def _load(self) -> Any:
        if self.task == "in-context":
            pipe = auto.load(self._row().components[0]).from_pretrained(self.folder, torch_dtype=self.dtype)
            pipe.set_progress_bar_config(disable=True)
            return pipe.to(self.device)
        from transformers import pipeline

        task: Any = PIPELINES[self.task]  # the overloads know the libraries' own tasks only
        return pipeline(task, model=str(self.folder), device=self.device, dtype=self.dtype)

    @property
    def labels(self) -> dict[int, str]:
        """Names of the classes of a closed-vocabulary model; empty for others."""
        if self.task not in ("universal", "semantic"):
            return {}
        return {int(index): str(name) for index, name in self.pipe.model.config.id2label.items()}

    def check(self, prompts: Prompts, options: Options) -> None:
        """Checks that the model can be asked this.

        Raises:
            ValueError: Something it needs is missing, or something was given that it does not take.
        """
        given: dict[str, Any] = {
            "text": prompts.text,
            "labels": prompts.labels,
            "points": prompts.points,
            "boxes": prompts.boxes,
            "examples": prompts.examples,
            "task": prompts.task,
            "subtask": options.subtask,
            "threshold": options.threshold is not None,
            "tile": options.tile,
            "steps": options.steps,
        }
        described = f"{self.folder} holds {self.class_name} ({self.task})"
        foreign = [name for name, value in given.items() if value and name not in TAKES[self.task]]
        if foreign:
            legal = ", ".join(sorted(TAKES[self.task] & set(given))) or "nothing besides a picture"
            raise ValueError(f"{described}, which does not take {', '.join(foreign)}; it takes {legal}.")
        needed = NEEDS[self.task]
        if needed and not given[needed]:
            raise ValueError(f"{described}, which needs {needed}.")
        if prompts.points and prompts.boxes:
            raise ValueError("Points and boxes were given; ask for one kind at a time.")
        if options.subtask is not None and options.subtask not in SUBTASKS:
            raise ValueError(f"subtask is {options.subtask!r}; legal are {', '.join(SUBTASKS)}.")
        if self.task == "semantic" and options.subtask not in (None, "semantic"):
            raise ValueError(f"{described}, which knows no objects; the only subtask is semantic.")
        if options.tile is not None:
            if options.tile < 16:
                raise ValueError(f"tile is {options.tile}; give 16 pixels or more.")
            if options.subtask == "instance":
                raise ValueError("Tiles are joined to panoptic or semantic results; instances are seen whole only.")
        if options.threshold is not None and not 0 <= options.threshold <= 1:
            raise ValueError(f"threshold is {options.threshold}; it must be between 0 and 1.")
        if options.steps is not None and options.steps < 2:
            raise ValueError(f"steps is {options.steps}; give 2 or more.")
        if any(not str(text).strip() for text in (*prompts.text, *prompts.labels)):
            raise ValueError("An expression or label is empty; give words.")

    def read(self, path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
        """Opens a local picture as the model's processor wants it.

        Raises:
            FileNotFoundError, ValueError: As `hfseg.files.images.load_image`.
        """
        own = getattr(self.image_processor, "load_image", None)
        return load_image(path, max_pixels) if own is None else own(path)

    @torch.inference_mode()
    def __call__(
        self, image: Image.Image, prompts: Prompts | None = None, options: Options | None = None
    ) -> Prediction:
        """Segments one picture.

        Raises:
            ValueError: As `check`; prompts outside the picture; what pipelines and processors refuse.
        """
        prompts, options = prompts or Prompts(), options or Options()
        self.check(prompts, options)
        picture = _shown(image)
        _check_places(prompts, picture.size)
        start = time.perf_counter()
        ask: Callable[..., Prediction] = getattr(self, "_" + self.task.replace("-", "_"))
        prediction = ask(image, picture, prompts, options)
        prediction.seconds = time.perf_counter() - start
        if prediction.result is not None:
            prediction.result.image = picture
            for info in prediction.result.segments_info:
                info.setdefault("label", prediction.names.get(int(info["label_id"]), str(info["label_id"])))
        return prediction

    # ------------------------------------------------------------------------------------------------------ by task

    def _predict(self, pixel_values: torch.Tensor) -> Any:
        return self.pipe.model(pixel_values=pixel_values.to(self.device, self.dtype))

    def _universal(self, image: Any, picture: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        subtask = options.subtask or ("semantic" if self.task == "semantic" else "panoptic")
        if subtask == "semantic":
            if options.tile is None:
                return Prediction(picture, self.pipe(image, subtask="semantic").result, self.labels)
            # The pictures' own pixels: a processor that shrinks them first would defeat the purpose.
            class_map = sliding_window_segmentation(
                image, self._predict, self.image_processor, window=options.tile, do_resize=False
            )
            return Prediction(picture, SegmentationResult.from_class_map(class_map, self.labels), self.labels)
        if options.tile is not None:
            thresholds: dict[str, Any] = {} if options.threshold is None else {"threshold": options.threshold}
            result = tiled_panoptic_segmentation(
                image, self._predict, self.image_processor, tile=options.tile, **thresholds
            )
            return Prediction(picture, result, self.labels)
        found = self.pipe(image, subtask=subtask, threshold=options.threshold)
        return Prediction(picture, found.result, self.labels)

    _semantic = _universal

    def _referring(self, image: Any, picture: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        thresholds = {} if options.threshold is None else {"threshold": options.threshold}
        found = self.pipe(image, text=list(prompts.text), **thresholds)
        return Prediction(picture, found.result, dict(enumerate(prompts.text)))

    def _open_vocabulary(self, image: Any, picture: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        thresholds = {} if options.threshold is None else {"threshold": options.threshold}
        subtask = options.subtask or "panoptic"
        found = self.pipe(image, candidate_labels=list(prompts.labels), subtask=subtask, **thresholds)
        names = {int(info["label_id"]): str(info["label"]) for info in found.result.segments_info}
        return Prediction(picture, found.result, names)

    def _mask_generation(self, image: Any, picture: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        asked: dict[str, Any] = {}
        if prompts.points:
            asked["input_points"] = [[float(value) for value in point] for point in prompts.points]
        if prompts.boxes:
            asked["input_boxes"] = [[float(value) for value in box] for box in prompts.boxes]
        if options.threshold is not None and not asked:
            asked["score_threshold"] = options.threshold
        found = self.pipe(image, **asked)
        kind = "point" if prompts.points else "box" if prompts.boxes else "mask"
        scores = [float(score) for score in found["scores"]]
        # The pipeline filters the masks of a grid itself.
        least = options.threshold if options.threshold is not None and kind != "mask" else -math.inf
        kept = [index for index, score in enumerate(scores) if score >= least]
        names = {index: f"{kind} {index + 1}" for index in kept}
        result = SegmentationResult.from_masks(
            [found["masks"][index] for index in kept],
            kept,
            [scores[index] for index in kept],
            picture.size[::-1],
            names,
        )
        return Prediction(picture, result, names)

    def _in_context(self, image: Any, picture: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        steps = {} if options.steps is None else {"num_inference_steps": options.steps}
        generator = torch.Generator().manual_seed(options.seed)
        output = self.pipe(picture, prompts.examples, task=prompts.task, generator=generator, **steps)
        answer = output.images[0]
        decoded = None if output.decoded is None else output.decoded[0]
        result, names = None, {}
        if prompts.task in ("segmentation", "mask"):
            ids = Image.fromarray(np.asarray(decoded).astype(np.int32)).resize(picture.size, Image.Resampling.NEAREST)
            values = np.array(ids)
            present = [value for value in np.unique(values).tolist() if value > 0]
            names = {value - 1: f"segment {value}" if prompts.task == "segmentation" else "mask" for value in present}
            result = SegmentationResult.from_class_map(values - 1, names)
        return Prediction(picture, result, names, answer=answer, decoded=decoded)


# ---------------------------------------------------------------------------------------------------------------------


def _shown(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB; deep grey values, which may use little of their range, are stretched."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N", "F"):
        values = np.asarray(image).astype(np.float64)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        scaled = np.nan_to_num((values - low) / max(high - low, 1e-9))
        return Image.fromarray(np.round(scaled.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")
    return convert_to_rgb(image)


def _check_places(prompts: Prompts, size: tuple[int, int]) -> None:
    width, height = size
    for point in prompts.points:
        if len(point) != 2 or not (0 <= point[0] <= width and 0 <= point[1] <= height):
            raise ValueError(f"The point {tuple(point)} is not in the picture of {width} x {height} pixels (x,y).")
    for box in prompts.boxes:
        inside = len(box) == 4 and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height
        if not inside:
            raise ValueError(
                f"The box {tuple(box)} is not x0,y0,x1,y1 with x0 < x1, y0 < y1 in the picture of {width} x {height}."
            )


def _hide_bars(task: str) -> None:
    """Turns the libraries' progress bars off."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if task == "in-context":
        import diffusers

        diffusers.utils.logging.disable_progress_bar()


def _fetch(name: str) -> str:
    """Downloads (or finds in the cache) a model repository; the path of its snapshot."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*/*.json"])
    except Exception as error:  # the client's errors are many and change
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(f"{name!r} is no folder, and not to be had from the Hub: {reason}") from error
