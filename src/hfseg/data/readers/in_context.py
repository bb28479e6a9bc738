# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""In-context tasks: pairs of images that show what to do, a query, and the answer.

A *source* is a map-style dataset whose items hold an image or a clip and whatever truth there is:

| key | value |
|---|---|
| `image` | (H, W, 3), uint8 |
| `segmentation`, `segments_info` | segment ids and what they are (universal schema) |
| `depth`, `normals`, `edges` | (H, W) smaller is nearer; (H, W, 3) unit, x right, y down, z to viewer; (H, W) bool |
| `keypoints` | (persons, 17, 3), x, y, visible |
| `frames` | (T, H, W, 3), uint8 |
| `video_segmentation`, `video_depth`, `video_normals`, `flow` | (T, H, W), (T, H, W), (T, H, W, 3), (T, H, W, 2) |

A *task* makes an input and a target image of such an item. `TASKS` has the 22 of the paper's Tables 4.2-4.3 and five
that its evaluation or ours needs. How targets look is written in `hfseg.results.visual_formats`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...results.visual_formats import FORMATS
from ..synthetic import degradations
from ..synthetic.shapes import thing_class_ids
from ..synthetic.shapes_truth import render_clip, render_truth
from .in_context_sources import FrameFolderSource, NotInSampleError, PhotoSource, open_source

__all__ = [
    "EXTRA_TASKS",
    "PAPER_TASKS",
    "TASKS",
    "FrameFolderSource",
    "FramesCollator",
    "FramesDataset",
    "InContextCollator",
    "InContextDataset",
    "InContextTask",
    "NotInSampleError",
    "PhotoSource",
    "ShapesSource",
    "find_task",
    "make_pair",
]

PREDICTED_FRAMES = 12
"""Frames to predict; the target clip begins with the last frame that is known, so that its length is 4 k + 1."""

MINIMUM_BOX_SHARE = 0.01


