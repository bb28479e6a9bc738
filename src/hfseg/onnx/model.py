# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""An exported model with its pre- and post-processing; see the package."""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files.images import load_image, open_image, stretch_contrast
from ..processing.letterbox import from_frame, to_frame
from ..processing.sizes import resized_size
from ..volumes import (
    Volume,
    check_modality,
    intensity_statistics,
    normalize_intensity,
    read_volume,
    slice_axis,
    slice_channels,
)
from . import masks as rules
from .masks import Geometry, sigmoid, softmax
from .resizing import cubic_to, resize_channels, resize_image, resize_maps
from .tokens import Tokenizer

__all__ = ["OnnxModel", "load"]

Source = str | os.PathLike[str] | Image.Image | np.ndarray
SUBTASKS = ("panoptic", "instance", "semantic")
STABILITY_LEVELS = (0.6, 0.4)  # of logits


def load(path: str | os.PathLike[str], providers: Sequence[str] = ("CPUExecutionProvider",)) -> "OnnxModel":
    """Loads an exported model.

    Args:
        path: File of `hfseg export --format onnx`, or a folder with one such file.
        providers: Of ONNX Runtime, e.g. `("CUDAExecutionProvider", "CPUExecutionProvider")`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The folder holds several, or the file was not written by hfseg.
        ImportError: onnxruntime is missing.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(place.glob("*.onnx"))
        if len(files) != 1:
            raise ValueError(f"{place} holds {len(files)} .onnx files; name the one to load")
        place = files[0]
    if not place.is_file():
        raise FileNotFoundError(f"there is no file {place}")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("hfseg.onnx needs onnxruntime: pip install onnxruntime") from error
    session = onnxruntime.InferenceSession(os.fspath(place), providers=list(providers))
    return OnnxModel(session, place)


class OnnxModel:
    """An exported model; called with an image it gives segments, as the pipeline of its task does.

    Attributes:
        task: universal, semantic, referring, promptable, open-vocabulary or object-detection.
        id2label: Names of the classes.
        settings: The image processor's configuration.
        is_dynamic: Whether the file serves all image sizes.

    Args:
        session: Of ONNX Runtime.
        file: Where it is from, for messages.

    Raises:
        ValueError: The file does not carry what pre- and post-processing need.
    """

    def __init__(self, session: Any, file: Path) -> None:
        self.session, self.file = session, file
        about = session.get_modelmeta().custom_metadata_map
        if "task" not in about or "image_processor" not in about:
            raise ValueError(f"{file} carries no task and image processor: export it with hfseg export --format onnx")
        self.task: str = about["task"]
        self.settings: dict[str, Any] = json.loads(about["image_processor"])
        self.id2label = {int(key): name for key, name in json.loads(about.get("id2label", "{}")).items()}
        self.more: dict[str, Any] = json.loads(about.get("settings", "{}"))
        pixels = next(value for value in session.get_inputs() if value.name == "pixel_values")
        self.is_dynamic = not all(isinstance(side, int) for side in pixels.shape)
        self.fixed_size: tuple[int, int] | None = None if self.is_dynamic else tuple(pixels.shape[2:])
        self.outputs = [value.name for value in session.get_outputs()]
        self.inputs = [value.name for value in session.get_inputs()]
        self._tokenizer: Tokenizer | None = None

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in order."""
        return list(self.id2label.values())

    def _setting(self, name: str, default: Any = None) -> Any:
        value = self.settings.get(name)
        return default if value is None else value

    # --------------------------------------------------------------------------------------------------------- calls

    def __call__(self, image: Source, **options: Any) -> Any:
        """Segments an image.

        Args:
            image: Path of a local file, PIL image, or uint8 array (H, W, 3) or (H, W).
            **options: By task. universal, open-vocabulary: `subtask` ("panoptic", "instance" or "semantic"),
                `threshold`, `mask_threshold`, `overlap_mask_area_threshold`. referring: `text`, an expression or a
                list, and `threshold`. promptable: `input_points` [[x, y], ...] in pixels of the image, one mask each;
                without, a grid over the image; `score_threshold`. object-detection: `threshold`.

        Returns:
            `[{"score", "label", "mask"}]`, masks as PIL images ("L", 0 or 255); of a promptable model
            `{"masks": (N, H, W) bool, "scores": (N,)}`; of a detector `[{"score", "label", "box"}]`, in pixels.

        Raises:
            ValueError: An option of another task, or an image that does not fit the file.
        """
        methods: dict[str, Callable[..., Any]] = {
            "universal": self._segments,
            "semantic": self._segments,
            "referring": self._expressions,
            "promptable": self._prompts,
            "open-vocabulary": self._segments,
            "object-detection": self._boxes,
        }
        if self.task not in methods:
            raise ValueError(f"{self.file} is of the task {self.task!r}; must be one of {', '.join(methods)}")
        return methods[self.task](image, **options)

    def _segments(self, image: Source, subtask: str | None = None, **options: Any) -> list[dict[str, Any]]:
        semantic_only = self.task == "semantic"
        subtask = subtask or ("semantic" if semantic_only else "panoptic")
        if subtask == "semantic":
            return _listed_classes(self.class_map(image, **options), self.id2label)
        if subtask == "instance":
            found, segments = self.instances(image, **options)
            return [_entry(s["score"], self.id2label[s["label_id"]], mask) for s, mask in zip(segments, found)]
        ids, segments = self.panoptic(image, **options)
        return [_entry(s["score"], self.id2label[s["label_id"]], ids == s["id"]) for s in segments]

    def _boxes(self, image: Source, threshold: float = 0.5) -> list[dict[str, Any]]:
        _, geometry, pixels = self._prepared(image)
        found = dict(zip(self.outputs, self._run({"pixel_values": pixels})))
        scores, labels, placed = rules.boxes(found["logits"][0], found["pred_boxes"][0], geometry, threshold)
        sides = ("xmin", "ymin", "xmax", "ymax")
        return [
            {"score": float(score), "label": self.id2label[label], "box": dict(zip(sides, map(int, box)))}
            for score, label, box in zip(scores, labels.tolist(), placed)
        ]

    def class_map(self, image: Source) -> np.ndarray:
        """Class of every pixel.

        Shape:
            (H, W), int64.
        """
        if self.task == "semantic":
            if "modality" in self.settings:
                return self._class_map_of_intensities(image)
            _, geometry, pixels = self._prepared(image)
            (logits,) = self._run({"pixel_values": pixels})
            return resize_maps(logits[0], geometry.padded, geometry.inside, geometry.output).argmax(0)
        classes, logits, _, geometry = self._queries(image)
        if not len(logits):
            return np.full(geometry.output, int(self._setting("ignore_index", 255)), dtype=np.int64)
        return rules.semantic(classes, logits, geometry)

    def panoptic(
        self,
        image: Source,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Segments that do not overlap: a map of ids (H, W), 0 = void, and a table.

        Args:
            image: See `__call__`.
            threshold, mask_threshold, overlap_mask_area_threshold: Default: the image processor's.

        Raises:
            ValueError: The model gives classes per pixel only.
        """
        classes, logits, quality, geometry = self._queries(image)
        least = self._setting("threshold", 0.8) if threshold is None else threshold
        found = rules.panoptic(
            classes,
            logits,
            geometry,
            threshold=least,
            mask_threshold=self._setting("mask_threshold", 0.5) if mask_threshold is None else mask_threshold,
            overlap_mask_area_threshold=self._setting("overlap_mask_area_threshold", 0.8)
            if overlap_mask_area_threshold is None
            else overlap_mask_area_threshold,
            stuff=self._stuff(),
            query_scores=quality,
            **self._things(),
        )
        if quality is None:
            rules.warn_if_full(classes, least, len(found[1]))
        return found

    def instances(
        self, image: Source, threshold: float | None = None, mask_threshold: float | None = None, **_: Any
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Masks of things (N, H, W), best first, which may overlap, and a table.

        Args:
            image: See `__call__`.
            threshold: Smallest score; default: what the pipeline shows.
            mask_threshold: Default: the image processor's.

        Raises:
            ValueError: The model gives classes per pixel only.
        """
        classes, logits, quality, geometry = self._queries(image)
        number = int(self._setting("num_instances", 100))
        if self._things().get("suppress_duplicates"):
            number = max(number, len(logits))
        if quality is not None:  # one class per mask, the best
            probabilities = softmax(classes) if len(classes) else classes
            best = probabilities.argmax(1) if len(classes) else np.zeros(0, dtype=np.int64)
            quality = quality * probabilities[np.arange(len(best)), best]
            classes = np.where(np.arange(classes.shape[1]) == best[:, None], 0.0, -np.inf).astype(np.float32)
            number = len(logits)
            if not number:
                return np.zeros((0, *geometry.output), dtype=bool), []
        least = self.more.get("shown_threshold", 0.5) if threshold is None else threshold
        found = rules.instances(
            classes,
            logits,
            geometry,
            threshold=least,
            mask_threshold=self._setting("mask_threshold", 0.5) if mask_threshold is None else mask_threshold,
            num_instances=number,
            stuff=self._stuff(),
            query_scores=quality,
            **self._things(),
        )
        if quality is None and least > 0:
            rules.warn_if_full(classes, least, len(found[1]))
        return found

    # ---------------------------------------------------------------------------------------------------------- parts

    @property
    def _looks_at_points(self) -> bool:
        """Whether masks are those of points, on a square input."""
        return self.task == "promptable" or "iou_scores" in self.outputs

    def _stuff(self) -> set[int]:
        if self.task == "open-vocabulary":
            return set()
        of_model = self.more.get("stuff_class_ids")
        return set(self._setting("label_ids_to_fuse", ()) if of_model is None else of_model)

    def _things(self) -> dict[str, Any]:
        if self._looks_at_points:  # their own suppression has been at work
            return {}
        names = {"suppress_duplicates": False, "min_segment_area": 0}
        return {name: self._setting(name, default) for name, default in names.items()}

    def _run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return self.session.run(None, dict(feeds))

    def _photo(self, image: Source) -> Image.Image:
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        return load_image(image)

    def _prepared(self, image: Source) -> tuple[Image.Image, Geometry, np.ndarray]:
        """The image, its place in the network's input, and that input (1, 3, H, W)."""
        photo = self._photo(image)
        output = (photo.height, photo.width)
        resized = photo
        if self._setting("stretch_contrast", False):
            resized = Image.fromarray(stretch_contrast(np.asarray(photo)))
        inside = output
        if self._setting("do_resize", True):
            inside = resized_size(*output, self.settings["size"])
            resized = resize_image(resized, inside, int(self._setting("resample", 2)))
        values = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1)
        if self._looks_at_points:
            return photo, *self._square(values, output)
        padded = inside
        if self._setting("do_pad", True):
            unit = int(self._setting("size_divisor", 1) or 1)
            padded = (-(-inside[0] // unit) * unit, -(-inside[1] // unit) * unit)
        values = self._normalized(values)
        return photo, Geometry(padded, inside, output), self._padded(values, padded)

    def _square(self, values: np.ndarray, output: tuple[int, int]) -> tuple[Geometry, np.ndarray]:
        """The image at the top left of a gray square."""
        side = int(self.settings["size"]["longest_edge"])
        canvas = np.full((3, side, side), float(self._setting("pad_value", 128)), dtype=np.float32)
        canvas[:, : values.shape[1], : values.shape[2]] = values
        unit = int(self._setting("size_divisor", 1) or 1)
        padded = (-(-side // unit) * unit, -(-side // unit) * unit)
        longest = max(output)
        return Geometry(padded, (side, side), output, (longest, longest)), self._padded(
            self._normalized(canvas), padded
        )

    def _normalized(self, values: np.ndarray) -> np.ndarray:
        if self._setting("do_rescale", True):
            values = values * np.float32(self._setting("rescale_factor", 1 / 255))
        if self._setting("do_normalize", True):
            values = self._standardized(values)
        return values.astype(np.float32)

    def _standardized(self, values: np.ndarray) -> np.ndarray:
        mean, std = (np.asarray(self.settings[name], np.float32) for name in ("image_mean", "image_std"))
        return (values - mean[:, None, None]) / std[:, None, None]

    def _padded(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A batch of one, with zeros at the right and bottom.

        Raises:
            ValueError: The file does not serve this size.
        """
        if self.fixed_size is not None and size != self.fixed_size:
            raise ValueError(
                f"{self.file} serves images that become {self.fixed_size[0]} x {self.fixed_size[1]} pixels, and this "
                f"one becomes {size[0]} x {size[1]}: export with --dynamic, or give images of one proportion"
            )
        batch = np.zeros((1, values.shape[0], *size), dtype=np.float32)
        batch[0, :, : values.shape[1], : values.shape[2]] = values
        return batch

    def _queries(self, image: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Geometry]:
        """Class logits (Q, K + 1), mask logits (Q, h, w), quality (Q,) or None, and sizes.

        Raises:
            ValueError: The model has no queries.
        """
        if self.task == "semantic":
            raise ValueError(f"{self.file} gives a class per pixel: subtask must be semantic")
        photo, geometry, pixels = self._prepared(image)
        if self.task == "universal":
            found = dict(zip(self.outputs, self._run({"pixel_values": pixels})))
            return found["class_queries_logits"][0], found["masks_queries_logits"][0], None, geometry
        embeddings = self.more.get("text_embeds")
        if embeddings is None:
            raise ValueError(f"{self.file} carries no classes: export with --candidate_labels NAME ...")
        rows = np.frombuffer(base64.b64decode(embeddings), dtype=np.float32).reshape(len(self.id2label), -1)
        if not self._looks_at_points:
            found = dict(zip(self.outputs, self._run({"pixel_values": pixels, "text_embeds": rows})))
            return found["class_queries_logits"][0], found["masks_queries_logits"][0], None, geometry
        points = self._grid(geometry.padded, (photo.height, photo.width))
        feeds = {"pixel_values": pixels, "input_points": points, "text_embeds": rows}
        found = dict(zip(self.outputs, self._run(feeds)))
        kept, scores = self._selected(found["iou_scores"][0].ravel(), found["masks_queries_logits"][0])
        classes = found["class_queries_logits"][0][kept]
        void = np.full((len(classes), 1), -np.inf, dtype=np.float32)  # there is none
        return np.concatenate((classes, void), 1), found["masks_queries_logits"][0][kept], scores, geometry

    # -------------------------------------------------------------------------------------------------------- prompts

    def _grid(self, padded: tuple[int, int], original: tuple[int, int]) -> np.ndarray:
        """A regular grid of points over the image, none on its padding. Shape: (1, Q, 1, 2), (x, y)."""
        side = int(self.more["points_per_side"])
        last = np.asarray(padded[::-1], np.float32) - 1
        own = np.maximum(np.asarray(original[::-1], np.float32) - 1, 0)
        extent = own * (last / max(own.max(), np.float32(1))).min()
        steps = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
        y, x = np.meshgrid(steps, steps, indexing="ij")
        return (np.stack((x, y), -1).reshape(1, -1, 2) * extent).astype(np.float32)[:, :, None]

    def _selected(
        self, scores: np.ndarray, logits: np.ndarray, score_threshold: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks that pass the score and repeat no better one, compared at half the input's size; and their scores."""
        threshold = self._setting("score_threshold", 0.62) if score_threshold is None else score_threshold
        chosen = np.flatnonzero(scores >= threshold)
        if not len(chosen):
            return chosen, scores[chosen]
        height, width = logits.shape[1:]
        fine = resize_maps(logits[chosen], (height, width), (height, width), (2 * height, 2 * width)) > 0
        limits = (self._setting("iou_threshold", 0.5), self._setting("cover_threshold", 0.7))
        kept = chosen[rules.mask_suppression(fine, scores[chosen], *limits, self._setting("nms_rule", "or"))]
        return kept, scores[kept]

    def _prompts(
        self, image: Source, input_points: Any = None, score_threshold: float | None = None
    ) -> dict[str, np.ndarray]:
        if input_points is not None and self._setting("point_zoom") is not None:
            raise ValueError(
                "the masks of this model's points come from parts of the image around them (point_zoom of its image "
                "processor), which hfseg.onnx does not cut out: use the pipeline, or export with point_zoom null"
            )
        photo, geometry, pixels = self._prepared(image)
        size = (photo.height, photo.width)
        if input_points is None:
            points = self._grid(geometry.padded, size)
        else:
            given = np.asarray(input_points, dtype=np.float64).reshape(1, -1, 1, 2)
            if not ((given >= 0) & (given <= np.asarray(size[::-1]))).all():  # NaN does not lie anywhere
                raise ValueError(f"a point lies outside of the image of {size[1]} x {size[0]} pixels")
            inside = resized_size(*size, self.settings["size"])
            points = (given * (np.asarray(inside[::-1]) / np.asarray(size[::-1]))).astype(np.float32)
        found = dict(zip(self.outputs, self._run({"pixel_values": pixels, "input_points": points})))
        logits, scores = found["pred_masks"][0], found["iou_scores"][0]  # (Q, M, h, w), (Q, M)
        if input_points is not None:
            best = scores.argmax(1)
            rows = np.arange(len(best))
            return {"masks": rules.thresholded(logits[rows, best], 0.0, geometry), "scores": scores[rows, best]}
        flat = logits.reshape(-1, *logits.shape[2:])
        kept, scores = self._selected(scores.ravel(), flat, score_threshold)
        stability = self._setting("stability_threshold")
        if stability is not None and len(kept):
            areas = [rules.thresholded(flat[kept], level, geometry).sum((1, 2)) for level in STABILITY_LEVELS]
            stable = areas[0] > stability * areas[1]
            kept, scores = kept[stable], scores[stable]
        if self._setting("min_area", 0):
            raise ValueError("min_area of the image processor is not 0: cleaning small regions is not in hfseg.onnx")
        return {"masks": rules.thresholded(flat[kept], 0.0, geometry), "scores": scores}

    # ---------------------------------------------------------------------------------------------------- expressions

    def _expressions(
        self, image: Source, text: str | Sequence[str] = (), threshold: float | None = None
    ) -> list[dict[str, Any]]:
        texts = [text] if isinstance(text, str) else list(text)
        if not texts:
            raise ValueError("text is missing: give an expression or a list of them")
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self.more["tokenizer"], int(self.more["max_length"]))
        photo = self._photo(image)
        size = (int(self.settings["size"]["height"]), int(self.settings["size"]["width"]))
        fill = np.round(np.asarray(self.settings["image_mean"]) * 255)
        frame = to_frame(np.asarray(photo).transpose(2, 0, 1), size, fill)
        pixels = self._padded(self._normalized(frame.astype(np.float32)), size)
        limit = self._setting("threshold", 0.35) if threshold is None else threshold
        rules.check_shares(threshold=limit)
        entries = []
        for one in texts:
            ids = np.asarray([self._tokenizer(one)], dtype=np.int64)
            (logits,) = self._run({"pixel_values": pixels, "input_ids": ids})
            plane = sigmoid(logits.reshape(-1, *logits.shape[-2:])[:1])
            probabilities = from_frame(cubic_to(plane, size), (photo.height, photo.width))[0]
            mask = probabilities > limit
            score = float(np.clip(probabilities[mask].mean(), 0, 1)) if mask.any() else 0.0
            entries.append(_entry(score, one, mask))
        return entries

    # -------------------------------------------------------------------------------------------------------- medical

    def _class_map_of_intensities(self, image: Source) -> np.ndarray:
        """Class map of one gray image, normalized by its modality."""
        if isinstance(image, np.ndarray):
            array = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        else:
            photo: Any = image if isinstance(image, Image.Image) else open_image(image)
            deep = photo.mode not in ("L", "RGB")
            array = np.array(photo)[None] if deep else np.asarray(photo.convert("RGB")).transpose(2, 0, 1)
        modality = self.settings["modality"]
        if self._setting("check_values", True):
            check_modality(array, modality, "the image")
        values = array.astype(np.float32)
        if self._setting("do_normalize_intensity", True):
            statistics = intensity_statistics(array, modality, self.settings["windows"])
            channels = normalize_intensity(array, statistics)
            values = channels[0] if len(channels) == 1 else np.stack(
                [channels[index % len(channels)][index] for index in range(len(array))]
            )  # fmt: skip
        if len(values) == 1:
            values = np.repeat(values, 3, 0)
        return self._slice_classes(values, (array.shape[1], array.shape[2]))

    def _slice_classes(self, channels: np.ndarray, output: tuple[int, int]) -> np.ndarray:
        size = (int(self.settings["size"]["height"]), int(self.settings["size"]["width"]))
        values = resize_channels(channels, size)
        if self._setting("do_normalize", False):
            values = self._standardized(values)
        (logits,) = self._run({"pixel_values": self._padded(values, size)})
        return resize_maps(softmax(logits[0], 0), size, size, output).argmax(0)

    def segment_volume(self, source: str | os.PathLike[str] | Volume) -> np.ndarray:
        """Class of every voxel of a scan, slice by slice, in RAS order, as `hfseg.inference.segment_volume` gives it.

        Args:
            source: NIfTI file, DICOM folder (with the packages that read them), or `hfseg.volumes.Volume`, for example
                of `volume_from_array`.

        Returns:
            (X, Y, Z), uint8; `volume.to_stored_order` brings it into the order of the file.

        Raises:
            ValueError: The model is of images, or the values are not of its modality.
        """
        if "modality" not in self.settings:
            raise ValueError(f"{self.file} is of images, not of scans")
        volume = source if isinstance(source, Volume) else read_volume(source, self.settings["modality"])
        modality = volume.modality or self.settings["modality"]
        arrays = list(volume.voxels) if volume.voxels.ndim == 4 else [volume.voxels]
        for array in arrays if self._setting("check_values", True) else ():
            check_modality(array, modality, volume.name)
        statistics = [intensity_statistics(array, modality, self.settings["windows"]) for array in arrays]
        axis = slice_axis(volume.spacing, modality)
        mode = self._setting("input_mode") or {"CT": "windows", "MR": "2.5d"}.get(modality, "slice")
        native = tuple(length for place, length in enumerate(volume.shape) if place != axis)
        planes = [
            self._slice_classes(slice_channels(arrays, statistics, place, axis, mode), (native[0], native[1]))
            for place in range(volume.shape[axis])
        ]
        return np.moveaxis(np.stack(planes).astype(np.uint8), 0, axis)


def _entry(score: float | None, label: str, mask: np.ndarray) -> dict[str, Any]:
    return {"score": score, "label": label, "mask": Image.fromarray(mask.astype(np.uint8) * np.uint8(255))}


def _listed_classes(class_map: np.ndarray, id2label: Mapping[int, str]) -> list[dict[str, Any]]:
    """One entry per class that occurs, in order of the classes."""
    present = [value for value in np.unique(class_map).tolist() if value in id2label]
    return [_entry(None, id2label[value], class_map == value) for value in present]
