# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of universal and semantic models: PQ, AP and mean IoU, as labels and model allow.

Images are seen whole, in overlapping windows (`mode="sliding"`) or in several views (`mode="multiscale"`). A protocol
sets the sizes and thresholds with which the authors of a model evaluated it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from ..inference import augmented_scores, sliding_window_segmentation, tiled_panoptic_segmentation
from ..results.confusion import ConfusionMatrix
from ..results.drawing import overlay, overlay_semantic, side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .comparison import TITLES, compare_segments
from .labels import match_labels
from .prediction import Segmenter, as_predict, predict_samples
from .report import Shown, file_name
from .segmentation import (
    AVERAGES,
    TASKS,
    CocoInstances,
    SegmentationMetrics,
    instances_beside,
    own_instances,
    supported_tasks,
)

__all__ = ["PROTOCOLS", "ClosedVocabularyEvaluator", "Protocol"]

THRESHOLDS = ("threshold", "mask_threshold", "overlap_mask_area_threshold")
HEADLINE = ("pq", "ap", "cityscapes_ap", "mean_iou", "pixel_accuracy")
GROUPS = {
    "_things": "; thing classes only",
    "_stuff": "; stuff classes only",
    "_small": "; objects below 32 x 32 pixels",
    "_medium": "; objects of 32 x 32 to 96 x 96 pixels",
    "_large": "; objects above 96 x 96 pixels",
}


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
# Value of `instance_annotations`: AP against the dataset's own segments, whatever lies beside it.
NO_ANNOTATIONS = "none"
PROTOCOLS = {
    "default": Protocol("the model folder's own image processor and thresholds", TASKS, {}),
    "coco-panoptic": Protocol(
        "Mask2Former and others on COCO panoptic val2017: shorter side 800, longer at most 1333; PQ, AP of things "
        "and mIoU, all from the panoptic-trained model",
        TASKS,
        {"size": {"shortest_edge": 800, "longest_edge": 1333}, **_AUTHORS_THRESHOLDS},
        (
            "The authors' AP uses the annotations of instances_val2017.json as truth, where masks may overlap: it is "
            "taken where it lies beside the panoptic file, or given as --instance_annotations. Without it, or with "
            "--instance_annotations none, the truth of AP is the thing segments of the panoptic labels.",
        ),
    ),
    "cityscapes": Protocol(
        "Mask2Former and others on Cityscapes val: shorter side 1024, longer at most 2048; PQ, AP of things, mIoU",
        TASKS,
        {"size": {"shortest_edge": 1024, "longest_edge": 2048}, **_AUTHORS_THRESHOLDS},
        (
            "The authors' AP comes from cityscapesscripts, whose rules differ from COCO's: it is cityscapes_ap, "
            "measured on cityscapes_panoptic and cityscapes_instance; ap is COCO's and not comparable with theirs.",
        ),
    ),
}


def averages(names: Sequence[str]) -> dict[str, str]:
    """What each number averages over."""
    told = {}
    for name in names:
        ending = next((ending for ending in GROUPS if name.endswith(ending)), "")
        base = name.removesuffix(ending)
        if base in AVERAGES:
            told[name] = AVERAGES[base] + GROUPS.get(ending, "")
    return told


