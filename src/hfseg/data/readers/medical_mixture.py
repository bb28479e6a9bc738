# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical datasets of several modalities as one: their classes united by name, each with what its masks know."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .medical import MedicalCase, MedicalSlices
from .medical_layouts import checked_cases, default_input_mode, own_labels

__all__ = ["load_medical_mixture"]

BACKGROUND = "background"
SETTINGS = ("root", "layout", "split", "modality", "id2label", "input_mode", "patient_pattern", "channels", "label_map")


def load_medical_mixture(
    datasets: Sequence[Mapping[str, Any]], id2label: Mapping[int, str] | None = None, **options: Any
) -> MedicalSlices:
    """Reads several datasets as one: the reader `medical_mixture` of recipes.

    Classes are the same if their names are, but for case. A dataset's voxels teach nothing about classes that its masks
    do not know (`label_sets` of `MedicalSlices`). Datasets are drawn by `dataset_power`. Cases and persons are called
    `NAME/CASE`, so that those of different datasets never meet.

    Args:
        datasets: For each dataset what `load_medical` takes (`root`, `layout`, `split`, `modality`, `id2label`,
            `input_mode`, `patient_pattern`, `channels`, `label_map`), and optionally `name`; default is the folder's.
        id2label: Names of the united classes, background first; default: in the order in which they are met.
        **options: Of `MedicalSlices`, for all datasets.

    Raises:
        FileNotFoundError: A folder or file is missing.
        ValueError: No datasets; a setting that there is not; two datasets of one name; a class that `id2label` lacks;
            or as `load_medical`.
    """
    if not datasets:
        raise ValueError("datasets is empty; give at least one dataset with its root.")
    allowed = sorted(set(inspect.signature(MedicalSlices).parameters) - {"cases", "input_mode", "label_sets"})
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"medical_mixture takes no {', '.join(unknown)}; must be one of {', '.join(allowed)}.")
    opened = [_open(position, settings) for position, settings in enumerate(datasets)]
    names = [name for name, *_ in opened]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"There are two datasets called {', '.join(twice)}; give each a name of its own.")
    united = dict(id2label or _united([labels for _, _, labels in opened]))
    numbers = {_key(label): int(number) for number, label in united.items()}
    cases: list[MedicalCase] = []
    label_sets: dict[str, list[int]] = {}
    for name, own, labels in opened:
        missing = [label for label in labels.values() if _key(label) not in numbers]
        if missing:
            raise ValueError(f"id2label lacks the class(es) {', '.join(missing)} of {name}.")
        of_own = {class_id: numbers[_key(label)] for class_id, label in labels.items()}
        label_sets[name] = sorted(set(of_own.values()))
        for case in own:
            given = of_own if case.label_map is None else case.label_map
            table = {
                value: class_id if case.label_map is None else of_own[class_id] for value, class_id in given.items()
            }
            cases.append(
                replace(
                    case,
                    case_id=f"{name}/{case.case_id}",
                    patient_id=f"{name}/{case.patient_id}",
                    label_set=name,
                    label_map=table,
                )
            )
    return MedicalSlices(cases, united, label_sets=label_sets, **options)


def _open(position: int, settings: Mapping[str, Any]) -> tuple[str, list[MedicalCase], dict[int, str]]:
    """Name, cases and class names of one dataset."""
    where = f"datasets[{position}]"
    if not isinstance(settings, Mapping) or "root" not in settings:
        raise ValueError(f"{where} is {settings!r}; it needs a root, and what else load_medical takes.")
    unknown = sorted(set(settings) - {*SETTINGS, "name"})
    if unknown:
        raise ValueError(f"{where} takes no {', '.join(unknown)}; must be one of name, {', '.join(SETTINGS)}.")
    root, layout = Path(settings["root"]), settings.get("layout", "pairs")
    modality = settings.get("modality", "MR")
    labels = settings.get("id2label")
    labels = own_labels(root, layout) if labels is None else {int(key): str(label) for key, label in labels.items()}
    cases = checked_cases(
        root, layout, settings.get("split"), modality, settings.get("patient_pattern"), settings.get("channels")
    )
    mode = settings.get("input_mode") or default_input_mode(modality)
    cases = [replace(case, input_mode=mode) for case in cases]
    if settings.get("label_map") is not None:
        table = {int(key): int(value) for key, value in settings["label_map"].items()}
        wrong = sorted(set(table.values()) - set(labels))
        if wrong:
            raise ValueError(f"label_map of {where} names the class(es) {wrong}; must be of {sorted(labels)}.")
        cases = [replace(case, label_map=table) for case in cases]
    return str(settings.get("name", root.name)), cases, labels


def _united(tables: Sequence[Mapping[int, str]]) -> dict[int, str]:
    """Classes of all datasets in the order in which they are met; what is 0 anywhere is background."""
    found: dict[str, str] = {}
    for labels in tables:
        if _key(labels[min(labels)]) != BACKGROUND:
            raise ValueError(f"The first class is {labels[min(labels)]!r}; datasets to unite call it {BACKGROUND!r}.")
        for class_id in sorted(labels):
            found.setdefault(_key(labels[class_id]), labels[class_id])
    return dict(enumerate(found.values()))


def _key(label: str) -> str:
    return label.strip().casefold()
