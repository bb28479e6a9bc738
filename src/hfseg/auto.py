# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The table of architectures, and the only place that registers them.

A new architecture is one `Architecture` row. `import hfseg` registers every row with transformers' Auto classes and
with `pipeline()`.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """What the zoo knows about one architecture. Classes are named `"module:Class"`, relative to `hfseg`.

    Attributes:
        model_type: Key in `config.json`.
        config: Configuration class.
        models: Auto class name to model class, or several in order of preference.
        image_processors: Backend (`torchvision`, `pil`) to image processor class.
        processor: Class that joins image processor and tokenizer, if the model reads text.
        converter: Function that turns an authors' checkpoint into a model, `(state_dict, original_config) -> model`.
        training: Task name in recipes to `Task` class (`training.tasks`), where the general one does not do.
    """

    model_type: str
    config: str
    models: dict[str, str | tuple[str, ...]]
    image_processors: dict[str, str] = field(default_factory=dict)
    processor: str | None = None
    converter: str | None = None
    training: dict[str, str] = field(default_factory=dict)


ARCHITECTURES = [
    Architecture(
        model_type="proscale",
        config="models.proscale.configuration_proscale:ProScaleConfig",
        models={
            "AutoModel": "models.proscale.modeling_proscale:ProScaleModel",
            "AutoModelForUniversalSegmentation": "models.proscale.modeling_proscale:ProScaleForUniversalSegmentation",
            # pipeline("image-segmentation") asks this one only.
            "AutoModelForImageSegmentation": "models.proscale.modeling_proscale:ProScaleForUniversalSegmentation",
        },
        image_processors={
            "torchvision": "models.proscale.image_processing_proscale:ProScaleImageProcessor",
            "pil": "models.proscale.image_processing_pil_proscale:ProScaleImageProcessorPil",
        },
        converter="models.proscale.convert_proscale:convert",
    ),
    Architecture(
        model_type="meddensevit",
        config="models.meddensevit.configuration_meddensevit:MedDenseViTConfig",
        models={
            "AutoModel": "models.meddensevit.modeling_meddensevit:MedDenseViTModel",
            "AutoModelForSemanticSegmentation": (
                "models.meddensevit.modeling_meddensevit:MedDenseViTForSemanticSegmentation"
            ),
            "AutoModelForImageSegmentation": (
                "models.meddensevit.modeling_meddensevit:MedDenseViTForSemanticSegmentation"
            ),
        },
        image_processors={
            "torchvision": "models.meddensevit.image_processing_meddensevit:MedDenseViTImageProcessor",
            "pil": "models.meddensevit.image_processing_pil_meddensevit:MedDenseViTImageProcessorPil",
        },
        training={
            "semantic": "training.tasks.medical:MedicalVolumeTask",
            "medical": "training.tasks.medical:MedicalVolumeTask",
        },
    ),
    Architecture(
        model_type="vpnext",
        config="models.vpnext.configuration_vpnext:VPNeXtConfig",
        models={
            "AutoModel": "models.vpnext.modeling_vpnext:VPNeXtModel",
            "AutoModelForSemanticSegmentation": "models.vpnext.modeling_vpnext:VPNeXtForSemanticSegmentation",
            # pipeline("image-segmentation") asks this one first.
            "AutoModelForImageSegmentation": "models.vpnext.modeling_vpnext:VPNeXtForSemanticSegmentation",
        },
        image_processors={
            "torchvision": "models.vpnext.image_processing_vpnext:VPNeXtImageProcessor",
            "pil": "models.vpnext.image_processing_pil_vpnext:VPNeXtImageProcessorPil",
        },
    ),
]


def load(name: str) -> Any:
    """Imports `"module:Name"` of this package."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)


def find(model_type: str) -> Architecture:
    """Looks an architecture up.

    Raises:
        ValueError: If there is none of this name; lists those there are.
    """
    for row in ARCHITECTURES:
        if row.model_type == model_type:
            return row
    known = ", ".join(row.model_type for row in ARCHITECTURES)
    raise ValueError(f"Unknown architecture {model_type!r}: choose one of {known}.")


def public_names() -> dict[str, str]:
    """Maps every public class name to where it is, for `hfseg.<Name>`."""
    names = {}
    for row in ARCHITECTURES:
        models = [name for value in row.models.values() for name in ((value,) if isinstance(value, str) else value)]
        for name in (row.config, *models, *row.image_processors.values(), row.processor):
            if name is not None:
                names[name.partition(":")[2]] = name
    return names


def register() -> None:
    """Registers every architecture with the Auto classes, and the pipelines with `pipeline()`."""
    import transformers
    from transformers.models.auto import modeling_auto

    from .pipelines import image_segmentation

    for row in ARCHITECTURES:
        config = load(row.config)
        transformers.AutoConfig.register(row.model_type, config, exist_ok=True)
        for auto_class, models in row.models.items():
            classes: Any = load(models) if isinstance(models, str) else tuple(load(name) for name in models)
            getattr(transformers, auto_class).register(config, classes, exist_ok=True)
            # The pipeline's own lists of supported names are static; without this it logs a false complaint.
            if auto_class == "AutoModelForUniversalSegmentation":
                modeling_auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES[row.model_type] = classes.__name__
            elif auto_class == "AutoModelForSemanticSegmentation":
                modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[row.model_type] = classes.__name__
        if row.image_processors:
            transformers.AutoImageProcessor.register(
                config,
                image_processor_classes={backend: load(name) for backend, name in row.image_processors.items()},
                exist_ok=True,
            )
        if row.processor:
            transformers.AutoProcessor.register(config, load(row.processor), exist_ok=True)
    image_segmentation.register()