class ClosedVocabularyEvaluator(TaskEvaluator):
    """Universal and semantic models; and, with another way to results, open-vocabulary ones.

    Options: `task` ("panoptic", "instance", "semantic" or "all"), `protocol`, `mode` ("single", "sliding",
    "multiscale") with `window`, `stride`, `weighting`, `average`, `scales` and `flip`; `no_resize`; `match_labels`
    ("id", "name") where the classes differ from the dataset's; `instance_annotations`, a COCO json that is the ground
    truth of AP; and the thresholds of panoptic segments.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {
        "task": "all",
        "protocol": "default",
        "mode": "single",
        "window": None,
        "stride": None,
        "weighting": "mean",
        "average": "probabilities",
        "scales": None,
        "flip": False,
        "no_resize": False,
        "match_labels": None,
        "instance_annotations": None,
        **dict.fromkeys(THRESHOLDS),
    }

    def check_options(self) -> None:
        """Checks that options fit together.

        Raises:
            ValueError: They do not.
        """
        options = self.options
        for name in THRESHOLDS:
            value = getattr(options, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1; got {value}.")
        for name, legal in (("protocol", tuple(PROTOCOLS)), ("mode", ("single", "sliding", "multiscale"))):
            if getattr(options, name) not in legal:
                raise ValueError(f"{name} must be one of {', '.join(legal)}; got {getattr(options, name)!r}.")
        if options.mode != "multiscale" and (options.scales or options.flip):
            raise ValueError(f"scales and flip belong to mode multiscale, but the mode is {options.mode}.")
        if options.mode == "single" and (options.window or options.stride):
            raise ValueError("window and stride belong to mode sliding or multiscale, but the mode is single.")
        if options.mode == "sliding" and not options.window:
            raise ValueError("mode sliding needs window HEIGHT WIDTH.")
        if options.mode == "multiscale" and not options.flip and (options.scales or [1.0]) == [1.0]:
            raise ValueError("mode multiscale needs scales (for example 0.5 1 1.5) or flip.")

    def prepare(self) -> None:
        """Applies the protocol, matches labels, and chooses what can be measured."""
        options, model = self.options, self.loaded.model
        self.protocol = PROTOCOLS[options.protocol]
        self.image_processor = self.loaded.image_processor
        for name, value in self.protocol.processor.items():
            setattr(self.image_processor, name, _as_size(self.image_processor, value) if name == "size" else value)
        if options.no_resize:
            self.image_processor.do_resize = False
        self.match = self.match_labels()
        self.tasks, self.left_out = self.choose_tasks()
        own = getattr(model.config, "stuff_class_ids", None)
        own = getattr(self.image_processor, "label_ids_to_fuse", None) if own is None else own
        # What the dataset calls stuff is stuff; classes that it lacks are what the model says.
        stuff = set(self.match.to_model(self.dataset.stuff_class_ids))
        stuff |= {label for label in own or () if self.match.to_dataset[label] < 0}
        given = {name: getattr(options, name) for name in THRESHOLDS if getattr(options, name) is not None}
        self.segment = self.segmenter(stuff, given)
        self.annotations = self._annotations() if "instance" in self.tasks else None

    def match_labels(self) -> Any:
        """How the model's classes correspond to the dataset's."""
        return match_labels(self.loaded.model.config.id2label, self.dataset.id2label, self.options.match_labels)

    def segmenter(self, stuff: set[int], thresholds: Mapping[str, float]) -> Segmenter:
        """What turns outputs into results."""
        return Segmenter(self.image_processor, self.match, stuff, thresholds)

    def choose_tasks(self) -> tuple[list[str], dict[str, str]]:
        """Chooses what to measure; also returns why the rest is left out.

        Raises:
            ValueError: What was asked for cannot be measured.
        """
        asked, mode = self.options.task, self.options.mode
        reasons = supported_tasks(self.dataset, self.dataset[0])
        for name in TASKS:
            if not reasons[name] and name != "semantic" and self.loaded.task == "semantic":
                reasons[name] = f"a {self.loaded.model_type!r} model gives classes of pixels and no segments"
            elif not reasons[name] and mode == "multiscale" and name != "semantic":
                reasons[name] = "several views of an image are averaged for semantic maps only"
            elif not reasons[name] and mode == "sliding" and name == "instance":
                reasons[name] = "tiles are joined for panoptic segments, which do not overlap"
        left_out = {name: reason for name, reason in reasons.items() if reason}
        if asked in left_out:
            raise ValueError(f"The task {asked} cannot be evaluated here: {left_out[asked]}.")
        chosen = [name for name in TASKS if not reasons[name]] if asked == "all" else [asked]
        if not chosen:
            told = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise ValueError(f"Nothing can be evaluated here: {told}.")
        if asked == "all":
            chosen = [name for name in chosen if name in self.protocol.tasks]
        return chosen, left_out

    def _annotations(self) -> CocoInstances | None:
        """Ground truth of AP, where a COCO instances json is given, is the dataset, or lies beside a panoptic one."""
        path, category_ids = getattr(self.dataset, "path", None), getattr(self.dataset, "original_category_ids", None)
        file = self.options.instance_annotations
        if file is None and getattr(self.dataset, "kind", "") == "instance" and Path(path or "").suffix == ".json":
            file = path
        if file is None and getattr(self.dataset, "kind", "") == "panoptic":
            return instances_beside(self.dataset)
        if file is None or file == NO_ANNOTATIONS:
            return None
        if not category_ids:
            raise ValueError("instance_annotations belongs to a COCO dataset, whose categories have ids.")
        return CocoInstances(Path(file), {int(category): int(label) for label, category in category_ids.items()})

    # ------------------------------------------------------------------------------------------------------ measuring

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates; batches are those of one process, whatever the number of processes, so numbers agree."""
        size, count = self.options.batch_size, self.count
        batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
        own = batches[rank::ranks]
        truth = own_instances if self.options.instance_annotations == NO_ANNOTATIONS else self.annotations
        self.metrics = SegmentationMetrics(self.dataset, self.tasks, self.options.overlays > 0, truth)
        with tqdm(total=sum(map(len, own)), unit="image", disable=None if rank == 0 else True) as progress:
            for index, example, results in self.results(own):
                self.metrics.add(index, example, results)
                progress.update()
        self.metrics.load_states(gathered(self.metrics.state_dict(), ranks))
        if self.metrics.indices != list(range(count)):
            raise ValueError(f"{len(self.metrics.indices)} of {count} images were counted; a process did not finish.")
        confusion = ConfusionMatrix(*self.metrics.confusion())
        self.image_scores = list(self.metrics.image_scores)
        numbers, rows = self.metrics.compute()
        record = self.describe()
        return Outcome(
            metrics=numbers,
            number_of_images=count,
            averages=averages(list(numbers)),
            headline=HEADLINE,
            per_class=rows,
            record=record,
            facts=self.facts(record),
            legend=self._legend(),
            confusion=confusion if confusion.counts.any() else None,
            curves=self.metrics.curves,
        )

    def _legend(self) -> dict[int, str]:
        """Classes that have a color: stuff; things have one each, and class maps a legend of their own."""
        if self.tasks == ["semantic"]:
            return {}
        return {class_id: name for class_id, name in self.metrics.id2label.items() if class_id in self.metrics.stuff}

    def results(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[int, Any, dict[str, Any]]]:
        """Position, example and results of images, in order."""
        if self.options.mode == "single":
            workers = self.options.num_workers
            samples = predict_samples(
                self.loaded.model, self.image_processor, self.dataset, batches=batches, num_workers=workers
            )
            for sample in samples:
                yield sample.index, sample.example, self.segment(sample, self.tasks)
            return
        for index in (index for batch in batches for index in batch):
            example = self.dataset[index]
            yield index, example, self._results_of_views(np.asarray(example["image"]))

    def _results_of_views(self, image: np.ndarray) -> dict[str, Any]:
        options, predict = self.options, as_predict(self.loaded.model)
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

    # ------------------------------------------------------------------------------------------------------ reporting

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        options, match, processor = self.options, self.match, self.image_processor
        size = getattr(processor, "size", None)
        mode: dict[str, Any] = {"name": options.mode}
        if options.mode != "single":
            mode |= {"window": options.window, "stride": options.stride, "weighting": options.weighting}
            mode["average"] = options.average
        if options.mode == "multiscale":
            mode |= {"scales": options.scales or [1.0], "flip": options.flip}
        return {
            "tasks": self.tasks,
            "tasks_left_out": self.left_out if options.task == "all" else {},
            "protocol": {
                "name": options.protocol,
                "about": self.protocol.about,
                "notes": list(self.protocol.notes),
            },
            "mode": mode,
            "thresholds": {
                **(self.segment.thresholds if "panoptic" in self.tasks else {}),
                **({"num_instances": self.segment.processing.num_instances} if "instance" in self.tasks else {}),
            },
            "image_size": {
                "do_resize": bool(getattr(processor, "do_resize", False)),
                "size": {key: value for key, value in dict(size).items() if value is not None} if size else None,
            },
            "labels": {
                "matched_by": match.by,
                "only_in_model": list(match.not_in_dataset),
                "only_in_dataset": list(match.not_in_model),
                "truth_of_ap": None if self.annotations is None else str(self.annotations.file),
                "unlabeled_pixels": "background" if getattr(self.dataset, "kind", "") == "instance" else "void",
            },
        }

    def facts(self, record: Mapping[str, Any]) -> dict[str, str]:
        """The same in words."""
        protocol, mode, thresholds = record["protocol"], record["mode"], record["thresholds"]
        return {
            "protocol": f"{protocol['name']}: {protocol['about']}",
            **({"notes": " ".join(protocol["notes"])} if protocol["notes"] else {}),
            "mode": ", ".join(f"{name} {value}" if name != "name" else str(value) for name, value in mode.items()),
            "thresholds": ", ".join(f"{name} {value}" for name, value in thresholds.items()) or "none",
            **{f"no {name}": reason for name, reason in record["tasks_left_out"].items()},
        }

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws the worst and the best images by their own PQ (or mean IoU), which are segmented once more."""
        scores = self.image_scores
        drawn: dict[str, list[Shown]] = {"Worst images": [], "Best images": []}
        order = sorted(range(len(scores)), key=lambda index: (scores[index], index))
        worst = order[:count]
        best = [index for index in reversed(order) if index not in worst][:count]
        chosen = {index: ("worst", rank) for rank, index in enumerate(worst, start=1)}
        chosen |= {index: ("best", rank) for rank, index in enumerate(best, start=1)}
        measure = "mean IoU" if self.tasks == ["semantic"] else "PQ"
        shown: dict[tuple[str, int], Shown] = {}
        for index, example, results in self.results([[index] for index in sorted(chosen)]):
            kind, rank = chosen[index]
            name = file_name(str(example.get("image_id", index)))[-60:]
            score = scores[index]
            image = self.image(example, results)
            shown[kind, rank] = Shown(
                f"{name}: {measure} {score:.1f} %", image, f"{kind}_{rank:02d}_{score:.0f}_{name}"
            )
        for kind, rank in sorted(shown):
            drawn[f"{kind.capitalize()} images"].append(shown[kind, rank])
        return drawn

    def image(self, example: Any, results: dict[str, Any]) -> Any:
        """The image, its ground truth and its prediction, side by side."""
        labels, image = self.dataset.id2label, np.asarray(example["image"])
        if self.tasks != ["semantic"]:
            segments = self.metrics.segments(results, image.shape[:2])
            return compare_segments(image, example, segments, labels, self.metrics.stuff)
        plain = overlay(image, np.zeros(image.shape[:2], dtype=np.int32), [], labels)
        truth = overlay_semantic(image, np.maximum(self.metrics.truth(example), -1), labels, ignore_index=-1)
        found = overlay_semantic(image, results["semantic"], labels, ignore_index=-1)
        return side_by_side([plain, truth, found], TITLES)


def _as_size(image_processor: Any, size: Mapping[str, int]) -> Any:
    """A size in the type that the processor keeps its own in."""
    kept = type(image_processor.size)
    return dict(size) if kept is dict else kept(**size)
