# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate` for a LaVin-DiT: the ten quantitative tasks of the paper.

python scripts/evaluate.py --model DIR --task TASK --dataset SPEC --output_dir DIR [--num_examples 4] [--points 20]

| task | the paper's data | SPEC here |
|---|---|---|
| depth_estimation, normal_estimation | NYUv2 test, 654 | nyuv2:PATH; with normals nyuv2:PATH,normal_folder=PATH |
| depth_to_image, normal_to_image | NYUv2, 1449 pictures, pseudo labels | labelled:PATH,depth_folder=PATH |
| foreground_segmentation, single_object_detection | Pascal-5i, 4 folds of 1000 items | pascal-5i:PATH,fold=0 |
| colorization, inpainting, deraining, motion_deblurring | 1000 random pictures of ImageNet val | pictures:PATH |

`shapes[:num_scenes=...]` has them all, for trying out. Examples are drawn per query from the data themselves, never the
query (of Pascal-5i the query's class), or from `--examples SPEC`, or are a folder of `<id>_input.png` and
`<id>_target.png` for all queries. Where the paper is silent: pictures are degraded at the size of the network; the hole
of inpainting is 128 x 128 there (half a side where that is more); depth and normals are compared at the truth's size.

Writes `metrics.json` (numbers, protocol, options, versions, command), `pictures/` (query, answer, target) and
`report.html`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from tqdm import tqdm

from ..data.readers.in_context import NotInSampleError, PhotoSource, ShapesSource, find_task, make_pair
from ..data.readers.in_context_sources import SOURCES, open_source
from ..data.synthetic import degradations
from ..files.model_folders import check_pipeline_weights, loading
from ..files.writing import write_json
from ..metrics.in_context import TASK_METRICS, InContextMetric
from ..results.drawing import side_by_side
from .evaluation_report import EvaluationPage, Shown, write_report

HOLE = 128
# Queries that are made worse are made so at the network's size; depth, normals and masks have truth of their own.
DEGRADED = ("colorization", "inpainting", "deraining", "motion_deblurring")
GENERATED = (*DEGRADED, "depth_to_image", "normal_to_image")
PAPER_SIZES = {
    "depth_estimation": 654,
    "normal_estimation": 654,
    "depth_to_image": 1449,
    "normal_to_image": 1449,
}
TRIES = 50


def takes(model: str | os.PathLike) -> bool:
    """Tells whether a folder is a LaVin-DiT pipeline."""
    file = Path(model) / "model_index.json"
    return file.is_file() and "LavinDiTPipeline" in file.read_text(encoding="utf-8")


def open_data(specification: str, size: tuple[int, int], number: int | None, seed: int) -> Any:
    """Opens `NAME[:PATH][,key=value...]`.

    Args:
        specification: `shapes`, a reader of `in_context_sources.SOURCES`, or `labelled`: PATH is a folder of pictures,
            with `depth_folder=` and `normal_folder=`.
        size: (height, width) of `shapes`.
        number: Pictures to draw of a folder of pictures.
        seed: Seed of that draw.

    Raises:
        ValueError: An unknown name, or arguments that do not fit it.
        FileNotFoundError: Files are missing.
    """
    name, _, rest = specification.partition(":")
    parts = [part for part in rest.split(",") if part]
    given = dict(part.partition("=")[::2] for part in parts if "=" in part)
    arguments: dict[str, Any] = {key: yaml.safe_load(value) for key, value in given.items()}
    path = next((part for part in parts if "=" not in part), None)
    try:
        if name == "shapes":
            return ShapesSource(**{"split": "test", "image_size": size, "num_scenes": number or 50, **arguments})
        if path is None and name in (*SOURCES, "labelled"):
            raise ValueError(f"--dataset {specification!r} has no path: give {name}:PATH.")
        if name == "labelled":
            return PhotoSource(_Named(open_source({"reader": "pictures", "root": path})), **arguments)
        if name == "pictures":
            arguments = {"number": number, "seed": seed, **arguments}
        return open_source({"reader": name, "root": path, **arguments})
    except TypeError as error:
        raise ValueError(f"--dataset {specification!r}: {error}.") from error


class _Named:
    """Pictures with the names of their files, which label folders go by."""

    def __init__(self, source: Any) -> None:
        self.source, self.sample_id = source, source.sample_id

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[index]


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a picture (bicubic) to (height, width)."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))


class TaskPairs:
    """Makes inputs and targets of a task as its evaluation wants them.

    Args:
        task: One of the ten.
        source: Where pictures and truth come from.
        size: (height, width) of the network's pictures.
        seed: Seed of degradations and of the choice of examples.

    Raises:
        ValueError: An unknown task, or a source that lacks what it needs.
    """

    def __init__(self, task: str, source: Any, size: tuple[int, int], seed: int) -> None:
        if task not in TASK_METRICS:
            raise ValueError(f"--task {task!r} has no metrics; legal are {', '.join(TASK_METRICS)}.")
        self.task, self.source, self.size, self.seed = find_task(task), source, size, seed
        keys = getattr(source, "keys", None)
        missing = sorted(set(self.task.needs) - set(keys)) if keys is not None else []
        if missing:
            raise ValueError(f"--task {task} needs {', '.join(missing)}, which the data do not have.")

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
        given, target = make_pair(self.task, record, draw)
        return given, target, record

    def examples(self, index: int, number: int, query: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draws examples for the query `index`, which is no example itself if it is of this source (`query`).

        Raises:
            ValueError: Too few samples show anything of the task.
        """
        draw = np.random.default_rng([self.seed, 2, index])
        own = getattr(self.source, "partners", None)
        places = np.arange(len(self.source)) if own is None or query is None else np.asarray(own(query))
        order = draw.permutation(places[places != query] if query is not None else places)[: number * TRIES]
        pairs = []
        for place in order.tolist():
            try:
                pairs.append(self.pair(place)[:2])
            except NotInSampleError:
                continue
            if len(pairs) == number:
                return pairs
        raise ValueError(f"--num_examples {number}: only {len(pairs)} samples besides the query show {self.task.name}.")


def predictions(
    pipe: Any, queries: TaskPairs, partners: TaskPairs | None, options: argparse.Namespace
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Mapping[str, Any], str]]:
    """Answers queries in batches: (query, answer, target, sample, name)."""
    from ..models.lavin_dit.pipeline_lavin_dit import LavinDiTExamples

    height, width = queries.size
    fixed = None
    if options.examples and Path(options.examples).is_dir():
        fixed = pipe.prepare_examples(options.examples, height, width, options.num_examples, _generator(options, 0))
    waiting: list[tuple[Any, ...]] = []
    count = min(len(queries.source), options.limit or len(queries.source))
    for index in tqdm(range(count), desc=queries.task.name, disable=None):
        try:
            given, target, record = queries.pair(index)
        except NotInSampleError:
            given = None
        if given is not None:
            examples = fixed
            if fixed is None:
                from_others = partners is not None
                pairs = (partners or queries).examples(index, options.num_examples, None if from_others else index)
                examples = pipe.prepare_examples(pairs, height, width, generator=_generator(options, index))
            waiting.append((given, target, record, examples, _name(queries.source, index), index))
        if waiting and (len(waiting) == options.batch_size or index == count - 1):
            parts = [entry[3] for entry in waiting]
            images = pipe(
                [entry[0] for entry in waiting],
                fixed if fixed is not None else LavinDiTExamples.join(parts),
                num_inference_steps=options.points - 1,
                guidance_scale=options.guidance,
                generator=[_generator(options, entry[5]) for entry in waiting],
            ).images
            for (given, target, record, _, name, _), image in zip(waiting, images):
                yield given, np.asarray(image), target, record, name
            waiting = []


def _generator(options: argparse.Namespace, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * options.seed + index)


def _name(source: Any, index: int) -> str:
    return str(source.sample_id(index)) if hasattr(source, "sample_id") else str(index)


def measure(
    metric: InContextMetric, answer: np.ndarray, target: np.ndarray, record: Mapping[str, Any], size: tuple[int, int]
) -> None:
    """Adds one answer to a metric, at the truth's size or (pictures) at the network's."""
    if metric.task in GENERATED:
        metric.add(answer, resized(target, size))
        return
    truth = {"depth_estimation": "depth", "normal_estimation": "normals"}.get(metric.task)
    metric.add(resized(answer, target.shape[:2]), target, record[truth] if truth else None)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures what the options say; returns what was written to `metrics.json`.

    Raises:
        ValueError, FileNotFoundError, ImportError: For what the user can mend.
    """
    from ..models.lavin_dit.pipeline_lavin_dit import LavinDiTPipeline

    for name, least in (("limit", 1), ("num_examples", 1), ("batch_size", 1), ("points", 2), ("pictures", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} {value} is not legal; it must be {least} or more.")
    if options.task not in TASK_METRICS:
        raise ValueError(f"--task {options.task!r} has no metrics; legal are {', '.join(TASK_METRICS)}.")
    metric = InContextMetric(options.task, only=None if options.numbers is None else tuple(options.numbers))
    start = time.perf_counter()
    with loading(options.model):
        pipe = LavinDiTPipeline.from_pretrained(options.model, torch_dtype=getattr(torch, options.dtype))
        check_pipeline_weights(pipe, options.model)
    pipe.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipe.set_progress_bar_config(disable=True)
    size = pipe.check_size(options.height, options.width)
    queries = TaskPairs(options.task, open_data(options.dataset, size, options.limit, options.seed), size, options.seed)
    partners = None
    if options.examples and not Path(options.examples).is_dir():
        source = open_data(options.examples, size, None, options.seed)
        partners = TaskPairs(options.task, source, size, options.seed + 1)
    folder = Path(options.output_dir)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    number, shown = 0, []
    for given, answer, target, record, name in predictions(pipe, queries, partners, options):
        measure(metric, answer, target, record, size)
        if number < options.pictures:
            cells = [resized(cell, size) for cell in (given, answer, target)]
            row = Image.fromarray(np.concatenate(cells, axis=1))
            row.save(folder / "pictures" / f"{number:03d}_{name[-60:]}.png")
            shown.append(Shown(name, side_by_side(cells, ["query", "answer", "target"], minimum_side=192)))
        number += 1
    if not number:
        raise ValueError(f"--dataset {options.dataset!r} shows nothing of {options.task}.")
    report = {
        "task": options.task,
        "metrics": metric.compute(),
        "number_of_images": number,
        "paper_number_of_images": PAPER_SIZES.get(options.task, 1000),
        "model": str(options.model),
        "dataset": options.dataset,
        "examples": {"from": options.examples or options.dataset, "number": options.num_examples},
        "sampling": {"points": options.points, "guidance": options.guidance, "size": size, "seed": options.seed},
        "averages_over": "pictures" if "fid" not in metric.names else "pictures; fid over the two sets",
        "seconds": time.perf_counter() - start,
        "command": options.command,
        "versions": {name: metadata.version(name) for name in ("torch", "diffusers", "torchmetrics", "numpy")},
        "platform": f"{platform.system()} {platform.machine()}",
    }
    write_json(folder / "metrics.json", report)
    write_report(folder / "report.html", describe_page(report, shown))
    return report


def describe_page(report: Mapping[str, Any], shown: Sequence[Shown]) -> EvaluationPage:
    """What the page says of an evaluation."""
    values = {name: f"{value:.4g}" for name, value in report["metrics"].items()}
    sampling, examples = report["sampling"], report["examples"]
    return EvaluationPage(
        title=f"{Path(report['model']).resolve().name}: {report['task']} on {report['dataset']}",
        about=f"{report['number_of_images']} pictures (the paper: {report['paper_number_of_images']}), "
        f"{examples['number']} examples each from {examples['from']}.",
        command=report["command"],
        headline=values,
        numbers=[(name, value, f"averages over {report['averages_over']}") for name, value in values.items()],
        pictures={"Answers": shown},
        facts={
            "sampling": ", ".join(f"{name} {value}" for name, value in sampling.items()),
            "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
            "platform": f"{report['platform']}, {report['seconds']:.1f} s",
        },
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of a LavinDiTPipeline")
    parser.add_argument("--task", required=True, help=f"one of {', '.join(TASK_METRICS)}")
    parser.add_argument("--dataset", required=True, metavar="SPEC", help="NAME[:PATH][,key=value...]")
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    parser.add_argument("--examples", metavar="SPEC|DIR", help="where examples come from; default: the data set")
    parser.add_argument("--num_examples", type=int, default=4, help="pairs per query (the authors' default: 4)")
    parser.add_argument("--numbers", nargs="+", metavar="NAME", help="only these, e.g. those that need no network")
    parser.add_argument("--points", type=int, default=20, help="points of time, one more than steps")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--limit", type=int, metavar="N", help="the first N samples (of `pictures`: N drawn ones)")
    parser.add_argument("--batch_size", type=int, default=4, help="queries per call")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="answers to draw")
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    options = parser.parse_args(argv)
    options.command = shlex.join(["hfseg", "evaluate", *argv])
    return options


def main(argv: Sequence[str]) -> int:
    """Runs the evaluation; user errors end with one line and exit code 1."""
    options = parse(argv)
    try:
        report = run(options)
    except (FileNotFoundError, ValueError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items()))
    print(f"{report['number_of_images']} pictures in {report['seconds']:.1f} s; results in {options.output_dir}.")
    return 0
