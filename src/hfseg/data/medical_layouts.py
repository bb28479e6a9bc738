# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cases of medical data sets as their authors publish them, as lists of `MedicalCase`."""

from __future__ import annotations

import re
from pathlib import Path

from .medical import MedicalCase

__all__ = ["pair_cases"]

NIFTI = (".nii.gz", ".nii")


def stem(path: Path) -> str:
    """File name without a NIfTI ending."""
    for ending in NIFTI:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.stem


def nifti_files(folder: Path) -> dict[str, Path]:
    """NIfTI files of a folder by name; macOS's shadow files are passed over."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    files = sorted(path for path in folder.iterdir() if path.name.endswith(NIFTI) and not path.name.startswith("."))
    return {stem(path): path for path in files}


def pair_cases(
    root: str | Path, split: str | None, modality: str, patient_pattern: str | None = None
) -> list[MedicalCase]:
    """Pairs of NIfTI files of one name: `images/<split>/NAME.nii.gz` and `labels/<split>/NAME.nii.gz`.

    Args:
        root: The folder.
        split: Sub-folder of both, or None.
        modality: `CT`, `MR` or `XR`.
        patient_pattern: Regular expression whose first group in a name is the person; default: each name is one.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: Images without labels or labels without images, no files, or a name without a person.
    """
    root = Path(root)
    images = nifti_files(root / "images" / (split or ""))
    labels = nifti_files(root / "labels" / (split or ""))
    return paired(images, labels, modality, patient_pattern, root)


def paired(
    images: dict[str, Path], labels: dict[str, Path], modality: str, patient_pattern: str | None, root: Path
) -> list[MedicalCase]:
    """Cases of two tables of files with equal names."""
    odd = sorted(set(images) ^ set(labels))
    if odd:
        raise ValueError(
            f"{root}: {len(odd)} file(s) have no partner, e.g. {', '.join(odd[:5])}; every image needs a mask of its name."
        )
    if not images:
        raise ValueError(f"{root} holds no NIfTI files (.nii, .nii.gz).")
    cases = []
    for name, path in images.items():
        patient = name
        if patient_pattern is not None:
            match = re.search(patient_pattern, name)
            if match is None or not match.groups():
                raise ValueError(f"patient_pattern {patient_pattern!r} finds no group in {name!r}.")
            patient = match[1]
        cases.append(MedicalCase(name, str(path), str(labels[name]), patient, modality))
    return cases
