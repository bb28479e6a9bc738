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

A *task* makes an input and a target image of such an item. `TASKS` has the 22 of the paper's Tables 4.2-4.3, five that
its evaluation or ours needs, and 24 combinations of kinds of inputs and targets (`COMBINATIONS`). How targets look is
written in `hfseg.results.visual_formats`.
"""

from __future__ import annotations

import functools
import math
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
    "COMBINATIONS",
    "EXTRA_TASKS",
    "HELD_OUT_COMBINATIONS",
    "PAPER_TASKS",
    "TASKS",
    "FrameFolderSource",
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
CHECKED = 16
"""Samples of a source that are tried when a run starts."""


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
        InContextTask(
            "single_object_detection", ("image", "segments_info"), "detection", _detection, "COCO, Objects365"
        ),
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


def _recolored(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The image with its channels in turn: green, blue, red."""
    return record["image"], np.ascontiguousarray(record["image"][..., [1, 2, 0]])


INPUTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "color": lambda image, draw: image,
    "gray": degradations.gray,
    "inverted": lambda image, draw: 255 - image,
    "blurred": degradations.glass_blur,
}
"""How the input of a combination shows the image."""

_TARGETS = {
    "depth": PAPER_TASKS["depth_estimation"],
    "normals": PAPER_TASKS["normal_estimation"],
    "foreground": EXTRA_TASKS["foreground_segmentation"],
    "edges": PAPER_TASKS["edge_detection"],
    "box": PAPER_TASKS["single_object_detection"],
    "recolored": InContextTask("recolored", ("image",), "image", _recolored, _OURS),
}


