# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Data sets, schemas, transforms and collation. Nothing here imports a model."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "MedicalCase": "readers.medical",
    "MedicalCollator": "readers.medical",
    "MedicalSlices": "readers.medical",
    "check_disjoint": "readers.medical",
    "load_medical": "readers.medical_layouts",
    "medical_cases": "readers.medical_layouts",
    "medical_features": "readers.medical",
    "SemanticCollator": "collators.collation",
    "UniversalCollator": "collators.collation",
    "ImageTextCollator": "collators.text",
    "ReferringCollator": "collators.text",
    "FolderDataset": "readers.folders",
    "list_splits": "readers.folders",
    "load_folder": "readers.folders",
    "load_official": "readers.official",
    "official_names": "readers.official",
    "TolerantDataset": "readers.reading",
    "ReferDataset": "readers.refer",
    "ReferLmdbDataset": "readers.refer",
    "load_refer": "readers.refer",
    "load_refer_json": "readers.refer",
    "ReferringProcessorCollator": "collators.referring_collation",
    "ReferringShapesDataset": "synthetic.referring_shapes",
    "segments_from_map": "readers.schema",
    "semantic_map": "readers.schema",
    "TableDataset": "readers.tables",
    "TableStream": "readers.tables",
    "load_table": "readers.tables",
    "to_datasets": "readers.tables",
    "Scene": "synthetic.shapes",
    "SceneObject": "synthetic.shapes",
    "ShapesDataset": "synthetic.shapes",
    "load_shapes": "synthetic.shapes",
    "render_scene": "synthetic.shapes",
    "CategoryCappedCrop": "transforms",
    "FixedSizeCrop": "transforms",
    "LargeScaleJitter": "transforms",
    "PhotometricDistortion": "transforms",
    "RandomShortSide": "transforms",
    "instance_training_transforms": "transforms",
    "semantic_training_transforms": "transforms",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used, so that importing hfseg stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
