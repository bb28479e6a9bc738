# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What an evaluation returns: numbers with what they rest on, and ways to save and show them."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from PIL import Image

from ..files.writing import write_json, write_text
from ..metrics.renamed import RENAMED_METRICS
from ..results.confusion import ConfusionMatrix, confusion_plot
from .report import EvaluationPage, Shown, render

__all__ = ["EvaluationResult", "unit_of"]

# Units of the numbers that are not shares.
UNITS = {
    "assd": "mm",
    "hd95": "mm",
    "abs_rel": "",
    "mean_angle": "degrees",
    "mse": "",
    "lpips": "",
    "fid": "",
    "psnr": "dB",
    "ssim": "",
    "masks_generated": "",
}


def unit_of(metric: str) -> str:
    """Names the unit of a number by its key: mm, degrees, dB, "" for none and for counts, else percent."""
    metric = metric.removeprefix("first_")
    if metric.startswith("num_"):
        return ""
    return next((unit for name, unit in UNITS.items() if metric == name or metric.startswith(f"{name}_")), "%")


@dataclass
class EvaluationResult:
    """The result of `hfseg.evaluate`.

    Attributes:
        task: Of `hfseg.tasks`.
        metrics: Number by key, shares in percent and distances in mm; None where nothing of the kind occurs.
        averages: Key to what the number averages over.
        per_class: One row per class.
        record: Everything that `metrics.json` says: the numbers, and model, dataset, options, versions, command.
        tables: Heading to further rows.
        images: Heading to drawn samples.
        headline: Keys of the most telling numbers.
        facts: Conditions, for people.
        legend: Class id to name, of the colors in the images.
        confusion_matrix: Pixels by true and predicted class, or None.
        curves: Curves of precision by recall, name to precisions in percent at 101 recalls from 0 to 100 %.
        is_main_process: Whether this process should write; the numbers are the same in all of them.
    """

    task: str
    metrics: dict[str, float | None]
    averages: dict[str, str]
    per_class: list[dict[str, Any]]
    record: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    images: dict[str, list[Shown]] = field(default_factory=dict)
    headline: Sequence[str] = ()
    facts: dict[str, str] = field(default_factory=dict)
    legend: Mapping[int, str] = field(default_factory=dict)
    confusion_matrix: ConfusionMatrix | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    is_main_process: bool = True

    def __getitem__(self, key: str) -> float | None:
        """One number.

        Raises:
            KeyError: There is none of this key; names those there are.
        """
        if key not in self.metrics and key in RENAMED_METRICS:
            raise KeyError(f"{key!r} is called {RENAMED_METRICS[key]!r} now")
        if key not in self.metrics:
            raise KeyError(f"there is no {key!r}; the metrics are {', '.join(self.metrics)}")
        return self.metrics[key]

    def __repr__(self) -> str:
        return f"EvaluationResult({self.task}: {self.summary()})"

    def summary(self) -> str:
        """The most telling numbers, in one line."""
        return ", ".join(f"{name} {shown(name, self.metrics[name])}" for name in self._told())

    def _told(self) -> list[str]:
        return [name for name in self.headline or self.metrics if self.metrics.get(name) is not None]

    @property
    def confusion(self) -> Image.Image | None:
        """Drawing of the confusion of classes, or None."""
        if self.confusion_matrix is None:
            return None
        matrix = self.confusion_matrix
        title = f"Pixels of each true class by predicted class, in % ({self.record['dataset']['name']})"
        return confusion_plot(matrix.counts, matrix.row_names, matrix.column_names, title)

    def page(self, links: bool = False) -> EvaluationPage:
        """What the report says; with links to the files that `save` writes beside it, or without."""
        record = self.record
        tables: dict[str, Sequence[Mapping[str, Any]]] = {}
        if self.per_class:
            tables["Classes"] = [
                {"class": row["name"], **{key: v for key, v in row.items() if key not in ("class_id", "name")}}
                for row in self.per_class
            ]
        known = {name: value for name, value in self.metrics.items() if value is not None}
        model, dataset = record["model"], record["dataset"]
        parameters = f" with {model['parameters'] / 1e6:.2f} million parameters" if model.get("parameters") else ""
        return EvaluationPage(
            title=f"{model['name']} on {dataset['name']}",
            about=f"{model['class']}{parameters}; {record['number_of_images']} samples of the split "
            f"{dataset['split']}; {', '.join(record['tasks'])}.",
            command=record["command"],
            headline={name: shown(name, self.metrics[name]) for name in self._told()[:4]},
            numbers=[(name, shown(name, value), self.averages.get(name, "")) for name, value in known.items()],
            tables={**tables, **self.tables},
            images=self.images,
            curves=self.curves,
            confusion=self.confusion_matrix,
            legend=self.legend,
            facts={
                **self.facts,
                "device": f"{record['device']}, {record['dtype']}, {record['seconds']:.1f} s",
                "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
            },
            links=links,
        )

    def to_html(self, links: bool = False) -> str:
        """The report as one HTML file that needs nothing from elsewhere.

        Args:
            links: Whether images link to the files that `save` writes beside the report.
        """
        return render(self.page(links))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes `metrics.json`, `report.html`, `model_index.yml`, tables (`per_class.csv`, `confusion.csv`,
        `precision_recall.csv`), `confusion.png` and `overlays/`.

        Files that there is nothing for are not written. Processes other than the first write nothing.
        """
        folder = Path(folder)
        if not self.is_main_process:
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "metrics.json", self.record)
        if self.per_class:
            write_csv(folder / "per_class.csv", self.per_class)
        if self.confusion_matrix is not None and (plot := self.confusion) is not None:
            plot.save(folder / "confusion.png")
            write_confusion(folder / "confusion.csv", self.confusion_matrix)
        if self.curves:
            recalls = range(len(next(iter(self.curves.values()))))
            points = zip(recalls, *self.curves.values())
            write_csv(
                folder / "precision_recall.csv", [dict(zip(("recall", *self.curves), values)) for values in points]
            )
        write_text(folder / "model_index.yml", self.to_model_index())
        self._save_images(folder / "overlays")
        write_text(folder / "report.html", self.to_html(links=True))
        return folder

    def _save_images(self, folder: Path) -> None:
        """Writes the drawn samples; those of an earlier evaluation go."""
        for old in folder.glob("*.png"):
            old.unlink()
        for entry in (entry for entries in self.images.values() for entry in entries):
            if entry.name and isinstance(entry.image, Image.Image):
                folder.mkdir(parents=True, exist_ok=True)
                entry.image.save(folder / f"{entry.name}.png")

    def to_model_index(self) -> str:
        """The results as a model card's `model-index`, as the Hub reads it (YAML)."""
        dataset, record = self.record["dataset"], self.record
        conditions = [record[name]["name"] for name in ("protocol", "mode") if name in record]
        results = [
            EvalResult(
                task_type="image-segmentation",
                dataset_type=_slug(dataset["name"]),
                dataset_name=dataset["name"],
                dataset_split=dataset["split"],
                metric_type=name,
                metric_name=f"{name} ({UNITS.get(name, '%')})" if UNITS.get(name, "%") else name,
                metric_value=round(value, 4),
                metric_config=", ".join(conditions) or None,
                metric_args={"command": record["command"]},
            )
            for name, value in self.metrics.items()
            if value is not None
        ]
        return ModelCardData(model_name=record["model"]["name"], eval_results=results).to_yaml() + "\n"


def shown(name: str, value: float | None) -> str:
    """A number as it is read: with two decimals and its unit; counts as they are."""
    if value is None:
        return "-"
    if "num_" in name:
        return str(value)
    ending = unit_of(name)
    text = f"{value:.2f}" if ending == "%" else f"{value:.4g}"
    return f"{text} {ending}".rstrip()


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one line per class; empty where a class does not occur."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})


def write_confusion(file: Path, matrix: ConfusionMatrix) -> None:
    """Writes the pixels of each true class by predicted class; one line per true class."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["true class", *matrix.column_names])
        writer.writerows([name, *counts] for name, counts in zip(matrix.row_names, matrix.counts.tolist()))


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-").lower() or "data"