def _combined(change: Callable[[np.ndarray, np.random.Generator], np.ndarray], maker: Maker) -> Maker:
    """Another kind of input to the same target."""

    def make(record: Record, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        given, target = maker(record, draw)
        return change(given, draw), target

    return make


COMBINATIONS: dict[str, InContextTask] = {
    f"{given}_to_{wanted}": InContextTask(
        f"{given}_to_{wanted}", task.needs, task.target_format, _combined(change, task.make), _OURS
    )
    for given, change in INPUTS.items()
    for wanted, task in _TARGETS.items()
}
"""Every kind of input with every kind of target: what a model learned of some, it may do for others."""

HELD_OUT_COMBINATIONS = tuple(
    f"{given}_to_{wanted}"
    for row, given in enumerate(INPUTS)
    for column, wanted in enumerate(_TARGETS)
    if (row + column) % len(INPUTS) == 3
)
"""A quarter of the combinations: every target is held out for one input, and every input for some target."""

TASKS = {**PAPER_TASKS, **EXTRA_TASKS, **COMBINATIONS}
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


def open_described(source: Any, default: type) -> Any:
    """Opens a source that a recipe describes, by its `reader` or as the default class."""
    if not isinstance(source, Mapping):
        return source
    if "reader" not in source:
        return default(**source)
    if source["reader"] == "shapes":
        return ShapesSource(**{key: value for key, value in source.items() if key != "reader"})
    return open_source(dict(source))


def _read_tasks(tasks: Any) -> tuple[dict[str, float], dict[str, dict[str, float | None]]]:
    """Weights of tasks, and of those that say so the sources that they draw from, with their weights (None: by size).

    Raises:
        ValueError: A task is described in another way.
    """
    if not isinstance(tasks, Mapping):
        return dict.fromkeys(tasks, 1.0), {}
    weights: dict[str, float] = {}
    sources: dict[str, dict[str, float | None]] = {}
    for name, value in tasks.items():
        given = value
        if isinstance(value, Mapping):
            if set(value) - {"weight", "sources"}:
                raise ValueError(f"The task {name} has {', '.join(map(str, value))}; it takes weight and sources.")
            given, value = value.get("sources"), value.get("weight", 1.0)
        elif not isinstance(value, (int, float)):
            value = 1.0
        weights[name] = float(value)
        if isinstance(given, str):
            sources[name] = {given: None}
        elif isinstance(given, (list, tuple)):
            sources[name] = dict.fromkeys(map(str, given), None)
        elif isinstance(given, Mapping):
            sources[name] = {str(source): float(weight) for source, weight in given.items()}
    return weights, sources


def _keys(source: Any) -> set[str]:
    """What a source's items hold; of one that does not say, its first item."""
    keys = getattr(source, "keys", None)
    return set(keys if keys is not None else source[0])


def check_source(task: InContextTask, name: str, source: Any) -> None:
    """Makes one pair of a task from a source, so that a run ends when it starts and not when the task is drawn.

    Up to `CHECKED` samples, spread over the source, are tried for one that shows something of the task.

    Raises:
        ValueError: The source is empty, lacks what the task needs, cannot be read, or shows nothing of the task.
    """
    if len(source) == 0:
        raise ValueError(f"The source {name} is empty; the task {task.name} draws from it.")
    missing = sorted(set(task.needs) - _keys(source))
    if missing:
        raise ValueError(f"The task {task.name} needs {', '.join(missing)}, which the source {name} does not have.")
    places = sorted({round(place) for place in np.linspace(0, len(source) - 1, CHECKED)})
    for place in places:
        try:
            make_pair(task, source[place], np.random.default_rng(0))
            return
        except NotInSampleError:
            continue
        except Exception as error:  # whatever it is, it would come up in the middle of the run
            raise ValueError(
                f"The task {task.name} cannot be made of the source {name}, sample {place}: {error}"
            ) from error
    raise ValueError(f"The source {name}: none of {len(places)} samples shows anything of the task {task.name}.")


class InContextDataset(torch.utils.data.Dataset):
    """Draws a task and samples that show it.

    An item is `{"task", "examples": [(input, target), ...], "query", "target"}`, uint8 arrays. Query and examples are
    of one source.

    Args:
        tasks: Names of tasks, or names with weights, or with a list of the `sources` that they draw from (each as often
            as it is large), or with `{weight, sources}`, where sources are such a list or names with weights.
        source: Map-style source of images, or the arguments of `PhotoSource` or (with `reader`, its name) of one of
            `hfseg.data.readers.in_context_sources`; None: `ShapesSource(**shapes)`.
        video_source: Likewise of clips for tasks that need them, by default of `FrameFolderSource`; None:
            `ShapesSource(num_frames=..., **shapes)`.
        sources: Several sources by name, of images and of clips, each as `source`, in place of `source` and
            `video_source`. A task that does not say its sources draws from all that have what it needs.
        num_examples: Pairs that show the task.
        length: Items; None: as many as the source has.
        bucket: Items of one bucket of that many neighbors share their task, so that a batch has equal shapes; with it
            `shuffle` must be off. 1: every item its own task.
        seed: Seed of tasks and partners.
        check: Whether a pair of every task is made from each of its `sources` now (`check_source`).
        shapes: Arguments of `ShapesSource`.

    Raises:
        ValueError: Unknown tasks, no tasks, negative weights, or a source that lacks what a task needs.
    """

    def __init__(
        self,
        tasks: Sequence[str] | Mapping[str, Any],
        source: Any = None,
        video_source: Any = None,
        num_examples: int = 2,
        length: int | None = None,
        bucket: int = 1,
        seed: int = 0,
        sources: Mapping[str, Any] | None = None,
        check: bool = True,
        **shapes: Any,
    ) -> None:
        weights, of_task = _read_tasks(tasks)
        self.tasks = [find_task(name) for name in weights]
        values = np.array(list(weights.values()), dtype=np.float64)
        if not self.tasks or (values < 0).any() or not values.sum() > 0:
            raise ValueError(f"tasks is {weights}; give names, or names with weights that are not all zero.")
        self.weights = values / values.sum()
        if num_examples < 1:
            raise ValueError(f"num_examples is {num_examples}; a task is shown by at least one pair.")
        self.num_examples, self.bucket, self.seed = num_examples, bucket, seed
        self.source: Any = None
        self.video_source: Any = None
        self.parts: dict[str, Any] = {}  # what is drawn from, by name
        if sources:
            if source is not None or video_source is not None or shapes:
                raise ValueError(
                    "sources replaces source, video_source and the arguments of shapes; give sources alone."
                )
            self.pools = self._open_sources(sources, of_task, check)
        else:
            if of_task:
                task_name, names = next(iter(of_task.items()))
                raise ValueError(f"The task {task_name} names {', '.join(names)}, and there are no data.train.sources.")
            self._open_two(source, video_source, shapes)
            self.pools = {task.name: [(self._source(task), 1.0)] for task in self.tasks}
        sizes = [sum(len(source) for source, _ in pool) for pool in self.pools.values()]
        self.length = length or max(sizes)

    def _open_two(self, source: Any, video_source: Any, shapes: dict[str, Any]) -> None:
        """Opens one source of images and one of clips, as far as tasks need them."""
        num_frames = shapes.pop("num_frames", 13 + 4)
        source, video_source = open_described(source, PhotoSource), open_described(video_source, FrameFolderSource)
        needed = {task.is_video for task in self.tasks}
        self.source = source if source is not None or False not in needed else ShapesSource(**shapes)
        self.video_source = video_source
        if video_source is None and True in needed:
            self.video_source = ShapesSource(num_frames=num_frames, **shapes)
        opened = {"images": self.source, "clips": self.video_source}
        self.parts = {name: part for name, part in opened.items() if part is not None}
        for task in self.tasks:
            keys = getattr(self._source(task), "keys", None)
            missing = sorted(set(task.needs) - set(keys)) if keys is not None else []
            if missing:
                raise ValueError(f"The task {task.name} needs {', '.join(missing)}, which the source does not have.")

    def _open_sources(
        self, sources: Mapping[str, Any], of_task: Mapping[str, Mapping[str, float | None]], check: bool
    ) -> dict[str, list[tuple[Any, float]]]:
        """Opens named sources; returns those of every task with their shares.

        Raises:
            ValueError: A task names a source that there is not, has none, or a weight is negative.
        """
        wanted = {
            name for task in self.tasks for name in of_task.get(task.name, sources)
        }  # of the others nothing is read
        opened, failed = {}, []
        for name in (name for name in sources if name in wanted):
            try:
                opened[name] = open_described(sources[name], PhotoSource)
            except (TypeError, ValueError, OSError) as error:
                failed.append(f"{name}: {error}")
        if failed:
            raise ValueError(f"{len(failed)} of {len(wanted)} data.train.sources cannot be opened. {'; '.join(failed)}")
        self.parts = opened
        pools = {}
        for task in self.tasks:
            fitting = [name for name, source in opened.items() if set(task.needs) <= _keys(source)]
            named = of_task.get(task.name) or dict.fromkeys(fitting, None)
            unknown = sorted(set(named) - set(opened))
            if unknown:
                raise ValueError(f"The task {task.name} names {', '.join(unknown)}; sources are {', '.join(sources)}.")
            if not named:
                raise ValueError(f"No source has what the task {task.name} needs: {', '.join(task.needs)}.")
            if check:
                for name in named:
                    check_source(task, name, opened[name])
            shares = np.array(
                [len(opened[n]) if weight is None else weight for n, weight in named.items()], dtype=float
            )
            if (shares < 0).any() or not shares.sum() > 0:
                raise ValueError(f"The task {task.name} has the weights {dict(named)}; give positive ones.")
            pools[task.name] = [(opened[n], float(share)) for n, share in zip(named, shares / shares.sum())]
        return pools

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
        pool = self.pools[task.name]
        number = int(draw.choice(len(pool), p=[share for _, share in pool])) if len(pool) > 1 else 0
        source = pool[number][0]
        # In the order of the source, neighbors of a bucket would look alike: ImageNet's are of one class.
        places = [index % len(source) if self.bucket == 1 else scattered(index % len(source), len(source))]
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


def scattered(index: int, count: int) -> int:
    """Another place for an index, so that neighbors lie far apart: a permutation of 0 ... count - 1."""
    step = round(count * 0.6180339887)  # the golden section spreads best
    while count > 1 and math.gcd(step, count) != 1:
        step += 1
    return index * step % count


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