Record = Mapping[str, Any]
Maker = Callable[[Record, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class InContextTask:
    """One task.

    Attributes:
        name: Key in `TASKS`.
        needs: Keys of a source's items that it reads.
        target_format: How the target is to be read; a key of `visual_formats.FORMATS`.
        make: Item and random numbers to input and target, (H, W, 3) or (T, H, W, 3), uint8.
        data: Where the paper takes samples from.
    """

    name: str
    needs: tuple[str, ...]
    target_format: str
    make: Maker
    data: str

    @property
    def is_video(self) -> bool:
        """Whether inputs are clips."""
        return "frames" in self.needs


# ----------------------------------------------------------------------------------------------------------------------
# Makers of input and target
# ----------------------------------------------------------------------------------------------------------------------


def _shown(key: str, visual_format: str, image: str = "image") -> Maker:
    """Image to truth, written in a format."""
    return lambda record, draw: (record[image], FORMATS[visual_format].encode(record[key]))


def _swapped(maker: Maker) -> Maker:
    """The same pair the other way round."""
    return lambda record, draw: maker(record, draw)[::-1]


def _restored(degrade: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Maker:
    """A degraded image to the image."""
    return lambda record, draw: (degrade(record["image"], draw), record["image"])


def _thing_ids(record: Record) -> list[int]:
    things = record.get("thing_class_ids")
    segments = [segment for segment in record["segments_info"] if not segment.get("iscrowd", 0)]
    return [int(s["id"]) for s in segments if things is None or s["category_id"] in things]


def _instances(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    segmentation = record["segmentation"]
    kept = np.where(np.isin(segmentation, _thing_ids(record)), segmentation, 0)
    return record["image"], FORMATS["segmentation"].encode(kept)


def _detection(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The largest thing's box."""
    shape = record["image"].shape[:2]
    things = set(_thing_ids(record))
    boxes = [segment["bbox"] for segment in record["segments_info"] if int(segment["id"]) in things]
    least = record.get("minimum_box_share", MINIMUM_BOX_SHARE) * shape[0] * shape[1]
    boxes = [box for box in boxes if box[2] * box[3] >= least]
    if not boxes:
        raise NotInSampleError("no object of at least one per cent of the image")
    largest = max(boxes, key=lambda box: box[2] * box[3])
    return record["image"], FORMATS["detection"].encode((tuple(largest), shape))


def _foreground(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mask = np.isin(record["segmentation"], _thing_ids(record))
    if not mask.any():
        raise NotInSampleError("no thing")
    return record["image"], FORMATS["mask"].encode(mask)


def _pose(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    keypoints = np.asarray(record["keypoints"])
    if not keypoints.size or not (keypoints[..., 2] > 0).any():
        raise NotInSampleError("no person with keypoints")
    return record["image"], FORMATS["pose"].encode((keypoints, record["image"].shape[:2]))


def _edges(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    edges = record.get("edges")
    if edges is None:
        edges = degradations.canny_edges(record["image"])
    return record["image"], FORMATS["edge"].encode(edges)


def _frame_prediction(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    frames = record["frames"]
    known = len(frames) - PREDICTED_FRAMES
    if known < 1:
        raise NotInSampleError(f"{len(frames)} frames; {PREDICTED_FRAMES} are predicted from at least one")
    known = 4 * ((known - 1) // 4) + 1
    start = len(frames) - PREDICTED_FRAMES - known
    return frames[start : start + known], frames[start + known - 1 :]


def _video_instances(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return record["frames"], FORMATS["segmentation"].encode(record["video_segmentation"])


def _of_gray(maker: Maker) -> Maker:
    """The same task, seen without color."""

    def make(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        given, target = maker(record, draw)
        return degradations.gray(given), target

    return make


_SEGMENTS = ("image", "segmentation", "segments_info")
_DEPTH, _NORMAL = _shown("depth", "depth"), _shown("normals", "normal")
_VIDEO_DEPTH = _shown("video_depth", "depth", "frames")
_VIDEO_NORMAL = _shown("video_normals", "normal", "frames")
_PANOPTIC, _PHOTOS = "COCO, ADE20K, Cityscapes", "ImageNet-1K, COCO"
_OURS = "ours: to see whether combinations that were never trained work"

PAPER_TASKS: dict[str, InContextTask] = {
    task.name: task
    for task in (
        InContextTask("single_object_detection", _SEGMENTS, "detection", _detection, "COCO, Objects365"),
        InContextTask("instance_segmentation", _SEGMENTS, "segmentation", _instances, _PANOPTIC),
        InContextTask(
            "panoptic_segmentation", _SEGMENTS, "segmentation", _shown("segmentation", "segmentation"), _PANOPTIC
        ),
        InContextTask("pose_estimation", ("image", "keypoints"), "pose", _pose, "COCO"),
        InContextTask("pose_to_image", ("image", "keypoints"), "image", _swapped(_pose), "COCO"),
        InContextTask("depth_estimation", ("image", "depth"), "depth", _DEPTH, "ImageNet-1K, pseudo labels"),
        InContextTask("depth_to_image", ("image", "depth"), "image", _swapped(_DEPTH), "ImageNet-1K, pseudo labels"),
        InContextTask("normal_estimation", ("image", "normals"), "normal", _NORMAL, f"{_PANOPTIC}, pseudo labels"),
        InContextTask(
            "normal_to_image", ("image", "normals"), "image", _swapped(_NORMAL), f"{_PANOPTIC}, pseudo labels"
        ),
        InContextTask("edge_detection", ("image",), "edge", _edges, _PHOTOS),
        InContextTask("inpainting", ("image",), "image", _restored(degradations.cut_hole), _PHOTOS),
        InContextTask("colorization", ("image",), "image", _restored(degradations.gray), _PHOTOS),
        InContextTask("glass_deblurring", ("image",), "image", _restored(degradations.glass_blur), _PHOTOS),
        InContextTask("motion_deblurring", ("image",), "image", _restored(degradations.motion_blur), _PHOTOS),
        InContextTask("deraining", ("image",), "image", _restored(degradations.rain), _PHOTOS),
        InContextTask("frame_prediction", ("frames",), "image", _frame_prediction, "UCF101, Kinetics-700, Kubric"),
        InContextTask("video_depth_estimation", ("frames", "video_depth"), "depth", _VIDEO_DEPTH, "Kubric"),
        InContextTask("depth_to_video", ("frames", "video_depth"), "image", _swapped(_VIDEO_DEPTH), "Kubric"),
        InContextTask("video_normal_estimation", ("frames", "video_normals"), "normal", _VIDEO_NORMAL, "Kubric"),
        InContextTask("normal_to_video", ("frames", "video_normals"), "image", _swapped(_VIDEO_NORMAL), "Kubric"),
        InContextTask("optical_flow", ("frames", "flow"), "flow", _shown("flow", "flow", "frames"), "Kubric"),
        InContextTask(
            "video_instance_segmentation", ("frames", "video_segmentation"), "segmentation", _video_instances, "Kubric"
        ),
    )
}
"""The 22 tasks of the paper."""

EXTRA_TASKS: dict[str, InContextTask] = {
    task.name: task
    for task in (
        InContextTask("foreground_segmentation", _SEGMENTS, "mask", _foreground, "Pascal-5i (evaluation only)"),
        InContextTask("gray_depth_estimation", ("image", "depth"), "depth", _of_gray(_DEPTH), _OURS),
        InContextTask("gray_normal_estimation", ("image", "normals"), "normal", _of_gray(_NORMAL), _OURS),
        InContextTask("gray_foreground_segmentation", _SEGMENTS, "mask", _of_gray(_foreground), _OURS),
        InContextTask("gray_edge_detection", ("image", "edges"), "edge", _of_gray(_edges), _OURS),
    )
}
"""Tasks beyond the paper's tables."""

TASKS = {**PAPER_TASKS, **EXTRA_TASKS}
"""All tasks by name."""


def find_task(name: str) -> InContextTask:
    """Looks a task up.

    Raises:
        ValueError: If there is none of this name; lists those there are.
    """
    if name not in TASKS:
        raise ValueError(f"There is no task {name!r}: choose among {', '.join(TASKS)}.")
    return TASKS[name]


def make_pair(task: InContextTask, record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Makes input and target of a task from an item of a source.

    Raises:
        ValueError: The item lacks what the task needs.
        NotInSampleError: The item shows nothing of it.
    """
    missing = [key for key in task.needs if key not in record]
    if missing:
        raise ValueError(f"The task {task.name} needs {', '.join(missing)}, which the source's items do not have.")
    given, target = task.make(record, draw)
    return np.ascontiguousarray(given), np.ascontiguousarray(target)


# ----------------------------------------------------------------------------------------------------------------------
# Sources and the dataset
# ----------------------------------------------------------------------------------------------------------------------


class ShapesSource(torch.utils.data.Dataset):
    """`shapes` with all the truth it has: everything but keypoints.

    Args:
        split: "train", "validation" or "test".
        num_scenes: Number of scenes.
        image_size: (height, width).
        seed: Seed of the dataset.
        num_frames: Frames of clips; 0 renders images.
        in_memory: Keep what was rendered (about 100 KB per scene of 64 x 64); every loading process keeps its own.
    """

    def __init__(
        self,
        split: str = "train",
        num_scenes: int = 1000,
        image_size: tuple[int, int] = (64, 64),
        seed: int = 0,
        num_frames: int = 0,
        in_memory: bool = False,
    ) -> None:
        self.in_memory, self._kept = in_memory, dict[int, dict[str, Any]]()
        self.split, self.num_scenes, self.seed, self.num_frames = split, num_scenes, seed, num_frames
        self.image_size = (int(image_size[0]), int(image_size[1]))

    @property
    def keys(self) -> tuple[str, ...]:
        """What its items hold."""
        if self.num_frames:
            return ("frames", "video_segmentation", "video_depth", "video_normals", "flow")
        return ("image", "segmentation", "segments_info", "depth", "normals", "edges")

    def __len__(self) -> int:
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.num_scenes:
            raise IndexError(f"scene {index} of {self.num_scenes}")
        if index in self._kept:
            return self._kept[index]
        record = self._render(index)
        if self.in_memory:
            self._kept[index] = record
        return record

    def _render(self, index: int) -> dict[str, Any]:
        place: dict[str, Any] = {"image_size": self.image_size, "seed": self.seed, "split": self.split}
        if self.num_frames:
            clip = render_clip(index, self.num_frames, **place)
            return {
                "frames": clip.frames,
                "video_segmentation": clip.segmentation,
                "video_depth": clip.depth,
                "video_normals": clip.normals,
                "flow": clip.flow,
            }
        truth = render_truth(index, **place)
        return {name: getattr(truth, name) for name in self.keys} | {"thing_class_ids": thing_class_ids}


@functools.cache
def _warn_once(message: str) -> None:
    import logging

    logging.getLogger(__name__).warning(message)


def _opened(source: Any, default: type) -> Any:
    """Opens a source that a recipe describes, by its `reader` or as the default class."""
    if not isinstance(source, Mapping):
        return source
    if "reader" not in source:
        return default(**source)
    return open_source(dict(source))


class InContextDataset(torch.utils.data.Dataset):
    """Draws a task and samples that show it.

    An item is `{"task", "examples": [(input, target), ...], "query", "target"}`, uint8 arrays.

    Args:
        tasks: Names of tasks, or names with weights.
        source: Map-style source of images, or the arguments of `PhotoSource` or (with `reader`, its name) of one of
            `hfseg.data.readers.in_context_sources`; None: `ShapesSource(**shapes)`.
        video_source: Likewise of clips for tasks that need them, by default of `FrameFolderSource`; None:
            `ShapesSource(num_frames=..., **shapes)`.
        num_examples: Pairs that show the task.
        length: Items; None: as many as the source has.
        bucket: Items of one bucket of that many neighbors share their task, so that a batch has equal shapes; with it
            `shuffle` must be off. 1: every item its own task.
        seed: Seed of tasks and partners.
        shapes: Arguments of `ShapesSource`.

    Raises:
        ValueError: Unknown tasks, no tasks, negative weights, or a source that lacks what a task needs.
    """

    def __init__(
        self,
        tasks: Sequence[str] | Mapping[str, float],
        source: Any = None,
        video_source: Any = None,
        num_examples: int = 2,
        length: int | None = None,
        bucket: int = 1,
        seed: int = 0,
        **shapes: Any,
    ) -> None:
        weights = dict(tasks) if isinstance(tasks, Mapping) else dict.fromkeys(tasks, 1.0)
        self.tasks = [find_task(name) for name in weights]
        values = np.array(list(weights.values()), dtype=np.float64)
        if not self.tasks or (values < 0).any() or not values.sum() > 0:
            raise ValueError(f"tasks is {weights}; give names, or names with weights that are not all zero.")
        self.weights = values / values.sum()
        if num_examples < 1:
            raise ValueError(f"num_examples is {num_examples}; a task is shown by at least one pair.")
        num_frames = shapes.pop("num_frames", 13 + 4)
        source, video_source = _opened(source, PhotoSource), _opened(video_source, FrameFolderSource)
        needed = {task.is_video for task in self.tasks}
        self.source = source if source is not None or False not in needed else ShapesSource(**shapes)
        self.video_source = video_source
        if video_source is None and True in needed:
            self.video_source = ShapesSource(num_frames=num_frames, **shapes)
        for task in self.tasks:
            keys = getattr(self._source(task), "keys", None)
            missing = sorted(set(task.needs) - set(keys)) if keys is not None else []
            if missing:
                raise ValueError(f"The task {task.name} needs {', '.join(missing)}, which the source does not have.")
        self.num_examples, self.bucket, self.seed = num_examples, bucket, seed
        self.length = length or max(len(s) for s in (self.source, self.video_source) if s is not None)

    def _source(self, task: InContextTask) -> Any:
        return self.video_source if task.is_video else self.source

    def __len__(self) -> int:
        return self.length

    def sample_id(self, index: int) -> str:
        """Name of an item in messages."""
        return f"{self.task_of(index).name}-{index}"

    def task_of(self, index: int) -> InContextTask:
        """The task of an item."""
        draw = np.random.default_rng([self.seed, 7, index // self.bucket])
        return self.tasks[int(draw.choice(len(self.tasks), p=self.weights))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        return self.draw(self.task_of(index), index)

    def draw(self, task: InContextTask, index: int) -> dict[str, Any]:
        """Draws an item of a given task; a pure function of seed, task and index."""
        draw = np.random.default_rng([self.seed, 8, index])
        source = self._source(task)
        places = [index % len(source)]
        places += draw.integers(0, len(source), 50 + 10 * self.num_examples).tolist()
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for number, place in enumerate(places):
            if number and place == places[0] and len(source) > 1:
                continue  # the query shall not be among the examples
            try:
                pairs.append(make_pair(task, source[place], draw))
            except NotInSampleError as error:
                _warn_once(f"Some samples show nothing of {task.name} ({error}) and are replaced.")
            if len(pairs) == self.num_examples + 1:
                query, target = pairs[0]
                return {"task": task.name, "examples": pairs[1:], "query": query, "target": target}
        raise ValueError(f"Of {len(places)} samples too few show anything of {task.name}.")


class InContextCollator:
    """Makes batches: pixels in [-1, 1] of all inputs and all targets, the query's last.

    Args:
        height: Height to which everything is resized (bicubic); None leaves sizes as they are.
        width: Likewise.

    Shape:
        input_pixels: (B, N + 1, 3, T, H, W), target_pixels: (B, N + 1, 3, T', H, W), float32.
    """

    def __init__(self, height: int | None = None, width: int | None = None) -> None:
        self.height, self.width = height, width

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as transforms

        clip = torch.from_numpy(image if image.ndim == 4 else image[None]).permute(0, 3, 1, 2)
        if self.height and self.width and clip.shape[-2:] != (self.height, self.width):
            clip = transforms.resize(clip, [self.height, self.width], InterpolationMode.BICUBIC, antialias=True)
        return ((clip.float() / 255 - 0.5) * 2).transpose(0, 1)  # (3, T, H, W)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collates items of `InContextDataset`.

        Raises:
            ValueError: Their shapes differ.
        """
        inputs, targets = [], []
        for item in items:
            pairs = [*item["examples"], (item["query"], item["target"])]
            inputs.append(torch.stack([self._pixels(given) for given, _ in pairs]))
            targets.append(torch.stack([self._pixels(target) for _, target in pairs]))
        if len({tensor.shape for tensor in inputs}) > 1 or len({tensor.shape for tensor in targets}) > 1:
            shapes = {item["task"]: tuple(tensor.shape[2:]) for item, tensor in zip(items, inputs)}
            raise ValueError(
                f"A batch mixes shapes (T, H, W): {shapes}. Set data.train.bucket to data.batch_size and data.shuffle "
                "to false, so that images and clips do not meet, and give the collator height and width."
            )
        return {
            "input_pixels": torch.stack(inputs),
            "target_pixels": torch.stack(targets),
            "task": [item["task"] for item in items],
        }


class FramesDataset(torch.utils.data.Dataset):
    """Images, or clips, without a task: what an autoencoder learns from.

    Args:
        source: Source with `image` or `frames`; None: `ShapesSource(**shapes)`.
        with_targets: Show targets of dense tasks too (depth, normals, segments), by turns with images.
        shapes: Arguments of `ShapesSource`.
    """

    def __init__(self, source: Any = None, with_targets: bool = True, **shapes: Any) -> None:
        self.source = ShapesSource(**shapes) if source is None else source
        self.with_targets = with_targets

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        record = self.source[index]
        video = "frames" in record
        shown: list[np.ndarray] = [record["frames" if video else "image"]]
        if self.with_targets:
            prefix = "video_" if video else ""
            for key, visual_format in (("depth", "depth"), ("normals", "normal"), ("segmentation", "segmentation")):
                if prefix + key in record:
                    shown.append(FORMATS[visual_format].encode(record[prefix + key]))
        return shown[index % len(shown)]


class FramesCollator(InContextCollator):
    """Makes batches of `FramesDataset`.

    Shape:
        pixel_values: (B, 3, T, H, W), float32 in [-1, 1].
    """

    def __call__(self, items: Sequence[Any]) -> dict[str, Any]:
        """Collates images or clips of one shape."""
        return {"pixel_values": torch.stack([self._pixels(item) for item in items])}
