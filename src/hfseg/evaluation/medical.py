# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation on the volumes of a medical dataset, in their own voxels and millimeters."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..data.readers.medical import MedicalSlices
from ..data.specs import open_dataset
from ..inference.volume_images import fullest_slice, slice_prediction
from ..inference.volumes import segment_volume, slice_probabilities
from ..metrics.dice import Dice
from ..metrics.froc import FROC, find_candidates, find_nodules
from ..metrics.streaming import StreamingMetric
from ..metrics.surface_distance import SurfaceDistance
from ..results.drawing import side_by_side
from ..volumes import slice_channels
from .base import Outcome, TaskEvaluator, gathered
from .report import Shown, file_name

__all__ = ["MEASURES", "MedicalEvaluator", "evaluate_volumes"]

MEASURES = ("dice", "surface_distance", "froc")
AVERAGES = {
    "dice": "2 |P and G| / (|P| + |G|) of whole volumes; mean over cases per class, then over classes",
    "mean_image_iou": "IoU of whole volumes; mean over cases per class, then over classes",
    "assd": "distance between both surfaces, mean over their voxels; mean over cases per class, then over classes",
    "hd95": "larger of the two directed 95th percentiles of surface distances; averaged likewise",
    "nsd": "share of both surfaces within the tolerance of the other; averaged likewise",
    "cpm": "sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per scan, mean (LUNA16's CPM)",
    "sensitivity@": "share of all lesions that are found at so many false positives per scan",
}


