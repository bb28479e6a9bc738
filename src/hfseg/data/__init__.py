# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Datasets, schemas, transforms and collation. Nothing here imports a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..files.lazy_names import lazy_names

# What type checkers and editors see; a test compares it with the table.
if TYPE_CHECKING:
    from .collators.collation import SemanticCollator as SemanticCollator
    from .collators.collation import UniversalCollator as UniversalCollator
    from .collators.referring_collation import ReferringProcessorCollator as ReferringProcessorCollator
    from .collators.text import ImageTextCollator as ImageTextCollator
    from .collators.text import ReferringCollator as ReferringCollator
    from .readers.folders import FolderDataset as FolderDataset
    from .readers.folders import list_splits as list_splits
    from .readers.folders import load_folder as load_folder
    from .readers.medical import MedicalCase as MedicalCase
    from .readers.medical import MedicalCollator as MedicalCollator
    from .readers.medical import MedicalSlices as MedicalSlices
    from .readers.medical import check_disjoint as check_disjoint
    from .readers.medical_layouts import load_medical as load_medical
    from .readers.medical_layouts import medical_cases as medical_cases
    from .readers.official import load_official as load_official
    from .readers.official import official_names as official_names
    from .readers.reading import TolerantDataset as TolerantDataset
    from .readers.refer import ReferDataset as ReferDataset
    from .readers.refer import ReferLmdbDataset as ReferLmdbDataset
    from .readers.refer import load_refer as load_refer
    from .readers.refer import load_refer_json as load_refer_json
    from .readers.schema import medical_features as medical_features
    from .readers.schema import segments_from_map as segments_from_map
    from .readers.schema import semantic_map as semantic_map
    from .readers.table_rows import to_datasets as to_datasets
    from .readers.tables import TableDataset as TableDataset
    from .readers.tables import TableStream as TableStream
    from .readers.tables import load_table as load_table
    from .readers.union import SegmentationUnion as SegmentationUnion
    from .synthetic.referring_shapes import ReferringShapesDataset as ReferringShapesDataset
    from .synthetic.shapes import Scene as Scene
    from .synthetic.shapes import SceneObject as SceneObject
    from .synthetic.shapes import ShapesDataset as ShapesDataset
    from .synthetic.shapes import load_shapes as load_shapes
    from .synthetic.shapes import render_scene as render_scene
    from .transforms import CategoryCappedCrop as CategoryCappedCrop
    from .transforms import FixedSizeCrop as FixedSizeCrop
    from .transforms import LargeScaleJitter as LargeScaleJitter
    from .transforms import PhotometricDistortion as PhotometricDistortion
    from .transforms import RandomShortSide as RandomShortSide
    from .transforms import instance_training_transforms as instance_training_transforms
    from .transforms import semantic_training_transforms as semantic_training_transforms

_EXPORTS = {
    "MedicalCase": "readers.medical",
    "MedicalCollator": "readers.medical",
    "MedicalSlices": "readers.medical",
    "check_disjoint": "readers.medical",
    "load_medical": "readers.medical_layouts",
    "medical_cases": "readers.medical_layouts",
    "medical_features": "readers.schema",
    "SemanticCollator": "collators.collation",
    "UniversalCollator": "collators.collation",
    "ImageTextCollator": "collators.text",
    "ReferringCollator": "collators.text",
    "FolderDataset": "readers.folders",
    "list_splits": "readers.folders",
    "load_folder": "readers.folders",
    "load_official": "readers.official",
    "official_names": "readers.official",
    "SegmentationUnion": "readers.union",
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
    "to_datasets": "readers.table_rows",
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


if not TYPE_CHECKING:  # else every name would be one that exists, of type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)
