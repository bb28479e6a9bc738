# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of segmentation models on labeled data: the numbers that users compare models by.

The one path by which hfseg measures, during training, in `hfseg evaluate` and in comparisons: images go through the
model one by one or grouped by padded size (padding to a common size would change results), the image processor's own
post-processing makes the results, and `hfseg.metrics` counts. No model is imported; outputs are told apart by their
fields.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from torch import nn
from transformers.utils import logging

from ..data.readers.coco import read_coco, sample_keys
from ..data.readers.schema import semantic_map
from ..files.prompt_names import prompt_names
from ..metrics.cityscapes_ap import CityscapesAP
from ..metrics.mask_ap import MaskAP
from ..metrics.mean_iou import MeanIoU
from ..metrics.panoptic_quality import PanopticQuality
from ..results.drawing import overlay_semantic, side_by_side
from ..results.run_lengths import decode_run_lengths
from .comparison import TITLES, compare_segments
from .labels import LabelMatch, embed_classes
from .labels import some as _some
from .prediction import OpenVocabularySegmenter, Segmenter, open_vocabulary_samples, predict_samples

__all__ = [
    "AVERAGES",
    "TASKS",
    "CocoInstances",
    "SegmentationMetrics",
    "evaluate_open_vocabulary",
    "evaluate_segmentation",
    "measurable_tasks",
    "segmentation_overlays",
    "supported_tasks",
]

logger = logging.get_logger(__name__)

TASKS = ("panoptic", "instance", "semantic")
WITHOUT_PYCOCOTOOLS = "AP needs pycocotools (pip install 'hfseg[coco]')"
# Instances below this score are not drawn and do not rank an image.
SHOWN_SCORE = 0.5

AVERAGES = {
    "pq": "sum of matched IoUs / (TP + FP/2 + FN/2) per class over all images; mean over classes that occur",
    "sq": "mean IoU of matched segments per class over all images; mean over classes that occur",
    "rq": "TP / (TP + FP/2 + FN/2) per class over all images; mean over classes that occur",
    "ap": "COCO mask AP: mean over IoU thresholds 0.50 to 0.95 in steps of 0.05 and over thing classes in the truth",
    "ap50": "as ap at IoU 0.50",
    "ap75": "as ap at IoU 0.75",
    "ar_100": "COCO mask recall at 100 detections per image, mean over IoU thresholds and thing classes in the truth",
    "cityscapes_ap": "Cityscapes' mask AP: mean over IoU thresholds 0.50 to 0.95 in steps of 0.05 and over thing "
    "classes in the truth, objects of 100 pixels and more; by the rules of cityscapesscripts",
    "cityscapes_ap50": "as cityscapes_ap at IoU 0.50",
    "mean_iou": "IoU per class from one confusion matrix of all labeled pixels; mean over classes in the truth",
    "mean_accuracy": "share of a class's pixels that are right; mean over classes in the truth",
    "pixel_accuracy": "share of all labeled pixels that are right",
    "frequency_weighted_iou": "IoU per class weighted by its share of the labeled pixels",
}


def supported_tasks(dataset: Any, example: Mapping[str, Any]) -> dict[str, str]:
    """What can be measured on a dataset: an empty text for a task that can, else the reason why not.

    Besides the labels, average precision needs pycocotools (extra `coco`).
    """
    reasons = dict.fromkeys(TASKS, "")
    if "segmentation" not in example and "segmentation_map" not in example:
        return dict.fromkeys(TASKS, f"the dataset has no segmentation, only {_some(example)}")
    if "segmentation" not in example:
        for task in ("panoptic", "instance"):
            reasons[task] = "the labels are class maps without segments"
        return reasons
    if getattr(dataset, "kind", "panoptic") == "instance":
        reasons["semantic"] = "background is not labeled as a class, so that mean IoU would not see false positives"
    if set(dataset.stuff_class_ids) >= set(dataset.id2label):
        reasons["instance"] = "all classes are stuff"
    elif find_spec("pycocotools") is None:
        reasons["instance"] = WITHOUT_PYCOCOTOOLS
    return reasons


