# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of in-context models: the ten quantitative tasks of the paper, and the others of its 22.

| task | the paper's data | dataset here |
|---|---|---|
| depth_estimation, normal_estimation | NYUv2 test, 654 | nyuv2:PATH; with normals nyuv2:PATH,normal_folder=PATH |
| depth_to_image, normal_to_image | NYUv2, 1449 images, pseudo labels | labeled:PATH,depth_folder=PATH |
| foreground_segmentation, single_object_detection | Pascal-5i, 4 folds of 1000 items | pascal-5i:PATH,fold=0 |
| colorization, inpainting, deraining, motion_deblurring | 1000 random images of ImageNet val | images:PATH |
| pose, edges, panoptic and instance segmentation, ... | not measured | labeled:PATH, coco json, images:PATH |
| tasks of clips | not measured | shapes:num_frames=17, frames:PATH (frame prediction) |

`shapes[:num_scenes=...]` has them all, for trying out. Examples are drawn per query from the data themselves, never the
query (of Pascal-5i the query's class), or from another dataset, or are a folder of `<id>_input.png` and
`<id>_target.png` for all queries. Where the paper is silent: images are degraded at the size of the network; the hole
of inpainting is 128 x 128 there (half a side where that is more); depth and normals are compared at the truth's size.
Of a folder of more than 1,000 images 1,000 are drawn. Depth is drawn and aligned in the source's space (NYUv2:
disparity, as the paper's labels; `shapes`: depth) or in that of the option `depth_space`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..data.readers.in_context import NotInSampleError, find_task, make_pair
from ..data.specs import open_dataset, parse_spec
from ..data.synthetic import degradations
from ..metrics.in_context import DEPTH_SPACES, QUANTITATIVE_TASKS, TASK_METRICS, TRUTHS, InContextMetric
from ..results.drawing import side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .report import Shown, file_name

__all__ = ["InContextEvaluator", "TaskPairs", "measure_image", "open_data", "predictions"]

HOLE = 128
# Queries that are made worse are made so at the network's size; depth, normals and masks have a ground truth of their
# own.
DEGRADED = ("colorization", "inpainting", "deraining", "motion_deblurring", "glass_deblurring")
VIDEOS_MADE = ("frame_prediction", "depth_to_video", "normal_to_video")
GENERATED = (*DEGRADED, "depth_to_image", "normal_to_image", "pose_to_image", *VIDEOS_MADE)
CLIP_FRAMES = 17  # of `shapes`, unless its specification says `num_frames`
PAPER_IMAGES = 1000
PAPER_SIZES = {
    "depth_estimation": 654,
    "normal_estimation": 654,
    "depth_to_image": 1449,
    "normal_to_image": 1449,
}
TRIES = 50
USUAL_EXAMPLES = 4  # the official command's


def open_data(
    specification: str,
    size: tuple[int, int],
    number: int | None,
    seed: int,
    split: str | None = None,
    task: str | None = None,
) -> Any:
    """Opens a source of images and ground truth (`hfseg.data.specs`).

    Args:
        specification: Of the source.
        size: (height, width) of `shapes`.
        number: Images to draw of a folder of images; scenes of `shapes`. None: 1,000 at most; 50 scenes.
        seed: Seed of that draw.
        split: Split of `shapes`.
        task: The task: detection takes other images of Pascal-5i than segmentation.

    Raises:
        FileNotFoundError, ValueError: As `open_dataset`.
    """
    name = parse_spec(specification).name
    given: dict[str, Any] = {}
    if name == "shapes":
        given = {"image_size": size, "num_scenes": number or 50}
        if task is not None and find_task(task).is_video and "num_frames" not in parse_spec(specification).settings:
            given["num_frames"] = CLIP_FRAMES
    elif name in ("images", ""):
        given = {"number": number, "seed": seed}
    elif name == "pascal-5i" and task == "single_object_detection":
        specification = specification.replace(name, f"{name}-boxes", 1)
    source = open_dataset(specification, split, kind="in-context", **given)
    if name in ("images", "") and number is None and len(source) > PAPER_IMAGES:
        source = open_dataset(specification, split, kind="in-context", number=PAPER_IMAGES, seed=seed)
    return source


def resized(image: np.ndarray, size: tuple[int, int], resample: int = Image.Resampling.BICUBIC) -> np.ndarray:
    """Resizes an image, or the frames of a clip, to (height, width); bicubic unless another filter is named."""
    if image.shape[-3:-1] == tuple(size):
        return image
    if image.ndim == 4:
        return np.stack([resized(frame, size, resample) for frame in image])
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resample))