@torch.no_grad()
def evaluate_volumes(
    model: nn.Module,
    dataset: MedicalSlices,
    size: tuple[int, int],
    measures: Sequence[str] = ("dice",),
    batch_size: int = 16,
    rank: int = 0,
    ranks: int = 1,
    full: bool = False,
    *,
    limit: int | None = None,
    tolerance: float = 1.0,
    lesion_class: int = 1,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Segments every volume of a dataset and evaluates it whole.

    Args:
        model: A semantic model, in evaluation mode.
        dataset: The data, which keeps its volumes.
        size: Height and width of the network's input.
        measures: Some of `dice`, `surface_distance` (seconds per class and large volume) and `froc` (detection of
            lesions, by connected parts).
        batch_size: Slices per forward pass.
        rank, ranks: This process and their number; each takes every ranks-th case, and all get the same result.
        full: Whether to return the metrics' whole results (per class, with the counts of empty masks), not numbers by
            name.
        limit: Volumes at most.
        tolerance: Of `nsd`, in mm.
        lesion_class: Class whose connected parts `froc` counts.
        progress: Whether to show a bar.
        **options: Of `segment_volume`.

    Returns:
        `dice`, `dice_<class>`, `mean_image_iou`, `nsd`, `cpm` and `sensitivity@...` in percent, `assd` and `hd95` in
        mm, as asked for.

    Raises:
        ValueError: An unknown measure.
    """
    unknown = sorted(set(measures) - set(MEASURES))
    if unknown or not measures:
        raise ValueError(f"measures must be some of {', '.join(MEASURES)}; got {list(measures)}.")
    metrics: dict[str, StreamingMetric] = {}
    if "dice" in measures:
        metrics["dice"] = Dice(dataset.id2label, dataset.ignore_index)
    if "surface_distance" in measures:
        metrics["surface_distance"] = SurfaceDistance(
            dataset.id2label, tolerance=tolerance, ignore_index=dataset.ignore_index
        )
    if "froc" in measures:
        metrics["froc"] = FROC()
    count = len(dataset.cases) if limit is None else min(limit, len(dataset.cases))
    for number in tqdm(range(rank, count, ranks), unit="volume", disable=None if progress else True):
        volume = dataset.volumes[number]
        spacing = volume["volumes"][0].spacing
        if "dice" in metrics or "surface_distance" in metrics:
            segmentation = segment_case(model, dataset, number, size, batch_size, **options)
            known = np.isin(np.arange(len(dataset.id2label)), dataset.annotated_classes(number))
            segmentation = np.where(known[segmentation], segmentation, 0)  # of other classes nothing can be said
            for name in set(metrics) & {"dice", "surface_distance"}:
                metrics[name].add(**_compared(volume, segmentation, name == "surface_distance"))
        if "froc" in metrics and lesion_class in dataset.annotated_classes(number):
            found = lesion_probabilities(model, dataset, number, size, batch_size, lesion_class, **options)
            lesions = find_nodules(volume["mask"] == lesion_class, spacing)
            metrics["froc"].add(prediction=find_candidates(found, spacing), reference=lesions)
    for metric in metrics.values():
        states = gathered(metric.state_dict(), ranks)
        if ranks > 1:
            metric.reset()
            for state in states:
                metric.merge_state(state)
    results = {name: metric.compute() for name, metric in metrics.items()}
    if full:
        return results
    return {name: value for name, value in numbers_of(results).items() if value is not None}


def _compared(volume: Mapping[str, Any], segmentation: np.ndarray, distances: bool) -> dict[str, Any]:
    """What a metric is given of a case; an image is compared as an image, whose distances are in pixels."""
    reference = volume["mask"]
    if volume["unit"] == "px":
        return {
            "prediction": np.take(segmentation, 0, volume["axis"]),
            "reference": np.take(reference, 0, volume["axis"]),
        }
    extra = {"spacing": volume["volumes"][0].spacing} if distances else {}
    return {"prediction": segmentation, "reference": reference, **extra}


def numbers_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics' results as numbers by name: shares in percent, distances in mm."""
    numbers: dict[str, Any] = {}
    if "dice" in results:
        numbers |= {name: results["dice"][name] for name in ("dice", "mean_image_iou")}
        for name, entry in results["dice"]["per_class"].items():
            numbers[f"dice_{name}"] = entry["dice"]
    if "surface_distance" in results:
        numbers |= {name: results["surface_distance"][name] for name in ("assd", "hd95", "nsd")}
    if "froc" in results:
        numbers["cpm"] = results["froc"]["cpm"]
        numbers |= {f"sensitivity@{point}": value for point, value in results["froc"]["sensitivities"].items()}
    return numbers


def segment_case(
    model: nn.Module, dataset: MedicalSlices, number: int, size: tuple[int, int], batch_size: int, **options: Any
) -> np.ndarray:
    """Segments one volume of a dataset. Shape: that of its mask, in RAS order."""
    volume, parameter = dataset.volumes[number], next(model.parameters())
    segmentation, _ = segment_volume(
        volume["volumes"],
        lambda pixels: model(pixel_values=pixels),
        **{
            "size": size,
            "input_mode": dataset.input_mode_of(number),
            "modality": dataset.cases[number].modality,
            "windows": dataset.windows,
            "batch_size": batch_size,
            "axis": volume["axis"],
            "device": parameter.device,
            "dtype": parameter.dtype,
            "check_values": False,  # when the data were read
            "progress": False,
            **options,
        },
    )
    return segmentation


def lesion_probabilities(
    model: nn.Module,
    dataset: MedicalSlices,
    number: int,
    size: tuple[int, int],
    batch_size: int,
    lesion_class: int,
    flips: Sequence[int] = (),
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    **options: Any,
) -> np.ndarray:
    """Probability of a class in every voxel of one volume. Shape: that of its mask, in RAS order."""
    volume, parameter = dataset.volumes[number], next(model.parameters())
    axis, count = volume["axis"], volume["mask"].shape[volume["axis"]]
    parts, mode = [], dataset.input_mode_of(number)
    for start in range(0, count, batch_size):
        slices = [
            slice_channels(volume["arrays"], volume["statistics"], index, axis, mode)
            for index in range(start, min(start + batch_size, count))
        ]
        batch = torch.from_numpy(np.stack(slices))
        if image_mean is not None and image_std is not None:
            batch = (batch - torch.tensor(image_mean)[:, None, None]) / torch.tensor(image_std)[:, None, None]
        scores = slice_probabilities(
            batch.to(parameter.device, parameter.dtype), lambda pixels: model(pixel_values=pixels), size, flips
        )
        parts.append(scores[:, lesion_class].float().cpu().numpy())
    return np.moveaxis(np.concatenate(parts), 0, axis)


class MedicalEvaluator(TaskEvaluator):
    """Semantic models on volumes, or on medical slices.

    Options: `measures` (default `dice` and `surface_distance`; `froc` for detection), `tolerance` of `nsd` in mm,
    `lesion_class` of `froc`, `modality` and `input_mode` where the dataset does not say them (default: the image
    processor's), `flips` (axes of test-time augmentation) and `largest_component`.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {
        "measures": ("dice", "surface_distance"),
        "tolerance": 1.0,
        "lesion_class": 1,
        "modality": None,
        "input_mode": None,
        "flips": (),
        "largest_component": False,
    }
    batch_size = 16
    kind = "medical"

    @property
    def count(self) -> int:
        """Volumes to evaluate on."""
        cases = len(self.dataset.cases)
        return cases if self.options.limit is None else min(self.options.limit, cases)

    def open(self, specification: str) -> Any:
        """Opens the dataset; classes, modality and input mode are the model's unless they are named."""
        processor = self.loaded.image_processor
        given: dict[str, Any] = {"id2label": dict(self.loaded.model.config.id2label)}
        for name in ("modality", "input_mode", "windows"):
            value = getattr(self.options, name, None) or getattr(processor, name, None)
            if value is not None:
                given[name] = value
        return open_dataset(specification, self.options.split, kind=self.kind, **given)

    def prepare(self) -> None:
        """Checks that the classes fit, and reads the processor's settings.

        Raises:
            ValueError: The numbers of classes differ.
        """
        own, data = self.loaded.model.config.id2label, self.dataset.id2label
        if len(own) != len(data):
            raise ValueError(f"The model has {len(own)} classes and the dataset {len(data)}; they must be the same.")
        if not 0 < self.options.lesion_class < len(own):
            raise ValueError(f"lesion_class must be 1 to {len(own) - 1}; got {self.options.lesion_class}.")
        processor = self.loaded.image_processor
        size = processor.size
        side = (lambda name: size[name]) if isinstance(size, Mapping) else (lambda name: getattr(size, name))
        self.size = (int(side("height") or side("shortest_edge")), int(side("width") or side("shortest_edge")))
        self.settings: dict[str, Any] = {"flips": tuple(self.options.flips)}
        if getattr(processor, "do_normalize", False) and getattr(processor, "image_mean", None) is not None:
            self.settings |= {"image_mean": processor.image_mean, "image_std": processor.image_std}

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates whole volumes."""
        options = self.options
        extra = {"largest_component": options.largest_component} if options.largest_component else {}
        results = evaluate_volumes(
            self.loaded.model,
            self.dataset,
            self.size,
            tuple(options.measures),
            options.batch_size,
            rank,
            ranks,
            full=True,
            limit=options.limit,
            tolerance=options.tolerance,
            lesion_class=options.lesion_class,
            progress=rank == 0,
            **self.settings,
            **extra,
        )
        numbers = numbers_of(results)
        unit = results.get("surface_distance", {}).get("unit", "mm")
        modes = sorted({case.modality for case in self.dataset.cases})
        return Outcome(
            metrics=numbers,
            number_of_images=self.count,
            averages={name: _meaning(name) for name in numbers},
            unit=f"percent; assd and hd95 in {unit}",
            headline=("dice", "assd", "hd95", "nsd", "cpm"),
            per_class=self._rows(results),
            record={
                "measures": list(options.measures),
                "tolerance": options.tolerance,
                "modality": modes,
                "input_mode": self.dataset.input_mode,
                "network_size": list(self.size),
                "flips": list(options.flips),
                "lesion_class": options.lesion_class if "froc" in options.measures else None,
                "lesions": {key: results["froc"][key] for key in ("num_nodules", "num_hits", "num_false_positives")}
                if "froc" in results
                else None,
            },
            facts={
                "volumes": f"{', '.join(modes)}; slices as {self.dataset.input_mode}, scaled to {self.size[0]} x "
                f"{self.size[1]} and back; numbers in the volumes' own voxels",
                "tolerance of nsd": f"{options.tolerance:g} mm",
            },
            legend=self.dataset.id2label,
        )

    def _rows(self, results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        rows = []
        for class_id, name in sorted(self.dataset.id2label.items()):
            row: dict[str, Any] = {"class_id": class_id, "name": name}
            for metric, keys in (("dice", ("dice", "iou")), ("surface_distance", ("assd", "hd95", "nsd"))):
                entry = results.get(metric, {}).get("per_class", {}).get(name)
                for key in keys if entry else ():
                    row[key] = entry[key]
                row |= {"cases": entry["num_cases"]} if entry else {}
            if len(row) > 2:  # background is not evaluated
                rows.append(row)
        return rows

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws the fullest slice of the first volumes: image, ground truth, prediction."""
        shown = []
        for number in range(min(count, self.count)):
            volume, case = self.dataset.volumes[number], self.dataset.cases[number]
            labels = segment_case(
                self.loaded.model, self.dataset, number, self.size, self.options.batch_size, **self.settings
            )
            truth = np.where(volume["mask"] == self.dataset.ignore_index, 0, volume["mask"])
            index = fullest_slice(truth, volume["axis"])
            images = [
                np.asarray(
                    slice_prediction(
                        volume["volumes"][0], classes, volume["axis"], index, self.dataset.id2label
                    ).overlay(legend=False, minimum_side=384)
                )
                for classes in (np.zeros_like(truth), truth, labels)
            ]
            drawn = side_by_side(images, ["image", "ground truth", "prediction"], minimum_side=192)
            shown.append(
                Shown(f"{case.case_id}, slice {index}", drawn, f"{number:02d}_{file_name(case.case_id)[-60:]}")
            )
        return {"The first volumes": shown}


def _meaning(name: str) -> str:
    if name.startswith("dice_"):
        return "dice of this class; mean over cases"
    return next((text for start, text in AVERAGES.items() if name.startswith(start)), "")