def measurable_tasks(dataset: Any, tasks: Collection[str], rank: int = 0) -> list[str]:
    """Those of `tasks` that the labels of a dataset allow to measure.

    Raises:
        ValueError: None of them can be; says why.
    """
    if len(dataset) == 0:
        raise ValueError("The dataset has no images to evaluate on.")
    reasons = supported_tasks(dataset, dataset[0])
    if rank == 0 and "instance" in tasks and reasons["instance"] == WITHOUT_PYCOCOTOOLS:
        logger.warning_once(f"Average precision is left out: {WITHOUT_PYCOCOTOOLS}.")
    possible = [task for task in tasks if not reasons[task]]
    if not possible:
        raise ValueError(
            f"None of the tasks can be measured on these labels: {'; '.join(filter(None, reasons.values()))}."
        )
    return possible


class CocoInstances:
    """Truth of average precision from a COCO instances json: masks that may overlap, crowds, and COCO's own areas.

    A dataset gives id maps, where overlaps are lost; COCO's AP, and the authors' figures, need the annotations.

    Args:
        file: The json.
        class_of: Class id in the dataset of every category id; annotations of other categories are an error.

    Raises:
        FileNotFoundError, ValueError: There is no such file, it is damaged, or its categories are others.
    """

    def __init__(self, file: Path, class_of: Mapping[int, int]):
        if not file.is_file():
            raise FileNotFoundError(f"There is no annotation file {file}.")
        images, annotations, _ = read_coco(file)
        self.file = file
        keys = sample_keys(images)
        self._images = {keys[image["id"]]: image for image in images}
        self._annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
        for annotation in annotations:
            if "segmentation" not in annotation:
                raise ValueError(
                    f"{file}: annotation {annotation['where']} has no segmentation; give an instances json."
                )
            if annotation["category_id"] not in class_of:
                raise ValueError(
                    f"{file}: annotation {annotation['where']} has category {annotation['category_id']}, none "
                    f"of the dataset's, {_some(map(str, sorted(class_of)))}."
                )
            entry = {
                name: annotation[name] for name in ("segmentation", "area", "iscrowd", "bbox") if name in annotation
            }
            self._annotations[annotation["image_id"]].append(
                entry | {"category_id": class_of[annotation["category_id"]]}
            )

    def _find(self, name: str) -> dict[str, Any] | None:
        return self._images.get(name, self._images.get(name.rpartition("/")[2]))

    def lists(self, name: str) -> bool:
        """Whether the file lists an image of this name."""
        return self._find(name) is not None

    def __call__(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """Annotations of an image, as `MaskAP` takes them.

        Raises:
            ValueError: The file does not list the image.
        """
        image = self._find(str(example.get("image_id")))
        if image is None:
            raise ValueError(f"{self.file} lists no image {example.get('image_id')!r}.")
        return {"height": image["height"], "width": image["width"], "annotations": self._annotations[image["id"]]}


def instances_beside(dataset: Any) -> CocoInstances | None:
    """Finds the instance annotations of a COCO panoptic dataset: AP's ground truth in publications.

    Args:
        dataset: With `path` and `original_category_ids`, as `load_official` and `load_folder` give it.

    Returns:
        `instances_NAME.json` beside `panoptic_NAME.json`, if it is there and lists every image; else None.

    Raises:
        ValueError: The file is damaged.
    """
    path, category_ids = Path(getattr(dataset, "path", None) or ""), getattr(dataset, "original_category_ids", None)
    if getattr(dataset, "kind", "") != "panoptic" or path.suffix != ".json" or not category_ids:
        return None
    file = path.with_name(path.name.replace("panoptic_", "instances_", 1))
    if file == path or not file.is_file():
        return None
    found = CocoInstances(file, {int(category): int(label) for label, category in category_ids.items()})
    return found if all(found.lists(dataset.sample_id(index)) for index in range(len(dataset))) else None


class SegmentationMetrics:
    """The metrics of one evaluation.

    Args:
        dataset: With `id2label`, `stuff_class_ids`, `ignore_index`, `kind` ("instance" for data whose unlabeled
            pixels are background; otherwise they are void), and perhaps `ap_rules` ("cityscapes" for Cityscapes' AP
            beside COCO's).
        tasks: Some of `TASKS`.
        rank_images: Whether to score every image by itself, to find the best and worst.
        instance_truth: Truth of AP for an example, as `MaskAP` takes it (see `CocoInstances`); default: annotations
            that lie beside a panoptic dataset (`instances_beside`), else the example's own instances or segments.
    """

    def __init__(
        self,
        dataset: Any,
        tasks: Collection[str],
        rank_images: bool = False,
        instance_truth: Callable[[Mapping[str, Any]], Any] | None = None,
    ):
        beside = instances_beside(dataset) if instance_truth is None and "instance" in tasks else None
        self.instance_truth = instance_truth or beside or own_instances
        self.tasks = [task for task in TASKS if task in tasks]
        self.id2label = {int(key): str(name) for key, name in dataset.id2label.items()}
        self.stuff = frozenset(int(class_id) for class_id in dataset.stuff_class_ids)
        self.ignore_index = dataset.ignore_index
        self.known_background = getattr(dataset, "kind", "panoptic") == "instance"
        self.metrics: dict[str, Any] = {}
        self.curves: dict[str, list[float]] = {}
        if "panoptic" in self.tasks:
            self.metrics["panoptic"] = self._quality()
        if "instance" in self.tasks:
            self.metrics["instance"] = MaskAP(self.id2label, stuff_class_ids=self.stuff)
            if getattr(dataset, "ap_rules", "coco") == "cityscapes":
                self.metrics["cityscapes_ap"] = CityscapesAP(self.id2label, stuff_class_ids=self.stuff)
        names = dict(self.id2label)
        if self.known_background:
            names[len(names)] = "background"
        # Without a semantic task this one only feeds the confusion plot.
        self.metrics["semantic"] = MeanIoU(names, ignore_index=-1)
        self.indices: list[int] = []
        self.image_scores: list[float] = []
        self._of_image: Any = None
        if rank_images:
            only_semantic = self.tasks == ["semantic"]
            self._of_image = MeanIoU(names, ignore_index=-1) if only_semantic else self._quality()

    def _quality(self) -> PanopticQuality:
        return PanopticQuality(self.id2label, self.stuff, unlabeled_is_void=not self.known_background)

    def truth(self, example: Mapping[str, Any]) -> np.ndarray:
        """Class map (H, W) of the labels, -1 where there is none."""
        if "segmentation" in example:
            ids = np.asarray(example["segmentation"])
            classes = semantic_map(ids, example["segments_info"], ignore_index=-1)
            return np.where(ids == 0, len(self.id2label), classes) if self.known_background else classes
        classes = np.asarray(example["segmentation_map"]).astype(np.int64)
        return np.where(classes == self.ignore_index, -1, classes)

    def _class_map(self, results: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
        """Predicted class map (H, W): the semantic one, or drawn from segments."""
        if "semantic" in results:
            return results["semantic"]
        segments = self.segments(results, size)
        classes = semantic_map(
            segments["segmentation"],
            [{"id": s["id"], "category_id": s["label_id"]} for s in segments["segments_info"]],
            ignore_index=-1,
        )
        return np.where(classes < 0, len(self.id2label), classes) if self.known_background else classes

    def segments(self, results: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        """Segments that do not overlap: the panoptic ones, or instances above 0.5 with the best on top."""
        if "panoptic" in results:
            return results["panoptic"]
        shown = [instance for instance in results["instance"] if instance["score"] >= SHOWN_SCORE]
        segmentation = np.zeros(size, dtype=np.int32)
        for position in reversed(range(len(shown))):
            segmentation[decode_run_lengths(shown[position]["segmentation"])] = position + 1
        visible = set(np.unique(segmentation).tolist())
        info = [
            {"id": position, "label_id": instance["category_id"], "score": instance["score"]}
            for position, instance in enumerate(shown, start=1)
            if position in visible
        ]
        return {"segmentation": segmentation, "segments_info": info}

    def add(self, index: int, example: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        """Counts one image.

        Raises:
            ValueError: Labels and results do not fit; names the image.
        """
        try:
            truth = self.truth(example)
            classes = self._class_map(results, truth.shape)
            self.metrics["semantic"].add(prediction=classes, reference=truth)
            if "panoptic" in self.tasks:
                self.metrics["panoptic"].add(prediction=results["panoptic"], reference=_reference(example))
            if "instance" in self.tasks:
                self.metrics["instance"].add(prediction=results["instance"], reference=self.instance_truth(example))
            if "cityscapes_ap" in self.metrics:
                known = example.get("ap_segments") or _reference(example)
                self.metrics["cityscapes_ap"].add(prediction=results["instance"], reference=known)
            if self._of_image is not None:
                self.image_scores.append(self._score(example, results, truth, classes))
        except (ValueError, IndexError) as error:
            name = example.get("image_id")
            raise ValueError(f"Image {index}{'' if name is None else f' ({name})'}: {error}") from error
        self.indices.append(index)

    def _score(self, example: Mapping[str, Any], results: Mapping[str, Any], truth: np.ndarray, classes: Any) -> float:
        if isinstance(self._of_image, MeanIoU):
            return self._of_image.compute(predictions=[classes], references=[truth])["mean_iou"]
        reference, segments = _reference(example), self.segments(results, truth.shape)
        if "panoptic" not in self.tasks:  # things only
            things = [s for s in reference["segments_info"] if s["category_id"] not in self.stuff]
            ids = np.where(np.isin(reference["segmentation"], [s["id"] for s in things]), reference["segmentation"], 0)
            reference = {"segmentation": ids, "segments_info": things}
        return self._of_image.compute(predictions=[segments], references=[reference])["pq"]

    def state_dict(self) -> dict[str, Any]:
        """Everything counted, to be gathered from several processes."""
        return {
            "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()},
            "indices": list(self.indices),
            "image_scores": list(self.image_scores),
        }

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the counts by the sum of those of several processes.

        Raises:
            ValueError: An image was counted twice.
        """
        indices = [index for state in states for index in state["indices"]]
        if len(set(indices)) != len(indices):
            raise ValueError("an image was counted twice: the processes must share the data without overlap.")
        for name, metric in self.metrics.items():
            metric.reset()
            for state in states:
                metric.merge_state(state["metrics"][name])
        order = sorted(range(len(indices)), key=indices.__getitem__)
        self.indices = [indices[place] for place in order]
        scores = [score for state in states for score in state["image_scores"]]
        self.image_scores = [scores[place] for place in order] if scores else []
        if "instance" in self.metrics:
            # Ties between scores are settled by the order of the images, which is the dataset's.
            merged = self.metrics["instance"].state_dict()
            merged["images"] = [merged["images"][place] for place in order]
            self.metrics["instance"].load_state_dict(merged)

    def confusion(self) -> tuple[np.ndarray, list[str], list[str]]:
        """Pixels by true class (rows) and predicted class (columns, the last: none), and the names of both."""
        names = list(self.metrics["semantic"].id2label.values())
        return self.metrics["semantic"].state_dict()["confusion"], names, [*names, "(none)"]

    def compute(self) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
        """Numbers of the set and rows per class, in percent; clears the counts.

        Returns:
            Numbers as `AVERAGES` explains them (None where nothing of the kind occurs), and one row per class:
            `class_id`, `name`, `kind` and the class's numbers. The curves of average precision are in `curves`.
        """
        rows: dict[str, dict[str, Any]] = {
            name: {"class_id": class_id, "name": name, "kind": "stuff" if class_id in self.stuff else "thing"}
            for class_id, name in self.id2label.items()
        }
        numbers: dict[str, float | None] = {}

        if "panoptic" in self.tasks:
            measured = self.metrics["panoptic"].compute()
            groups = [""]
            if measured["num_classes_things"] and measured["num_classes_stuff"]:
                groups += ["_things", "_stuff"]
            for group in groups:
                for name in ("pq", "sq", "rq"):
                    numbers[name + group] = _known(measured[name + group])
            for name, values in measured["per_class"].items():
                rows[name] |= {key: _known(values[key]) for key in ("pq", "sq", "rq")}
                rows[name] |= {key: values[key] for key in ("tp", "fp", "fn")}
        if "instance" in self.tasks:
            numbers |= self._precision(rows)
        if "semantic" in self.tasks:
            measured = self.metrics["semantic"].compute()
            absent = [name for name, values in measured["per_class"].items() if not values["pixels"]]
            if not measured["num_classes"]:
                logger.warning("The labels have no labeled pixel: mean IoU and accuracies are not available.")
            elif absent:
                logger.warning(
                    f"{len(absent)} of {len(measured['per_class'])} classes have no pixel in the labels "
                    f"({_some(absent)}); mean_iou and mean_accuracy leave them out."
                )
            for name in ("mean_iou", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou"):
                numbers[name] = _known(measured[name]) if measured["num_classes"] else None
            for name, values in measured["per_class"].items():
                rows[name] |= {"iou": _known(values["iou"]), "accuracy": _known(values["accuracy"])}
                rows[name]["pixels"] = values["pixels"]
        return numbers, list(rows.values())

    def _precision(self, rows: Mapping[str, dict[str, Any]]) -> dict[str, float | None]:
        """Numbers of average precision; adds those of each class to its row, and keeps the curves."""
        measured = self.metrics["instance"].compute()
        names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")
        numbers = {name: _known(measured[name]) for name in names}
        for name, value in measured["per_class"].items():
            rows[name]["ap"] = _known(value)
        self.curves = measured["curves"]
        if "cityscapes_ap" in self.metrics:
            measured = self.metrics["cityscapes_ap"].compute()
            numbers |= {"cityscapes_ap": measured["ap"], "cityscapes_ap50": measured["ap50"]}
            for name, value in measured["per_class"].items():
                rows[name]["cityscapes_ap"] = value
        return numbers


def _known(value: float | None) -> float | None:
    return None if value is None or value < 0 else value


def _reference(example: Mapping[str, Any]) -> dict[str, Any]:
    return {"segmentation": np.asarray(example["segmentation"]), "segments_info": list(example["segments_info"])}


def own_instances(example: Mapping[str, Any]) -> dict[str, Any]:
    """Truth of AP: the instances' own masks, which may overlap, where the example has them; else its segments."""
    own = example.get("instances")
    return _reference(example) if own is None else dict(own)


def segmentation_overlays(
    model: nn.Module, image_processor: Any, dataset: Any, count: int = 3, tasks: Collection[str] = TASKS
) -> list[Any]:
    """Draws image, truth and prediction side by side for the first images, as PIL images.

    Panoptic segments are drawn if they can be measured (`supported_tasks`), else instances, else classes.
    """
    reasons = supported_tasks(dataset, dataset[0])
    possible = [task for task in TASKS if task in tasks and not reasons[task]][:1]
    match = LabelMatch.identity(len(dataset.id2label))
    segment = Segmenter(image_processor, match, match.to_model(dataset.stuff_class_ids))
    metrics = SegmentationMetrics(dataset, possible)
    names, drawn = {int(key): str(name) for key, name in dataset.id2label.items()}, []
    batches = [[index] for index in range(min(count, len(dataset)))]
    for sample in predict_samples(model, image_processor, dataset, batches=batches) if possible else ():
        image, results = np.asarray(sample.example["image"]), segment(sample, possible)
        if possible == ["semantic"]:
            predicted = overlay_semantic(image, results["semantic"], names, ignore_index=-1)
            truth = overlay_semantic(image, metrics.truth(sample.example), names, ignore_index=-1)
            drawn.append(side_by_side([image, truth, predicted], TITLES))
        else:
            found, reference = metrics.segments(results, sample.size), _reference(sample.example)
            drawn.append(compare_segments(image, reference, found, names, metrics.stuff))
    return drawn


def evaluate_segmentation(
    model: nn.Module,
    image_processor: Any,
    dataset: Any,
    batch_size: int = 8,
    tasks: Collection[str] = ("panoptic", "semantic"),
    *,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, float]:
    """Measures a model that has the dataset's classes: what training does between epochs.

    Args:
        model: A segmentation model, in evaluation mode.
        image_processor: Its image processor, whose thresholds are used.
        dataset: Examples in the universal or semantic schema, with `id2label`, `stuff_class_ids` and `ignore_index`.
        batch_size: Images per forward pass.
        tasks: What to measure, as far as labels and installed packages allow (`supported_tasks`).
        rank, ranks: This process and how many share the images; all of them return the whole set's numbers.

    Returns:
        Numbers in percent, as `AVERAGES` explains them; those that nothing was there for are left out.

    Raises:
        ValueError: Nothing of `tasks` can be measured on these labels, or the dataset is empty.
    """
    tasks = measurable_tasks(dataset, tasks, rank)
    match = LabelMatch.identity(len(dataset.id2label))
    segment = Segmenter(image_processor, match, match.to_model(dataset.stuff_class_ids))
    metrics = SegmentationMetrics(dataset, tasks)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    starts = range(rank * batch_size, len(dataset), ranks * batch_size)
    batches = [range(start, min(start + batch_size, len(dataset))) for start in starts]
    for sample in predict_samples(model, image_processor, dataset, batches=batches):
        metrics.add(sample.index, sample.example, segment(sample, tasks))
    if ranks > 1:
        metrics.load_states(gather_object([metrics.state_dict()]))
    return {name: value for name, value in metrics.compute()[0].items() if value is not None}


def evaluate_open_vocabulary(
    model: nn.Module,
    processor: Any,
    dataset: Any,
    tasks: Collection[str] = ("panoptic", "semantic"),
    templates: Any = "vild",
    thresholds: Mapping[str, float] | None = None,
    *,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, float]:
    """Measures an open-vocabulary model on labeled images, with the names of the dataset's classes.

    Classes of public datasets are asked for in plain words with synonyms, as `hfseg evaluate` does
    (`hfseg.files.prompt_names`).

    Args:
        model: In evaluation mode.
        processor: Its processor.
        dataset: Examples in the universal or semantic schema, with `id2label`, `stuff_class_ids` and `ignore_index`.
        tasks: What to measure, as far as the labels allow (`supported_tasks`).
        templates: Sentences around the names.
        thresholds: Of panoptic segments; default: the processor's.
        rank, ranks: This process and how many share the images; all of them return the whole set's numbers.

    Returns:
        Numbers in percent, as `AVERAGES` explains them; those that nothing was there for are left out.

    Raises:
        ValueError: Nothing of `tasks` can be measured on these labels, or the dataset is empty.
    """
    tasks = measurable_tasks(dataset, tasks, rank)
    text_embeds = embed_classes(model, processor, dataset.id2label, prompt_names(dataset.id2label), templates)
    match = LabelMatch.identity(len(dataset.id2label))
    segment = OpenVocabularySegmenter(
        processor.image_processor, match, match.to_model(dataset.stuff_class_ids), thresholds
    )
    metrics = SegmentationMetrics(dataset, tasks)
    for sample in open_vocabulary_samples(model, processor, dataset, text_embeds, range(rank, len(dataset), ranks)):
        metrics.add(sample.index, sample.example, segment(sample, tasks))
    if ranks > 1:
        metrics.load_states(gather_object([metrics.state_dict()]))
    return {name: value for name, value in metrics.compute()[0].items() if value is not None}
