# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Predictions of any model folder of the zoo.

The folder says what it holds: `config.json` names architecture and class, the table of `hfseg.auto` says of which task
the class is, and the task has one `pipeline()`. What the pipelines return is brought into one form, an id map with a
list of segments (`hfseg.results.segmentation_result`), or an image for models that paint their answer.
"""

import json
import math
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from .. import auto, tasks
from ..files.images import DEFAULT_MAX_PIXELS, convert_to_rgb, load_image, open_image
from ..results.boxes import mask_of_box
from ..results.drawing import side_by_side
from ..results.segment import Segment
from ..results.segmentation_result import SegmentationResult
from ..tasks import SUBTASKS, find_task, segmentation_tasks
from . import sliding_window_segmentation, tiled_panoptic_segmentation
from .augmentation import augmented_scores
from .loading import LoadedModel, load
from .negative_points import masks_without

__all__ = ["TASKS", "Options", "Prediction", "Predictor", "Prompts", "find_task"]

TASKS = tuple(segmentation_tasks())

IMPORTED_BY = os.getpid()

# What a prediction with segments does as its result does.
HANDED_ON = ("plot", "save", "to_coco", "to_pandas", "to_supervision")


@dataclass
class Prompts:
    """What a model is asked, besides the image.

    Attributes:
        text: Expressions, for referring models.
        labels: Names of classes, for open-vocabulary models; synonyms separated by commas.
        points: (x, y) in pixels of the image, one mask each, for models of masks.
        boxes: (x0, y0, x1, y1), likewise.
        examples: Folder of `<id>_input.png` and `<id>_target.png` (of clips: folders of frames, or videos, of these
            names), or pairs of images or clips, for in-context models.
        task: Visual format of an in-context answer (`hfseg.results.visual_formats`): what its colors mean.
        negative_points: (x, y) that no mask may cover, beside points or boxes (`hfseg.inference.negative_points`).
    """

    text: Sequence[str] = ()
    labels: Sequence[str] = ()
    points: Sequence[Sequence[float]] = ()
    boxes: Sequence[Sequence[float]] = ()
    examples: Any = None
    task: str | None = None
    negative_points: Sequence[Sequence[float]] = ()


@dataclass
class Options:
    """How a model is asked.

    Attributes:
        subtask: "panoptic", "instance" or "semantic"; None takes the model's first.
        threshold: Smallest score of a segment, or of a pixel of a referring mask; None takes the processor's.
        tile: Side of overlapping windows in pixels of the image, for large images; None sees the image whole.
        num_inference_steps: Of in-context models.
        seed: Of their noise.
        guidance_scale: How far they go from the answer without examples to that with; None: the pipeline's 1.5.
        num_examples: How many examples they draw from those given; None: all, but of a folder no more than the model
            was trained with, or 8.
        scales: Semantic: factors of the network input whose class probabilities are averaged; with `tile` by windows.
        flip: Semantic: the mirror image of every scale, too.
        box_zoom: Boxes: side of the part of the image that the network sees of each, in the box's longer sides;
            None takes the processor's, which may be the whole image.
        point_zoom: Points: side in pixels of the smallest of the parts that the network sees of each; None as above.
    """

    subtask: str | None = None
    threshold: float | None = None
    tile: int | None = None
    num_inference_steps: int | None = None
    seed: int = 0
    guidance_scale: float | None = None
    num_examples: int | None = None
    scales: Sequence[float] = ()
    flip: bool = False
    box_zoom: float | None = None
    point_zoom: int | None = None


@dataclass
class Prediction:
    """What a model found in one image.

    Attributes:
        image: The image, upright 8-bit RGB.
        result: Id map and segments, or None for an answer that has none.
        names: Label id to name.
        answer: Image that an in-context model painted.
        decoded: What the answer says, in the terms of its visual format.
        seconds: Time of the model with its processing.
    """

    image: Image.Image
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
        """Draws the segments over the image, each object in its own color, or the answer beside it.

        Args:
            opacity: Of the tint, 0 to 1.
            labels: Write names and scores on the segments.
            legend: Add names and colors at the right; without it the drawing has the image's size.
            minimum_side: Smaller images are enlarged by a whole factor until their longer side has this length.
        """
        if self.result is None:
            assert self.answer is not None
            return side_by_side([self.image, self.answer], ["image", "answer"])
        return self.result.plot(
            self.image, self.names, alpha=opacity, draw_labels=labels, legend=legend, minimum_side=minimum_side
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
    def segments(self) -> list[Segment]:
        """Views of the segments: `.label`, `.score`, `.box`, `.area`, `.mask`."""
        return [] if self.result is None else self.result.segments

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


class Predictor:
    """A loaded model with its processing: called with an image, or with a batch of a table, as engines hand it out.

    Args:
        folder: Shipped name, model folder or Hub id; or a model that `hfseg.load` returned.
        device: Where it runs.
        dtype: Of its weights and activations, see `hfseg.load`; a model that is loaded keeps its own.
        promptable: Load an open-vocabulary folder for points and boxes instead of names, where its model can.
        progress: Whether the libraries show bars while they load.

    Attributes:
        task: Of `TASKS`.
        model_type: Architecture.
        class_name: Of the model or pipeline.
        reads_volumes: Whether it segments NIfTI and DICOM volumes too.

    Raises:
        FileNotFoundError, ValueError: As `find_task`, and what the folder lacks.

    Example:
        >>> from hfseg import Predictor
        >>> predictor = Predictor("proscale-tiny-nuclei")  # doctest: +SKIP
        >>> predictor({"image": ["a.jpg", "b.jpg"]})["segments"]  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | LoadedModel,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str = torch.float32,
        promptable: bool = False,
        progress: bool = True,
    ) -> None:
        if not progress:
            _hide_bars()
        self.device = torch.device(device)
        loaded = folder if isinstance(folder, LoadedModel) else self._load(folder, promptable, dtype)
        self.loaded, self.folder, self.dtype = loaded, loaded.folder, loaded.dtype
        self.task, self.model_type, self.class_name = loaded.task, loaded.model_type, loaded.class_name
        self.image_processor: Any = loaded.image_processor
        self.pipe = self._pipeline()
        self._examples: tuple[Any, Any, Any] | None = None
        self._given = (folder, str(self.device), self.dtype, promptable)
        self.reads_volumes = hasattr(self.image_processor, "volume_settings")

    def __reduce__(self) -> Any:
        """A copy in another process loads the model itself.

        Sizes and times of the folder's files tell `datasets`, which keeps results by what computed them, of changes.

        Raises:
            pickle.PicklingError: The model was given loaded.
        """
        if isinstance(self._given[0], LoadedModel):
            raise pickle.PicklingError(
                "A Predictor of a loaded model cannot go to another process: make it of the model's name or folder."
            )
        files = sorted(file for file in self.folder.rglob("*") if file.is_file())
        stamp = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return _copy, (*self._given, stamp)

    def _load(self, folder: str | os.PathLike[str], promptable: bool, dtype: torch.dtype | str) -> LoadedModel:
        found = tasks.model_folder(folder)
        task, model_type, _ = find_task(found)
        if promptable and task == "open-vocabulary" and "mask-generation" in auto.find(model_type).tasks:
            task = "mask-generation"
        return load(found, task=task, device=self.device, dtype=dtype)

    def _pipeline(self) -> Any:
        """The pipeline of the task, around the loaded model."""
        if self.task == "in-context":
            return self.loaded.model
        from transformers import pipeline

        processor = self.loaded.processor
        given: dict[str, Any] = {"image_processor": self.image_processor}
        if processor is not self.image_processor:
            given |= {"processor": processor, "tokenizer": processor.tokenizer}
        name: Any = tasks.find(self.task).pipeline  # the overloads know the libraries' own tasks only
        return pipeline(name, model=self.loaded.model, device=self.device, **given)

    @property
    def labels(self) -> dict[int, str]:
        """Names of the classes of a closed-vocabulary model; empty for others."""
        if self.task not in ("universal", "semantic", "object-detection"):
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
            "negative_points": prompts.negative_points,
            "examples": prompts.examples,
            "task": prompts.task,
            "subtask": options.subtask,
            "threshold": options.threshold is not None,
            "tile": options.tile,
            "num_inference_steps": options.num_inference_steps,
            "guidance_scale": options.guidance_scale is not None,
            "num_examples": options.num_examples is not None,
            "scales": options.scales,
            "flip": options.flip,
            "box_zoom": options.box_zoom is not None,
            "point_zoom": options.point_zoom is not None,
        }
        described = f"{self.folder} holds {self.class_name} ({self.task})"
        foreign = [name for name, value in given.items() if value and name not in tasks.find(self.task).takes]
        if foreign:
            legal = ", ".join(sorted(tasks.find(self.task).takes & set(given))) or "nothing besides an image"
            raise ValueError(f"{described}, which does not take {', '.join(foreign)}; it takes {legal}.")
        needed = tasks.find(self.task).needs
        if needed and not given[needed]:
            raise ValueError(f"{described}, which needs {needed}.")
        if prompts.points and prompts.boxes:
            raise ValueError("Points and boxes were given; ask for one kind at a time.")
        if prompts.negative_points and not (prompts.points or prompts.boxes):
            raise ValueError("Negative points were given alone; give a point or a box, whose mask must not cover them.")
        for name, kind in (("box_zoom", "boxes"), ("point_zoom", "points")):
            if getattr(options, name) is not None and not getattr(prompts, kind):
                raise ValueError(f"{name} was given without {kind}; give {kind}, whose surroundings it cuts out.")
        _check_values(options)
        if self.task == "semantic" and options.subtask not in (None, "semantic"):
            raise ValueError(f"{described}, which knows no objects; the only subtask is semantic.")
        semantic = "semantic" in (self.task, options.subtask)
        if (options.scales or options.flip) and not semantic:
            raise ValueError("scales and flip average scores of classes per pixel: ask for subtask semantic.")
        if any(not str(text).strip() for text in (*prompts.text, *prompts.labels)):
            raise ValueError("An expression or label is empty; give words.")

    def read(self, path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
        """Opens a local image as the model's processor wants it.

        Raises:
            FileNotFoundError, ValueError: As `hfseg.files.images.load_image`.
        """
        own = getattr(self.image_processor, "load_image", None)
        return load_image(path, max_pixels) if own is None else own(path)

    def as_image(self, value: Any) -> Image.Image:
        """An image of any form in which files, tables and engines hold one.

        Args:
            value: A path, the content of a file, `{"bytes", "path"}` (an undecoded column of `datasets`), a PIL image,
                or an array, (H, W, 3) or (H, W) uint8.

        Raises:
            FileNotFoundError, ValueError: As `read`; it is none of these.
        """
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, (str, os.PathLike)):
            return self.read(value)
        if isinstance(value, bytes):
            return load_image(open_image(value))
        if isinstance(value, np.ndarray):
            return Image.fromarray(value)
        if not isinstance(value, Image.Image):
            raise ValueError(f"An image must be a path, a PIL image or an array; got {type(value).__name__}.")
        return value

    def batch(self, rows: Mapping[str, Any], prompts: Prompts | None, options: Options | None) -> dict[str, Any]:
        """Segments a batch of rows, as columns: `map_batches` of Ray Data, `map(batched=True)` of `datasets`.

        Args:
            rows: Columns; of them `image`, or else `bytes` or `path`, holds images in any form of `as_image`.
            prompts, options: For all rows.

        Returns:
            The columns and `segments`, per row the json text of a list of COCO entries with names
            (`Prediction.entries`): a column of texts has one type, also where the first thousand rows show nothing. Of
            an in-context model `answer` too, the images generated, (H, W, 3) uint8.

        Raises:
            ValueError: There is no column with images.
        """
        name = next((name for name in ("image", "bytes", "path") if name in rows), None)
        if name is None:
            raise ValueError(f"A batch must have a column image, bytes or path; it has {', '.join(map(str, rows))}.")
        # Not by calling the predictor: Ray Data derives a class whose calls wait for each other.
        found = [self._segment(self.as_image(value), prompts, options) for value in rows[name]]
        columns = {**rows, "segments": [_as_json(prediction.entries()) for prediction in found]}
        if self.task == "in-context":
            columns["answer"] = [np.asarray(prediction.answer) for prediction in found]
        return columns

    @overload
    def __call__(
        self, image: Mapping[str, Any], prompts: Prompts | None = None, options: Options | None = None
    ) -> dict[str, Any]: ...

    @overload
    def __call__(
        self, image: Image.Image, prompts: Prompts | None = None, options: Options | None = None
    ) -> Prediction: ...

    @torch.inference_mode()
    def __call__(self, image: Any, prompts: Prompts | None = None, options: Options | None = None) -> Any:
        """Segments one image; or the images of a batch of rows, see `batch`.

        Raises:
            ValueError: As `check`; prompts outside the image; what pipelines and processors refuse.
        """
        if isinstance(image, Mapping):
            return self.batch(image, prompts, options)
        return self._segment(image, prompts, options)

    def _segment(self, image: Image.Image, prompts: Prompts | None, options: Options | None) -> Prediction:
        prompts, options = prompts or Prompts(), options or Options()
        self.check(prompts, options)
        photo = _shown(image)
        _check_places(prompts, photo.size)
        start = time.perf_counter()
        ask: Callable[..., Prediction] = getattr(self, "_" + self.task.replace("-", "_"))
        prediction = ask(image, photo, prompts, options)
        prediction.seconds = time.perf_counter() - start
        if prediction.result is not None:
            prediction.result.image = photo
            for info in prediction.result.segments_info:
                info.setdefault("label", prediction.names.get(int(info["label_id"]), str(info["label_id"])))
        return prediction

    # ------------------------------------------------------------------------------------------------------ by task

    def _predict(self, pixel_values: torch.Tensor) -> Any:
        return self.pipe.model(pixel_values=pixel_values.to(self.device, self.dtype))

    def _universal(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        subtask = options.subtask or ("semantic" if self.task == "semantic" else "panoptic")
        if subtask == "semantic":
            if options.scales or options.flip:
                scores = augmented_scores(
                    image, self._predict, self.image_processor, scales=options.scales or (1.0,), flip=options.flip,
                    window=options.tile,
                )  # fmt: skip
                return Prediction(photo, SegmentationResult.from_class_map(scores.argmax(0), self.labels), self.labels)
            if options.tile is None:
                return Prediction(photo, self.pipe(image, subtask="semantic").result, self.labels)
            # The images' own pixels: a processor that shrinks them first would defeat the purpose.
            class_map = sliding_window_segmentation(
                image, self._predict, self.image_processor, window=options.tile, do_resize=False
            )
            return Prediction(photo, SegmentationResult.from_class_map(class_map, self.labels), self.labels)
        if options.tile is not None:
            thresholds: dict[str, Any] = {} if options.threshold is None else {"threshold": options.threshold}
            result = tiled_panoptic_segmentation(
                image, self._predict, self.image_processor, tile=options.tile, **thresholds
            )
            return Prediction(photo, result, self.labels)
        found = self.pipe(image, subtask=subtask, threshold=options.threshold)
        return Prediction(photo, found.result, self.labels)

    _semantic = _universal

    def _object_detection(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        """A segment per box: its pixels, so that boxes are drawn, saved and handed over as all results are."""
        processor = self.image_processor
        pixel_values = processor(images=[image], return_tensors="pt")["pixel_values"]
        threshold = {} if options.threshold is None else {"threshold": options.threshold}
        (found,) = processor.post_process_object_detection(
            self._predict(pixel_values), target_sizes=[photo.size[::-1]], **threshold
        )
        result = SegmentationResult.from_masks(
            [mask_of_box(box, (photo.height, photo.width)) for box in found["boxes"].tolist()],
            found["labels"].tolist(),
            found["scores"].tolist(),
            (photo.height, photo.width),
            self.labels,
        )
        result.incomplete = found.incomplete
        return Prediction(photo, result, self.labels)

    def _referring(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        thresholds = {} if options.threshold is None else {"threshold": options.threshold}
        found = self.pipe(image, text=list(prompts.text), **thresholds)
        return Prediction(photo, found.result, dict(enumerate(prompts.text)))

    def _open_vocabulary(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        thresholds = {} if options.threshold is None else {"threshold": options.threshold}
        subtask = options.subtask or "panoptic"
        found = self.pipe(image, candidate_labels=list(prompts.labels), subtask=subtask, **thresholds)
        names = {int(info["label_id"]): str(info["label"]) for info in found.result.segments_info}
        return Prediction(photo, found.result, names)

    def _mask_generation(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        asked: dict[str, Any] = {}
        if prompts.points:
            asked["input_points"] = [[float(value) for value in point] for point in prompts.points]
        if prompts.boxes:
            asked["input_boxes"] = [[float(value) for value in box] for box in prompts.boxes]
        for name in ("box_zoom", "point_zoom"):
            if getattr(options, name) is not None:
                asked[name] = getattr(options, name)
        if options.threshold is not None and not asked:
            asked["score_threshold"] = options.threshold
        if prompts.negative_points:
            found = masks_without(self.pipe, image, asked, prompts.negative_points)
        else:
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
            (photo.height, photo.width),
            names,
        )
        return Prediction(photo, result, names)

    def _encoded(self, examples: Any, options: Options) -> Any:
        """Encodes examples, once for all images that are asked about with them."""
        how = (options.seed, options.num_examples)
        if isinstance(examples, (str, os.PathLike)):
            files = sorted(Path(examples).rglob("*")) if Path(examples).is_dir() else []
            key: Any = (os.fspath(examples), [(str(file), file.stat().st_mtime_ns) for file in files], how)
        else:
            key = (id(examples), how)
        if self._examples is None or self._examples[0] != key:
            generator = torch.Generator().manual_seed(options.seed)
            given, number = examples, options.num_examples
            if isinstance(examples, (str, os.PathLike)):
                given, usual = self.pipe.read_examples(examples, _read_video)
                number = number or usual
            encoded = self.pipe.prepare_examples(given, num_examples=number, generator=generator)
            self._examples = (key, examples, encoded)  # the examples too: their id must not be another's
        return self._examples[2]

    def _asked(self, query: Any, prompts: Prompts, options: Options) -> Any:
        """Output of an in-context pipeline for one image or clip."""
        given = {"num_inference_steps": options.num_inference_steps, "guidance_scale": options.guidance_scale}
        given = {name: value for name, value in given.items() if value is not None}
        generator = torch.Generator().manual_seed(options.seed)
        examples = self._encoded(prompts.examples, options)
        return self.pipe(query, examples, task=prompts.task, generator=generator, **given)

    def _painted(self, photo: Image.Image, answer: Image.Image, decoded: Any, prompts: Prompts) -> Prediction:
        """What an in-context model painted, with segments where its colors stand for some."""
        result, names = None, {}
        if prompts.task in ("segmentation", "mask"):
            ids = Image.fromarray(np.asarray(decoded).astype(np.int32)).resize(photo.size, Image.Resampling.NEAREST)
            values = np.array(ids)
            present = [value for value in np.unique(values).tolist() if value > 0]
            names = {value - 1: f"segment {value}" if prompts.task == "segmentation" else "mask" for value in present}
            result = SegmentationResult.from_class_map(values - 1, names)
        return Prediction(photo, result, names, answer=answer, decoded=decoded)

    def _in_context(self, image: Any, photo: Image.Image, prompts: Prompts, options: Options) -> Prediction:
        output = self._asked(photo, prompts, options)
        return self._painted(photo, output.images[0], None if output.decoded is None else output.decoded[0], prompts)

    def clip_frames(self, prompts: Prompts, options: Options) -> int | None:
        """Frames of a clip that an in-context model is asked about, as its examples have; None for single images."""
        if self.task != "in-context":
            return None
        frames = int(self._encoded(prompts.examples, options).input_frames)
        return frames if frames > 1 else None

    @torch.no_grad()
    def answer_clip(self, frames: Sequence[Image.Image], prompts: Prompts, options: Options) -> list[Prediction]:
        """Asks an in-context model about a clip.

        Args:
            frames: As many as the examples' inputs have (`clip_frames`), of one size.
            prompts: Examples, which are clips, and what the answer's colors mean.
            options: Steps, guidance, seed.

        Returns:
            A prediction per frame of the answer. An answer of another length than the clip (frame prediction) stands
            beside the clip's last frame.
        """
        photos = [_shown(frame) for frame in frames]
        start = time.perf_counter()
        output = self._asked([photos], prompts, options)
        images = output.images[0] if isinstance(output.images[0], list) else output.images[:1]
        shown = photos if len(images) == len(photos) else [photos[-1]] * len(images)
        if output.decoded is None:
            decoded = [None] * len(images)
        else:
            decoded = list(output.decoded[0]) if len(images) > 1 else [output.decoded[0]]
        found = [self._painted(*parts, prompts) for parts in zip(shown, images, decoded)]
        for prediction in found:
            prediction.seconds = (time.perf_counter() - start) / len(found)
        return found


# ---------------------------------------------------------------------------------------------------------------------


def _copy(folder: Any, device: str, dtype: torch.dtype, promptable: bool, stamp: Any) -> Predictor:
    """A predictor in a process that got it from another."""
    if os.getpid() != IMPORTED_BY:  # forked: a second thread would wait for the parent's threads, which are not here
        torch.set_num_threads(1)
    return Predictor(folder, device, dtype, promptable, progress=False)


def _as_json(entries: list[dict[str, Any]]) -> str:
    """Entries of a row, which is the image itself."""
    return json.dumps([{name: value for name, value in entry.items() if name != "image_id"} for entry in entries])


def _shown(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB; deep gray values, which may use little of their range, are stretched."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N", "F"):
        values = np.asarray(image).astype(np.float64)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        scaled = np.nan_to_num((values - low) / max(high - low, 1e-9))
        return Image.fromarray(np.round(scaled.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")
    return convert_to_rgb(image)


def _check_values(options: Options) -> None:
    """Refuses values that no model takes."""
    if options.subtask is not None and options.subtask not in SUBTASKS:
        raise ValueError(f"subtask is {options.subtask!r}; must be one of {', '.join(SUBTASKS)}.")
    if options.tile is not None:
        if options.tile < 16:
            raise ValueError(f"tile is {options.tile}; give 16 pixels or more.")
        if options.subtask == "instance":
            raise ValueError("Tiles are joined to panoptic or semantic results; instances are seen whole only.")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise ValueError(f"threshold is {options.threshold}; it must be between 0 and 1.")
    if options.num_inference_steps is not None and options.num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be 1 or more; got {options.num_inference_steps}.")
    if options.num_examples is not None and options.num_examples < 1:
        raise ValueError(f"num_examples must be 1 or more; got {options.num_examples}.")
    if options.box_zoom is not None and not (math.isfinite(options.box_zoom) and options.box_zoom >= 1):
        raise ValueError(f"box_zoom is {options.box_zoom}; it must be 1 or more.")
    if options.point_zoom is not None and options.point_zoom < 1:
        raise ValueError(f"point_zoom is {options.point_zoom}; it must be 1 pixel or more.")
    if options.guidance_scale is not None and not (math.isfinite(options.guidance_scale)):
        raise ValueError(f"guidance_scale must be a finite number; got {options.guidance_scale}.")


def _check_places(prompts: Prompts, size: tuple[int, int]) -> None:
    width, height = size
    for point in (*prompts.points, *prompts.negative_points):
        if len(point) != 2 or not (0 <= point[0] <= width and 0 <= point[1] <= height):
            raise ValueError(f"The point {tuple(point)} is not in the image of {width} x {height} pixels (x,y).")
    for box in prompts.boxes:
        inside = len(box) == 4 and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height
        if not inside:
            raise ValueError(
                f"The box {tuple(box)} is not x0,y0,x1,y1 with x0 < x1, y0 < y1 in the image of {width} x {height}."
            )


def _hide_bars() -> None:
    """Turns the libraries' progress bars off."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if "diffusers" in sys.modules:
        import diffusers

        diffusers.utils.logging.disable_progress_bar()


def _read_video(path: Path) -> list[Image.Image]:
    from .video import VideoReader

    return list(VideoReader(path))
