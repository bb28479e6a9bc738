# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Data sets, schemas, transforms and collation. Nothing here imports a model."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "MedicalCase": "medical",
    "MedicalCollator": "medical",
    "MedicalSlices": "medical",
    "check_disjoint": "medical",
    "load_medical": "medical_layouts",
    "medical_cases": "medical_layouts",
    "medical_features": "medical",
    "SemanticCollator": "collation",
    "UniversalCollator": "collation",
    "ImageTextCollator": "text",
    "ReferringCollator": "text",
    "FolderDataset": "folders",
    "list_splits": "folders",
    "load_folder": "folders",
    "load_official": "official",
    "official_names": "official",
    "TolerantDataset": "reading",
    "ReferDataset": "refer",
    "ReferLmdbDataset": "refer",
    "load_refer": "refer",
    "load_refer_json": "refer",
    "ReferringProcessorCollator": "referring_collation",
    "ReferringShapesDataset": "referring_shapes",
    "segments_from_map": "schema",
    "semantic_map": "schema",
    "TableDataset": "tables",
    "TableStream": "tables",
    "load_table": "tables",
    "to_datasets": "tables",
    "Scene": "shapes",
    "SceneObject": "shapes",
    "ShapesDataset": "shapes",
    "load_shapes": "shapes",
    "render_scene": "shapes",
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
