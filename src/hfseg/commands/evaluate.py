# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate`: measures a model folder on labelled pictures.

python scripts/evaluate.py --model DIR --dataset SPEC --output_dir DIR [--task panoptic|instance|semantic|all]
python scripts/evaluate.py --model OPEN_VOCABULARY_DIR --dataset SPEC --output_dir DIR [--labels FILE.json]
torchrun --nproc_per_node N scripts/evaluate.py ...

A folder of a LaVin-DiT has tasks and data of its own; see `hfseg.commands.evaluate_in_context`.

Writes `metrics.json` (numbers, what they average over, thresholds, versions, the command), `per_class.csv`,
`confusion.png`, `overlays/` (worst and best pictures beside the truth), `report.html` (all of it on a page) and
`model_index.yml` (results in the form of the Hub's model cards). With `--task referring` see `evaluate_referring`.
"""

import argparse
import csv
import dataclasses
import importlib
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from huggingface_hub import ModelCardData
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
)

import hfseg
from accelerate import PartialState

from ..data.readers.folders import load_folder
from ..data.synthetic.shapes import ShapesDataset
from ..evaluation.segmentation import (
    AVERAGES,
    TASKS,
    CocoInstances,
    LabelMatch,
    OpenVocabularySegmenter,
    SegmentationMetrics,
    Segmenter,
    as_predict,
    embed_classes,
    match_labels,
    open_vocabulary_samples,
    predict_samples,
    supported_tasks,
)
from ..files.model_folders import load_model as load_model_folder
from ..files.model_folders import loading
from ..files.writing import write_json, write_text
from ..hub.cards import Measurement, eval_results
from ..inference import augmented_scores, sliding_window_segmentation, tiled_panoptic_segmentation
from ..inference.scores import KINDS
from ..inference.sliding_window import WEIGHTINGS
from ..pipelines.auto_models import AutoModelForOpenVocabularySegmentation
from ..results.drawing import confusion_plot, overlay, overlay_semantic, side_by_side
from . import evaluate_in_context
from .evaluation_report import EvaluationPage, Shown, write_report

MODES = ("single", "sliding", "multiscale")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
THRESHOLDS = ("threshold", "mask_threshold", "overlap_mask_area_threshold")
# Has `official_names()` and `load_official(name, path, split)`, for specifications `NAME[:PATH]`.
OFFICIAL = "hfseg.data.readers.official"
NO_FILE_SYSTEM_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How the authors of a model measured it.

    Attributes:
        about: In words, with the source.
        tasks: What they report.
        processor: Settings of the image processor: size at test time, and thresholds.
        notes: Where their numbers rest on other tools or labels than ours.
    """

    about: str
    tasks: tuple[str, ...]
    processor: Mapping[str, Any]
    notes: tuple[str, ...] = ()


_AUTHORS_THRESHOLDS = {
    "threshold": 0.8,
    "mask_threshold": 0.5,
    "overlap_mask_area_threshold": 0.8,
    "num_instances": 100,
}
PROTOCOLS = {
    "default": Protocol("the model folder's own image processor and thresholds", TASKS, {}),
    "coco-panoptic": Protocol(
        "PRO-SCALE and Mask2Former on COCO panoptic val2017: shorter side 800, longer at most 1333; PQ, AP of things "
        "and mIoU, all from the panoptic-trained model",
        TASKS,
        {"size": {"shortest_edge": 800, "longest_edge": 1333}, **_AUTHORS_THRESHOLDS},
        (
            "The authors' AP uses the annotations of instances_val2017.json as truth, where masks may overlap: give "
            "that file as --instance_annotations. Without it the truth of AP is the thing segments of the panoptic "
            "labels.",
        ),
    ),
    "cityscapes": Protocol(
        "PRO-SCALE and Mask2Former on Cityscapes val: shorter side 1024, longer at most 2048; PQ, AP of things, mIoU",
        TASKS,
        {"size": {"shortest_edge": 1024, "longest_edge": 2048}, **_AUTHORS_THRESHOLDS},
        (
            "The authors' AP comes from cityscapesscripts, whose rules differ from COCO's (no limit of 100 detections, "
            "other precision integral); ours is COCO's AP and not comparable to theirs to the decimal.",
        ),
    ),
}


# ---------------------------------------------------------------------------------------------------------------------
# Opening
# ---------------------------------------------------------------------------------------------------------------------
def open_dataset(specification: str, split: str | None) -> Any:
    """Opens a data set by its specification.

    Args:
        specification: `shapes` or `shapes:num_scenes=64,image_size=96x96,seed=0`; a folder or COCO json, as
            `hfseg.data.readers.folders.load_folder` takes them; or `NAME[:PATH]` for an official layout.
        split: Name of the split; None for "validation", or all of a single annotation file.

    Raises:
        FileNotFoundError, ValueError: What is missing or not legal.
    """
    name, separator, rest = specification.partition(":")
    if name == "shapes" and not Path(specification).exists():
        return _open_shapes(rest if separator else "", split)
    path = Path(specification)
    if path.exists():
        if path.is_file():
            return load_folder(path, split)
        return load_folder(path, split or "validation")
    if re.fullmatch(r"[a-z0-9_-]{2,}", name):
        try:
            official = importlib.import_module(OFFICIAL)
        except ImportError:
            official = None
        # A single word is as likely a folder's name misspelt: then the message below is the better one.
        if official is not None and (separator or name in official.official_names()):
            return official.load_official(name, rest if separator else None, split or "validation")
    raise FileNotFoundError(
        f"--dataset {specification!r}: there is no such folder or file; legal are a folder, a COCO json, "
        "shapes[:key=value,...], or NAME[:PATH] of an official layout."
    )


def _open_shapes(settings: str, split: str | None) -> ShapesDataset:
    values: dict[str, Any] = {"num_scenes": 64}
    for item in filter(None, settings.split(",")):
        key, separator, text = item.partition("=")
        try:
            if not separator or key not in ("num_scenes", "image_size", "seed"):
                raise ValueError
            sides = [int(side) for side in text.split("x")]
            values[key] = (sides[0], sides[-1]) if key == "image_size" else int(text)
        except ValueError:
            raise ValueError(
                f"--dataset shapes: {item!r} is not legal; settings are num_scenes=64, image_size=96 or 96x128 (height "
                "x width) and seed=0, separated by commas."
            ) from None
    named = {"val": "validation", "dev": "validation", "valid": "validation"}
    return ShapesDataset(split=named.get(split or "val", split or "val"), **values)


def load_model(folder: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Loads a segmentation model and its image processor from a local folder, through the Auto classes.

    Of an open-vocabulary model the whole processor is loaded, since it reads the names of classes.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no model, one of another task, or not all of its weights.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(
            f"--model {folder!r}: there is no such folder; give a local one (`hf download NAME --local-dir DIR` makes "
            "one from the Hub)."
        )
    if not (path / "config.json").is_file():
        raise ValueError(
            f"--model {folder!r} holds no config.json, so it is no model folder (save_pretrained makes one)."
        )
    with loading(folder):
        config = AutoConfig.from_pretrained(folder)
    for auto_class in (
        AutoModelForUniversalSegmentation,
        AutoModelForSemanticSegmentation,
        AutoModelForOpenVocabularySegmentation,
    ):
        if type(config) in auto_class._model_mapping:
            break
    else:
        raise ValueError(
            f"--model {folder!r} holds a {config.model_type!r} model, which does no universal, semantic or "
            "open-vocabulary segmentation."
        )
    model_class = auto_class._model_mapping[type(config)]
    if isinstance(model_class, tuple):
        named = config.architectures or []
        model_class = next((entry for entry in model_class if entry.__name__ in named), model_class[0])
    model = load_model_folder(folder, model_class, config=config, dtype=dtype)
    open_vocabulary = auto_class is AutoModelForOpenVocabularySegmentation
    with loading(folder):
        image_processor = (AutoProcessor if open_vocabulary else AutoImageProcessor).from_pretrained(folder)
    return model, image_processor


def _one_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def choose_tasks(asked: str, dataset: Any, example: Mapping[str, Any], model: Any, mode: str) -> tuple[list[str], dict]:
    """Tasks to measure, and why the others are left out.

    Raises:
        ValueError: The task asked for cannot be measured.
    """
    reasons = supported_tasks(dataset, example)
    kinds = (AutoModelForUniversalSegmentation, AutoModelForOpenVocabularySegmentation)
    segments = any(type(model.config) in kind._model_mapping for kind in kinds)
    for task in TASKS:
        if not reasons[task] and task != "semantic" and not segments:
            reasons[task] = f"a {model.config.model_type!r} model gives classes of pixels and no segments"
        elif not reasons[task] and mode == "multiscale" and task != "semantic":
            reasons[task] = "several views of a picture are averaged for semantic maps only"
        elif not reasons[task] and mode == "sliding" and task == "instance":
            reasons[task] = "tiles are joined for panoptic segments, which do not overlap"
    chosen = [task for task in TASKS if not reasons[task]] if asked == "all" else [asked]
    left_out = {task: reason for task, reason in reasons.items() if reason}
    if asked in left_out:
        raise ValueError(f"--task {asked} cannot be measured here: {left_out[asked]}.")
    if not chosen:
        raise ValueError(
            f"nothing can be measured here: {'; '.join(f'{task}: {why}' for task, why in left_out.items())}."
        )
    return chosen, left_out


# ---------------------------------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------------------------------
class Evaluator:
    """One model on one data set under one set of options: makes results for any pictures of it."""

    def __init__(self, options: argparse.Namespace, device: torch.device):
        self.options = options
        self.protocol = PROTOCOLS[options.protocol]
        self.dataset = open_dataset(options.dataset, options.split)
        if len(self.dataset) == 0:
            raise ValueError(
                f"--dataset {options.dataset!r} has no samples in split {options.split or 'validation'!r}."
            )
        self.count = len(self.dataset) if options.limit is None else min(options.limit, len(self.dataset))
        self.model, self.image_processor = load_model(options.model, DTYPES[options.dtype])
        self.model.to(device)
        self.processor, self.text_embeds = None, None
        if type(self.model.config) in AutoModelForOpenVocabularySegmentation._model_mapping:
            self.processor, self.image_processor = self.image_processor, self.image_processor.image_processor
            if options.mode != "single":
                raise ValueError(f"--mode {options.mode} is not for open-vocabulary models; legal is single.")
            if options.match_labels:
                raise ValueError(
                    "--match_labels is not for open-vocabulary models: they look for the data's own classes."
                )
        elif options.labels or options.templates:
            raise ValueError(
                f"--labels and --templates are for open-vocabulary models; {options.model!r} knows its own classes."
            )
        for name, value in self.protocol.processor.items():
            setattr(self.image_processor, name, _as_size(self.image_processor, value) if name == "size" else value)
        if options.no_resize:
            self.image_processor.do_resize = False
        if self.processor is None:
            self.match = match_labels(self.model.config.id2label, self.dataset.id2label, options.match_labels)
        else:
            self.match = LabelMatch.identity(len(self.dataset.id2label))
        self.tasks, self.left_out = choose_tasks(options.task, self.dataset, self.dataset[0], self.model, options.mode)
        if options.task == "all":
            self.tasks = [task for task in self.tasks if task in self.protocol.tasks]
        own = getattr(self.model.config, "stuff_class_ids", None)
        own = getattr(self.image_processor, "label_ids_to_fuse", None) if own is None else own
        # What the data set calls stuff is stuff; classes that it lacks are what the model says.
        stuff = set(self.match.to_model(self.dataset.stuff_class_ids))
        stuff |= {label for label in own or () if self.match.to_dataset[label] < 0}
        given = {name: getattr(options, name) for name in THRESHOLDS if getattr(options, name) is not None}
        made = Segmenter if self.processor is None else OpenVocabularySegmenter
        self.segment = made(self.image_processor, self.match, stuff, given)
        if self.processor is not None:
            synonyms, templates = read_labels(options.labels), options.templates or ["vild"]
            templates = templates if any("{}" in text for text in templates) else templates[0]
            self.text_embeds = embed_classes(self.model, self.processor, self.dataset.id2label, synonyms, templates)

        self.annotations = self._annotations() if "instance" in self.tasks else None

    def _annotations(self) -> CocoInstances | None:
        """Truth of AP, where a COCO instances json is given or is the data set."""
        path, category_ids = getattr(self.dataset, "path", None), getattr(self.dataset, "original_category_ids", None)
        file = self.options.instance_annotations
        if file is None and getattr(self.dataset, "kind", "") == "instance" and Path(path or "").suffix == ".json":
            file = path
        if file is None:
            return None
        if not category_ids:
            raise ValueError("--instance_annotations belongs to a COCO data set, whose categories have ids.")
        return CocoInstances(Path(file), {int(category): int(label) for label, category in category_ids.items()})

    def metrics(self) -> SegmentationMetrics:
        """Fresh metrics."""
        return SegmentationMetrics(self.dataset, self.tasks, self.options.overlays > 0, self.annotations)

    def results(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[int, Any, dict[str, Any]]]:
        """Position, example and results of pictures, in order."""
        if self.text_embeds is not None:
            indices = (index for batch in batches for index in batch)
            for sample in open_vocabulary_samples(self.model, self.processor, self.dataset, self.text_embeds, indices):
                yield sample.index, sample.example, self.segment(sample, self.tasks)
            return
        if self.options.mode == "single":
            samples = predict_samples(
                self.model,
                self.image_processor,
                self.dataset,
                batches=batches,
                num_workers=self.options.num_workers,
            )
            for sample in samples:
                yield sample.index, sample.example, self.segment(sample, self.tasks)
            return
        for batch in batches:
            for index in batch:
                example = self.dataset[index]
                yield index, example, self._results_of_views(np.asarray(example["image"]))

    def _results_of_views(self, image: np.ndarray) -> dict[str, Any]:
        options, predict = self.options, as_predict(self.model)
        windows = {"window": options.window, "stride": options.stride, "weighting": options.weighting}
        windows["kind"] = options.average
        results: dict[str, Any] = {}
        if "semantic" in self.tasks:
            if options.mode == "multiscale":
                scores = augmented_scores(
                    image,
                    predict,
                    self.image_processor,
                    scales=options.scales or (1.0,),
                    flip=options.flip,
                    batch_size=options.batch_size,
                    **windows,
                )
                labels = scores.argmax(0)
            else:
                labels = sliding_window_segmentation(
                    image, predict, self.image_processor, batch_size=options.batch_size, **windows
                )
            results["semantic"] = self.segment.semantic(labels)
        if "panoptic" in self.tasks:
            stride = options.stride or [max(1, side // 2) for side in options.window]
            result = tiled_panoptic_segmentation(
                image,
                predict,
                self.image_processor,
                tile=options.window,
                overlap=[side - step for side, step in zip(options.window, stride)],
                label_ids_to_fuse=self.segment.stuff_label_ids,
                batch_size=options.batch_size,
                post_process=self.segment.processing.post_process_panoptic_segmentation,
                **self.segment.thresholds,
            )
            results["panoptic"] = self.segment.panoptic(result)
        return results

    def picture(self, metrics: SegmentationMetrics, example: Any, results: dict[str, Any]) -> Any:
        """The picture, its truth and its prediction, side by side."""
        labels, image = self.dataset.id2label, np.asarray(example["image"])
        plain = overlay(image, np.zeros(image.shape[:2], dtype=np.int32), [], labels)
        if self.tasks == ["semantic"]:
            truth = overlay_semantic(image, np.maximum(metrics.truth(example), -1), labels, ignore_index=-1)
            found = overlay_semantic(image, results["semantic"], labels, ignore_index=-1)
        else:
            segments = metrics.segments(results, image.shape[:2])
            truth = overlay(image, example["segmentation"], example["segments_info"], labels)
            found = overlay(image, segments["segmentation"], segments["segments_info"], labels)
        return side_by_side([plain, truth, found], ["picture", "truth", "predicted"])


def read_labels(file: str | None) -> dict[str, list[str]]:
    """Reads other names of classes: a JSON object of class to name or names.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or it holds something else.
    """
    if file is None:
        return {}
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"--labels {file!r}: there is no such file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--labels {file!r} is no JSON: {error}") from error
    example = '{"car": ["car", "automobile"], "road": "road"}'
    if not isinstance(content, dict):
        raise ValueError(f"--labels {file!r} must hold an object of class to names, such as {example}.")
    names = {key: [value] if isinstance(value, str) else value for key, value in content.items()}
    wrong = [
        key
        for key, value in names.items()
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name.strip() for name in value)
    ]
    if wrong:
        raise ValueError(f"--labels {file!r} gives {wrong[0]!r} no names; expected something like {example}.")
    return names


def _as_size(image_processor: Any, size: Mapping[str, int]) -> Any:
    """A size in the type that the processor keeps its own in."""
    kept = type(image_processor.size)
    return dict(size) if kept is dict else kept(**size)


def run(options: argparse.Namespace) -> dict[str, Any] | None:
    """Carries out one parsed command line; returns what is in `metrics.json` (None on other ranks than the first).

    Raises:
        FileNotFoundError, ValueError: What is wrong with the options, the model or the data.
    """
    check_options(options)
    if options.task == "referring":
        from .evaluate_referring import run_referring

        return run_referring(options, DTYPES[options.dtype])
    on_cpu = options.device == "cpu" or (options.device is None and not torch.cuda.is_available())
    state = PartialState(cpu=True) if on_cpu else PartialState()
    device = torch.device(options.device) if options.device is not None else state.device
    started = time.perf_counter()
    evaluator = Evaluator(options, device)
    # Batches are those of one process, whatever the number of processes: the same numbers come out.
    size, count = options.batch_size, evaluator.count
    batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
    own = batches[state.process_index :: state.num_processes]
    metrics = evaluator.metrics()
    with tqdm(total=sum(map(len, own)), unit="picture", disable=not state.is_main_process) as progress:
        for index, example, results in evaluator.results(own):
            metrics.add(index, example, results)
            progress.update()
    seconds = time.perf_counter() - started
    states = gather_object([metrics.state_dict()]) if state.num_processes > 1 else [metrics.state_dict()]
    if not state.is_main_process:
        return None
    metrics.load_states(states)
    if metrics.indices != list(range(count)):
        raise ValueError(f"{len(metrics.indices)} of {count} pictures were counted; some process did not finish.")
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    confusion, row_names, column_names = metrics.confusion()
    image_scores = list(metrics.image_scores)
    numbers, rows = metrics.compute()
    report = describe(evaluator, numbers, state.num_processes, device, seconds)
    write_json(folder / "metrics.json", report)
    write_csv(folder / "per_class.csv", rows)
    write_text(folder / "model_index.yml", model_index(report))
    plot = None
    if confusion.any():
        title = f"Pixels of each true class by predicted class, in % ({report['dataset']['name']})"
        plot = confusion_plot(confusion, row_names, column_names, title)
        plot.save(folder / "confusion.png")
    drawn = draw_overlays(evaluator, metrics, image_scores, folder / "overlays")
    # In maps of classes every picture has its legend.
    legend = {} if evaluator.tasks == ["semantic"] else evaluator.dataset.id2label
    write_report(folder / "report.html", describe_page(report, rows, plot, drawn, legend))
    return report


def describe_page(
    report: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    plot: Any,
    drawn: Mapping[str, Sequence[Shown]],
    legend: Mapping[int, str],
) -> EvaluationPage:
    """What the page says of an evaluation.

    Args:
        report: As `describe` made it.
        rows: Numbers per class.
        plot: Picture of the confusion of classes, or None.
        drawn: Overlays by kind.
        legend: Classes of the overlays' colours.
    """
    dataset, model, mode = report["dataset"], report["model"], report["mode"]
    told = {name: value for name, value in report["metrics"].items() if value is not None}
    values = {name: f"{value:.2f} %" for name, value in told.items()}
    pictures: dict[str, Sequence[Shown]] = dict(drawn)
    if plot is not None:
        pictures["Confusion of classes"] = [Shown("Rows: true class. Columns: predicted class.", plot)]
    facts = {
        "protocol": f"{report['protocol']['name']}: {report['protocol']['about']}",
        **({"notes": " ".join(report["protocol"]["notes"])} if report["protocol"]["notes"] else {}),
        "mode": ", ".join(f"{name} {value}" if name != "name" else str(value) for name, value in mode.items()),
        "thresholds": ", ".join(f"{name} {value}" for name, value in report["thresholds"].items()) or "none",
        **{f"no {task}": reason for task, reason in report["tasks_left_out"].items()},
        "device": f"{report['device']}, {report['dtype']}, {report['seconds']:.1f} s",
        "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
    }
    return EvaluationPage(
        title=f"{model['name']} on {dataset['name']}",
        about=f"{model['class']} with {model['parameters'] / 1e6:.2f} million parameters; {report['number_of_images']} "
        f"pictures of the split {dataset['split']}; " + ", ".join(report["tasks"]) + " segmentation.",
        command=report["command"],
        headline={name: values[name] for name in ("pq", "ap", "mean_iou", "pixel_accuracy") if name in values},
        numbers=[(name, value, report["averages"].get(name, "")) for name, value in values.items()],
        tables={
            "Classes": [
                {"class": row["name"], **{k: v for k, v in row.items() if k not in ("class_id", "name")}}
                for row in rows
            ]
        },
        pictures=pictures,
        legend=legend,
        facts=facts,
    )


def describe(
    evaluator: Evaluator, numbers: dict[str, float | None], processes: int, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Contents of `metrics.json`: the numbers and everything that they depend on."""
    options, match = evaluator.options, evaluator.match
    processor = evaluator.image_processor
    size = getattr(processor, "size", None)
    mode: dict[str, Any] = {"name": options.mode}
    if options.mode != "single":
        mode |= {"window": options.window, "stride": options.stride, "weighting": options.weighting}
        mode["average"] = options.average
    if options.mode == "multiscale":
        mode |= {"scales": options.scales or [1.0], "flip": options.flip}
    names = ("hfseg", "torch", "torchvision", "transformers", "numpy", "pycocotools")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = hfseg.__version__ if name == "hfseg" else metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    source = options.dataset.rstrip("/")
    return {
        "metrics": numbers,
        "unit": "percent",
        "averages": {name: AVERAGES[_base(name)] + _group(name) for name in numbers if _base(name) in AVERAGES},
        "number_of_images": evaluator.count,
        "tasks": evaluator.tasks,
        "tasks_left_out": evaluator.left_out if options.task == "all" else {},
        "protocol": {
            "name": options.protocol,
            "about": evaluator.protocol.about,
            "notes": list(evaluator.protocol.notes),
        },
        "mode": mode,
        "thresholds": {
            **(evaluator.segment.thresholds if "panoptic" in evaluator.tasks else {}),
            **({"num_instances": evaluator.segment.processing.num_instances} if "instance" in evaluator.tasks else {}),
        },
        "image_size": {
            "do_resize": bool(getattr(processor, "do_resize", False)),
            "size": {key: value for key, value in dict(size).items() if value is not None} if size else None,
        },
        "labels": {
            "matched_by": match.by,
            "only_in_model": list(match.not_in_dataset),
            "only_in_dataset": list(match.not_in_model),
            "truth_of_ap": None if evaluator.annotations is None else str(evaluator.annotations.file),
            "names": None if evaluator.processor is None else read_labels(options.labels) or "the data set's",
            "templates": None if evaluator.processor is None else options.templates or ["vild"],
            "unlabelled_pixels": "background" if getattr(evaluator.dataset, "kind", "") == "instance" else "void",
        },
        "dataset": {
            "name": Path(source).name if Path(source).exists() else source,
            "specification": options.dataset,
            "split": options.split or getattr(evaluator.dataset, "split", None) or "all",
            "split_note": getattr(evaluator.dataset, "split_note", ""),
        },
        "model": {
            "folder": options.model,
            "name": Path(options.model).resolve().name,
            "class": type(evaluator.model).__name__,
            "parameters": sum(parameter.numel() for parameter in evaluator.model.parameters()),
        },
        "command": options.command,
        "versions": versions,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({platform.machine()})",
        "dtype": options.dtype,
        "processes": processes,
        "batch_size": options.batch_size,
        "seconds": round(seconds, 2),
    }


def _base(name: str) -> str:
    for ending in ("_things", "_stuff", "_small", "_medium", "_large"):
        name = name.removesuffix(ending)
    return name


def _group(name: str) -> str:
    groups = {
        "_things": "; thing classes only",
        "_stuff": "; stuff classes only",
        "_small": "; objects below 32 x 32 pixels",
        "_medium": "; objects of 32 x 32 to 96 x 96 pixels",
        "_large": "; objects above 96 x 96 pixels",
    }
    return next((words for ending, words in groups.items() if name.endswith(ending)), "")


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one line per class; empty where a class does not occur."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})


def model_index(report: Mapping[str, Any]) -> str:
    """The results as a model card's `model-index`, as the Hub reads it (YAML)."""
    dataset = report["dataset"]
    measurements = [
        Measurement(
            metric=name,
            value=round(value, 4),
            title=f"{name} (%)",
            dataset=dataset["name"],
            split=dataset["split"],
            config=f"{report['protocol']['name']}, {report['mode']['name']}",
            command=report["command"],
        )
        for name, value in report["metrics"].items()
        if value is not None
    ]
    results = eval_results(measurements, "image-segmentation")
    return ModelCardData(model_name=report["model"]["name"], eval_results=results).to_yaml() + "\n"


def draw_overlays(
    evaluator: Evaluator, metrics: SegmentationMetrics, image_scores: Sequence[float], folder: Path
) -> dict[str, list[Shown]]:
    """Draws the worst and the best pictures by their own PQ (or mean IoU), which are segmented once more.

    Returns:
        Heading to pictures, as the page has them.
    """
    drawn: dict[str, list[Shown]] = {"Worst pictures": [], "Best pictures": []}
    if not image_scores or evaluator.options.overlays < 1:
        return drawn
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("worst_*.png"), *folder.glob("best_*.png")]:
        old.unlink()
    order = sorted(range(len(image_scores)), key=lambda index: (image_scores[index], index))
    worst = order[: evaluator.options.overlays]
    best = [index for index in reversed(order) if index not in worst][: evaluator.options.overlays]
    chosen = {index: ("worst", rank) for rank, index in enumerate(worst, start=1)}
    chosen |= {index: ("best", rank) for rank, index in enumerate(best, start=1)}
    measure = "mean IoU" if evaluator.tasks == ["semantic"] else "PQ"
    shown: dict[tuple[str, int], Shown] = {}
    for index, example, results in evaluator.results([[index] for index in sorted(chosen)]):
        kind, rank = chosen[index]
        name = NO_FILE_SYSTEM_NAME.sub("-", str(example.get("image_id", index)))[-60:]
        file = folder / f"{kind}_{rank:02d}_{100 * image_scores[index]:.0f}_{name}.png"
        evaluator.picture(metrics, example, results).save(file)
        shown[kind, rank] = Shown(f"{name}: {measure} {100 * image_scores[index]:.1f} %", file)
    for kind, rank in sorted(shown):
        drawn[f"{kind.capitalize()} pictures"].append(shown[kind, rank])
    return drawn


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------
def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, metavar="DIR", help="folder made by save_pretrained")
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="SPEC",
        help="shapes[:num_scenes=64,image_size=96,seed=0], a folder, a COCO json, or NAME[:PATH] of an official "
        "layout; referring: a json, jsonl or lmdb file, refcoco:ROOT, refcocog/umd:ROOT, referring-shapes[:...]",
    )
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    parser.add_argument(
        "--task", default="all", choices=[*TASKS, "referring", "all"], help="all: what model and labels allow"
    )
    parser.add_argument("--split", help="default: the validation split, or a single annotation file as it is")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N pictures only")
    parser.add_argument("--batch_size", type=int, default=1, help="pictures (or windows) per forward pass")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that read and resize pictures")
    parser.add_argument("--protocol", default="default", choices=PROTOCOLS, help="an authors' protocol by name")
    parser.add_argument("--mode", default="single", choices=MODES)
    parser.add_argument("--scales", type=float, nargs="+", metavar="S", help="multiscale: factors of the usual size")
    parser.add_argument("--flip", action="store_true", help="multiscale: mirror images too")
    parser.add_argument(
        "--window", type=int, nargs=2, metavar=("H", "W"), help="of the network input (panoptic: of the picture)"
    )
    parser.add_argument("--stride", type=int, nargs=2, metavar=("H", "W"), help="default: half a window")
    parser.add_argument("--weighting", default="mean", choices=WEIGHTINGS, help="of the pixels of a window")
    parser.add_argument(
        "--average",
        default="probabilities",
        choices=KINDS,
        help="of windows and views; logits of per-pixel classifiers",
    )
    parser.add_argument("--no_resize", action="store_true", help="pictures keep their own scale")
    parser.add_argument(
        "--instance_annotations", metavar="FILE", help="COCO instances json that AP takes for truth, not the id maps"
    )
    parser.add_argument("--match_labels", choices=("id", "name"), help="where the classes differ from the data's")
    parser.add_argument(
        "--labels", metavar="FILE.json", help="open vocabulary: other names of classes, {class: [name, ...]}"
    )
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="SET|SENTENCE",
        help="open vocabulary: vild (default), simple, imagenet, imagenet_vild, or sentences with {}",
    )
    for name in THRESHOLDS:
        parser.add_argument(
            f"--{name}", type=float, help="of panoptic segments; default: the protocol's or the model's"
        )
    parser.add_argument("--overlays", type=int, default=4, metavar="N", help="worst and best pictures to draw; 0: none")
    parser.add_argument("--device", help="default: an accelerator if there is one")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    options = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else list(argv)
    options.command = shlex.join(["hfseg", "evaluate", *(word for word in words)])
    return options