class TaskPairs:
    """Makes inputs and targets of a task as its evaluation wants them.

    Args:
        task: One of `hfseg.metrics.in_context.TASK_METRICS`.
        source: Where images and truth come from.
        size: (height, width) of the network's images.
        seed: Seed of degradations and of the choice of examples.
        depth_space: what images of a metric depth show: "disparity" or "depth". None: the source's `depth_space`.

    Raises:
        ValueError: An unknown task or space, a source that lacks what it needs, or depth that is not metric.
    """

    def __init__(
        self, task: str, source: Any, size: tuple[int, int], seed: int, depth_space: str | None = None
    ) -> None:
        if task not in TASK_METRICS:
            raise ValueError(f"--task {task!r} has no metrics; the task must be one of {', '.join(TASK_METRICS)}.")
        self.task, self.source, self.size, self.seed = find_task(task), source, size, seed
        self.holds_queries = False  # whether queries of another source may be samples of this one, by name
        keys = getattr(source, "keys", None)
        missing = sorted(set(self.task.needs) - set(keys)) if keys is not None else []
        if missing:
            raise ValueError(f"--task {task} needs {', '.join(missing)}, which the data do not have.")
        self.depth_space = depth_space or getattr(source, "depth_space", "depth")
        if self.depth_space not in DEPTH_SPACES:
            raise ValueError(f"depth_space={self.depth_space!r} must be one of {', '.join(DEPTH_SPACES)}.")
        if task == "depth_estimation" and getattr(source, "inverse_depth", False):
            raise ValueError(
                "--task depth_estimation compares depth, and the labels are disparities of unknown shift "
                "(inverse_depth): take data with depth, such as nyuv2:PATH."
            )

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray, Mapping[str, Any]]:
        """Makes the input and the target of a sample; also returns the sample.

        Raises:
            NotInSampleError: The sample shows nothing of the task.
        """
        record, draw = dict(self.source[index]), np.random.default_rng([self.seed, 1, index])
        if self.task.name in DEGRADED:
            record["image"] = resized(record["image"], self.size)
        if self.task.name == "inpainting":
            side = min(HOLE, *(length // 2 for length in self.size))
            return degradations.cut_square(record["image"], draw, side), record["image"], record
        shown = record
        if self.depth_space == "disparity" and not getattr(self.source, "inverse_depth", False) and "depth" in record:
            shown = {**record, "depth": _negative_disparity(record["depth"])}
        given, target = make_pair(self.task, shown, draw)
        return given, target, record

    def category(self, index: int) -> Any:
        """Class that the examples of a query must have; None if any will do."""
        return self.source.category(index) if hasattr(self.source, "category") else None

    def examples(
        self, index: int, number: int, query: int | None, category: Any = None, name: str | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draws examples for the query `index`, which is no example itself if it is of this source (`query`, `name`).

        Args:
            index: The query; seeds the draw.
            number: Examples.
            query: The query's place in this source; None if it is of another one.
            category: Class that they must have, where this source knows classes.
            name: The query's name in a source that has the same samples (`holds_queries`).

        Raises:
            ValueError: Too few samples show anything of the task.
        """
        draw = np.random.default_rng([self.seed, 2, index])
        if query is not None and hasattr(self.source, "partners"):
            places = np.asarray(self.source.partners(query), dtype=int)
        elif query is None and category is not None and hasattr(self.source, "of_category"):
            places = np.asarray(self.source.of_category(category), dtype=int)
        else:
            places = np.arange(len(self.source))
        order = draw.permutation(places[places != query] if query is not None else places)[: number * TRIES]
        pairs = []
        for place in order.tolist():
            if self.holds_queries and _name(self.source, place) == name:
                continue
            try:
                pairs.append(self.pair(place)[:2])
            except NotInSampleError:
                continue
            if len(pairs) == number:
                return pairs
        raise ValueError(f"--num_examples {number}: only {len(pairs)} samples besides the query show {self.task.name}.")


def _negative_disparity(depth: np.ndarray) -> np.ndarray:
    """-1 / depth: nearer is smaller, as in every image of depth; pixels without depth are as far as the farthest."""
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        raise NotInSampleError("no pixel with a depth")
    return -1 / np.where(valid, depth, depth[valid].max())


def predictions(
    pipe: Any, queries: TaskPairs, partners: TaskPairs | None, options: Any, rank: int = 0, ranks: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Mapping[str, Any], str]]:
    """Generates images for this process's queries, in batches: (query, image generated, target, sample, name)."""
    height, width = queries.size
    fixed = None
    if options.examples and Path(options.examples).is_dir():
        fixed = pipe.prepare_examples(options.examples, height, width, options.num_examples, _generator(options, 0))
    waiting: list[tuple[Any, ...]] = []
    count = min(len(queries.source), options.limit or len(queries.source))
    own = range(rank, count, ranks)
    for index in tqdm(own, desc=queries.task.name, disable=None if rank == 0 else True):
        try:
            given, target, record = queries.pair(index)
        except NotInSampleError:
            given = None
        if given is not None:
            examples = fixed
            if fixed is None:
                from_others = partners is not None
                pairs = (partners or queries).examples(
                    index,
                    options.num_examples,
                    None if from_others else index,
                    queries.category(index),
                    _name(queries.source, index),
                )
                examples = pipe.prepare_examples(pairs, height, width, generator=_generator(options, index))
            waiting.append((given, target, record, examples, _name(queries.source, index), index))
        if waiting and (len(waiting) == options.batch_size or index == own[-1]):
            parts = [entry[3] for entry in waiting]
            images = pipe(
                [entry[0] for entry in waiting],
                fixed if fixed is not None else type(parts[0]).join(parts),
                num_inference_steps=options.num_inference_steps,
                guidance_scale=options.guidance_scale,
                generator=[_generator(options, entry[5]) for entry in waiting],
            ).images
            for (given, target, record, _, name, _), image in zip(waiting, images):
                answer = np.stack([np.asarray(frame) for frame in image]) if isinstance(image, list) else image
                yield given, np.asarray(answer), target, record, name
            waiting = []


def _generator(options: Any, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * options.seed + index)


def _name(source: Any, index: int) -> str:
    return str(source.sample_id(index)) if hasattr(source, "sample_id") else str(index)


def measure_image(
    metric: InContextMetric, answer: np.ndarray, target: np.ndarray, record: Mapping[str, Any], size: tuple[int, int]
) -> None:
    """Adds one generated image to a metric, at the truth's size or (images) at the network's."""
    if metric.task in GENERATED:
        metric.add(answer, resized(target, size))
        return
    # Colors of segments stand for ids: no color may arise between two of them.
    ids = find_task(metric.task).target_format == "segmentation"
    shown = resized(answer, target.shape[-3:-1], Image.Resampling.NEAREST if ids else Image.Resampling.BICUBIC)
    truth = TRUTHS.get(metric.task)
    metric.add(shown, target, record[truth] if truth else None)


class InContextEvaluator(TaskEvaluator):
    """In-context models.

    Options: `task`, one of `hfseg.metrics.in_context.TASK_METRICS`; `examples` (a dataset or a folder of pairs;
    default: the dataset) and `num_examples` per query (None: 4, or fewer where the model was trained with fewer);
    `num_inference_steps`, `guidance_scale`, `height`, `width`, `seed`; `only`, some of the task's metrics, such as
    those that need no network; `depth_space`, `depth_cap` and `depth_crop` of depth
    (`hfseg.metrics.in_context.depth_errors`); `normals_per_image`, which averages normals per image first.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {
        "task": None,
        "examples": None,
        "num_examples": None,
        "num_inference_steps": 19,
        "guidance_scale": 1.5,
        "height": None,
        "width": None,
        "seed": 0,
        "only": None,
        "depth_space": None,
        "depth_cap": None,
        "depth_crop": None,
        "normals_per_image": False,
    }
    batch_size = 4
    kind = "in-context"

    def check_options(self) -> None:
        """Checks the task, and that numbers are legal.

        Raises:
            ValueError: They are not.
        """
        options = self.options
        if options.num_examples is None:
            options.num_examples = min(USUAL_EXAMPLES, self.loaded.model.max_examples or USUAL_EXAMPLES)
        for name, least in (("num_examples", 1), ("num_inference_steps", 1)):
            if getattr(options, name) < least:
                raise ValueError(f"{name} must be {least} or more; got {getattr(options, name)}.")
        if options.task not in TASK_METRICS:
            raise ValueError(f"The task must be one of {', '.join(TASK_METRICS)}; got {options.task!r}.")
        if options.depth_cap is not None and not options.depth_cap > 0:
            raise ValueError(f"depth_cap must be positive, in the unit of the depth; got {options.depth_cap}.")
        if options.depth_crop not in (None, "eigen"):
            raise ValueError(f'depth_crop must be "eigen"; got {options.depth_crop!r}.')
        if options.depth_space not in (None, *DEPTH_SPACES):
            raise ValueError(f"depth_space must be one of {', '.join(DEPTH_SPACES)}; got {options.depth_space!r}.")
        self.size = self.loaded.model.check_size(options.height, options.width)

    def open(self, specification: str) -> Any:
        """Opens the queries."""
        options = self.options
        return open_data(specification, self.size, options.limit, options.seed, options.split, options.task)

    def prepare(self) -> None:
        """Opens the examples."""
        options = self.options
        self.queries = TaskPairs(options.task, self.dataset, self.size, options.seed, options.depth_space)
        self.metric = InContextMetric(
            options.task,
            only=None if options.only is None else tuple(options.only),
            depth_space=self.queries.depth_space or "depth",
            depth_cap=options.depth_cap,
            depth_crop=options.depth_crop,
            normals_per_image=options.normals_per_image,
        )
        self.partners = None
        if options.examples and not Path(options.examples).is_dir():
            source = open_data(str(options.examples), self.size, None, options.seed, task=options.task)
            space = self.queries.depth_space
            self.partners = TaskPairs(options.task, source, self.size, options.seed + 1, space)
            given, asked = (parse_spec(str(text)) for text in (options.examples, self.specification))
            self.partners.holds_queries = (given.name, given.path) == (asked.name, asked.path)

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Generates an image for every query and compares."""
        options, metric = self.options, self.metric
        count, self.shown = 0, []
        for given, answer, target, record, name in predictions(
            self.loaded.model, self.queries, self.partners, options, rank, ranks
        ):
            measure_image(metric, answer, target, record, self.size)
            if count * ranks < options.overlays and rank == 0:
                middle = [cell[len(cell) // 2] if cell.ndim == 4 else cell for cell in (given, answer, target)]
                cells = [resized(cell, self.size) for cell in middle]
                drawn = side_by_side(cells, ["query", "image generated", "target"], minimum_side=192)
                self.shown.append(Shown(name, drawn, f"{count * ranks:03d}_{file_name(name)[-60:]}"))
            count += 1
        states = gathered({**metric.state_dict(), "count": count}, ranks)
        total = sum(state["count"] for state in states)
        if not total:
            raise ValueError(f"The dataset {self.specification!r} shows nothing of {options.task}.")
        metric.load_states(states)
        averages = "images" if "fid" not in metric.names else "images; fid over the two sets"
        if options.task == "normal_estimation" and not options.normals_per_image:
            averages = "pixels of all images"
        if metric.sums is not None:
            averages = "everything in all images together"
        numbers = metric.compute()
        paper = PAPER_SIZES.get(options.task, PAPER_IMAGES) if options.task in QUANTITATIVE_TASKS else None
        return Outcome(
            metrics=dict(numbers),
            number_of_images=total,
            averages=dict.fromkeys(numbers, f"mean over {averages}" if metric.sums is None else f"over {averages}"),
            unit="as the paper's tables; shares in percent",
            headline=tuple(numbers),
            record={
                "tasks": [options.task],
                "paper_number_of_images": paper,
                **({"depth_space": self.queries.depth_space} if options.task == "depth_estimation" else {}),
                "examples": {"from": str(options.examples or self.specification), "number": options.num_examples},
                "sampling": {
                    "num_inference_steps": options.num_inference_steps,
                    "guidance_scale": options.guidance_scale,
                    "size": list(self.size),
                    "seed": options.seed,
                },
            },
            facts={
                "examples": f"{options.num_examples} for each query, from {options.examples or self.specification}",
                "sampling": f"{options.num_inference_steps} inference steps, guidance {options.guidance_scale}, "
                f"{self.size[0]} x {self.size[1]}, seed {options.seed}",
                **({"in the paper": f"{paper} images"} if paper else {}),
            },
        )

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Returns what was drawn on the way: generating again takes as long as the first time."""
        return {"Images generated": self.shown[:count]}