def check_options(options: argparse.Namespace) -> None:
    """Checks that numbers are legal and options fit together.

    Raises:
        ValueError: Otherwise.
    """
    for name, least in (("limit", 1), ("batch_size", 1), ("num_workers", 0), ("overlays", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} {value} is not legal; it must be {least} or more.")
    for name in THRESHOLDS:
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"--{name} {value} is not legal; it must lie between 0 and 1.")
    if options.mode != "multiscale" and (options.scales or options.flip):
        raise ValueError(f"--scales and --flip belong to --mode multiscale, but the mode is {options.mode}.")
    if options.mode == "single" and (options.window or options.stride):
        raise ValueError("--window and --stride belong to --mode sliding or multiscale, but the mode is single.")
    if options.mode == "sliding" and not options.window:
        raise ValueError("--mode sliding needs --window HEIGHT WIDTH.")
    if options.mode == "multiscale" and not options.flip and (options.scales or [1.0]) == [1.0]:
        raise ValueError("--mode multiscale needs --scales (for example 0.5 1 1.5) or --flip.")


def _model_of(words: Sequence[str]) -> str:
    """Reads --model before the rest: in-context models have options of their own."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", default="")
    return parser.parse_known_args(words)[0].model


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg evaluate` and `scripts/evaluate.py`; user errors end with one line and exit code 1."""
    words = sys.argv[1:] if argv is None else list(argv)
    if evaluate_in_context.takes(_model_of(words)):
        return evaluate_in_context.main(words)
    options = parse(argv)
    try:
        report = run(options)
    except (FileNotFoundError, ValueError, ImportError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    if report is not None:
        show = ["pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap50", "mean_iou", "pixel_accuracy"]
        show += ["overall_iou", "first_mean_iou"]
        found = [(name, report["metrics"].get(name)) for name in show]
        print(", ".join(f"{name} {value:.2f}" for name, value in found if value is not None) + " (percent)")
        print(f"{report['number_of_images']} pictures in {report['seconds']:.1f} s; results in {options.output_dir}.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
