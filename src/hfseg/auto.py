# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The table of architectures, and the only place that registers them.

A new architecture is one `Architecture` row. `import hfseg` registers every row with transformers' Auto classes and
with `pipeline()`.
"""

import functools
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
        converter: Function that turns an official checkpoint into a model, `(state_dict, original_config) -> model`.
        tokenizer_builder: Function that finds the tokenizer of a converted model, `(model, image_processor,
            original_config, checkpoint, config_file) -> tokenizer or None`, if the model reads text.
        folder_converter: In its place, a function that reads the authors' files and writes the folder itself,
            `(path, output_dir, original_config) -> folder`.
        components: Classes of a diffusers pipeline, which has no configuration of its own and no Auto classes.
        adapter_converter: Function that gives a trained adapter the names of diffusers, `(tensors, config) -> (tensors,
            settings)`.
        tasks: What its models do, by the names of `hfseg.tasks`, the usual one first.
        functions: Public functions of the architecture, and classes that no Auto class builds.
        sources: Name of another architecture whose folders become this one's, to the function that writes them, as
            `folder_converter`.
        training: Task name in recipes to `Task` class (`training.tasks`), where the general one does not do.
        recipes: Kind of data (`data.facts`) to the recipe that is chosen for a folder of it, where none is named.
    """

    model_type: str
    config: str | None = None
    models: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    image_processors: dict[str, str] = field(default_factory=dict)
    processor: str | None = None
    converter: str | None = None
    tokenizer_builder: str | None = None
    folder_converter: str | None = None
    components: tuple[str, ...] = ()
    adapter_converter: str | None = None
    tasks: tuple[str, ...] = ()
    training: dict[str, str] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)


ARCHITECTURES = [
    Architecture(
        model_type="proscale",
        recipes={"objects": "proscale-tiny-instances", "classes": "proscale-tiny-folder"},
        tasks=("universal", "object-detection"),
        config="models.proscale.configuration_proscale:ProScaleConfig",
        models={
            # Of a pair transformers could build nothing from a configuration alone.
            "AutoModel": "models.proscale.modeling_proscale:ProScaleModel",
            "AutoModelForObjectDetection": "models.proscale.detection_proscale:ProScaleForObjectDetection",
            "AutoModelForUniversalSegmentation": "models.proscale.modeling_proscale:ProScaleForUniversalSegmentation",
            # pipeline("image-segmentation") asks this one only.
            "AutoModelForImageSegmentation": "models.proscale.modeling_proscale:ProScaleForUniversalSegmentation",
        },
        image_processors={
            "torchvision": "models.proscale.image_processing_proscale:ProScaleImageProcessor",
            "pil": "models.proscale.image_processing_pil_proscale:ProScaleImageProcessorPil",
        },
        converter="models.proscale.convert_proscale:convert",
        functions=(
            "models.proscale.convert_mask2former:from_mask2former",
            "models.proscale.detection_proscale:ProScaleDetectionModel",
        ),
        sources={"mask2former": "models.proscale.convert_mask2former:convert_folder"},
        training={
            "universal": "models.proscale.training_proscale:ProScaleTask",
            "distillation": "models.proscale.training_proscale:DistillationTask",
        },
    ),
    Architecture(
        model_type="proscale_open_vocabulary",  # its folders have a tokenizer too, which those of its neighbor have not
        tasks=("open-vocabulary",),
        config="models.proscale.configuration_open_vocabulary_proscale:ProScaleOpenVocabularyConfig",
        models={
            "AutoModel": "models.proscale.open_vocabulary_proscale:ProScaleProposalModel",
            "AutoModelForOpenVocabularySegmentation": (
                "models.proscale.open_vocabulary_proscale:ProScaleForOpenVocabularySegmentation"
            ),
        },
        image_processors={
            "torchvision": "models.proscale.image_processing_proscale:ProScaleImageProcessor",
            "pil": "models.proscale.image_processing_pil_proscale:ProScaleImageProcessorPil",
        },
        processor="models.proscale.processing_proscale:ProScaleProcessor",
        training={
            "open-vocabulary": "models.proscale.training_open_vocabulary_proscale:NamesTask",
            "contrastive": "training.tasks.contrastive:ContrastiveTask",
        },
    ),
    Architecture(
        model_type="vpnext",
        tasks=("semantic",),
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
    Architecture(
        model_type="unisegformer",
        tasks=("universal", "semantic", "pretraining"),
        config="models.unisegformer.configuration_unisegformer:UniSegFormerConfig",
        models={
            "AutoModel": "models.unisegformer.modeling_unisegformer:UniSegFormerModel",
            "AutoBackbone": "models.unisegformer.encoder_unisegformer:UniSegFormerBackbone",
            "AutoModelForPreTraining": "models.unisegformer.pretraining_unisegformer:UniSegFormerForPreTraining",
            "AutoModelForUniversalSegmentation": (
                "models.unisegformer.modeling_unisegformer:UniSegFormerForUniversalSegmentation"
            ),
            "AutoModelForSemanticSegmentation": (
                "models.unisegformer.modeling_unisegformer:UniSegFormerForSemanticSegmentation"
            ),
            # pipeline("image-segmentation") asks this one only; the folder's `architectures` decides.
            "AutoModelForImageSegmentation": (
                "models.unisegformer.modeling_unisegformer:UniSegFormerForUniversalSegmentation",
                "models.unisegformer.modeling_unisegformer:UniSegFormerForSemanticSegmentation",
            ),
        },
        image_processors={
            "torchvision": "models.unisegformer.image_processing_unisegformer:UniSegFormerImageProcessor",
            "pil": "models.unisegformer.image_processing_pil_unisegformer:UniSegFormerImageProcessorPil",
        },
        training={"pretraining": "models.unisegformer.training_unisegformer:UniSegFormerPreTrainingTask"},
    ),
    Architecture(
        model_type="meddensevit",
        recipes={"volumes": "meddensevit-tiny-hippocampus"},
        tasks=("semantic", "medical"),
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
        training={"semantic": "training.tasks.medical:MedicalVolumeTask"},
    ),
    Architecture(
        model_type="cris",
        tasks=("referring",),
        config="models.cris.configuration_cris:CrisConfig",
        models={
            "AutoModel": "models.cris.modeling_cris:CrisModel",
            "AutoModelForReferringImageSegmentation": "models.cris.modeling_cris:CrisForReferringImageSegmentation",
        },
        image_processors={
            "torchvision": "models.cris.image_processing_cris:CrisImageProcessor",
            "pil": "models.cris.image_processing_pil_cris:CrisImageProcessorPil",
        },
        processor="models.cris.processing_cris:CrisProcessor",
        converter="models.cris.convert_cris:convert",
        tokenizer_builder="models.cris.convert_cris:build_tokenizer",
    ),
    Architecture(
        model_type="unpairseg",
        tasks=("open-vocabulary", "mask-generation"),
        config="models.unpairseg.configuration_unpairseg:UnpairSegConfig",
        models={
            "AutoModel": "models.unpairseg.modeling_unpairseg:UnpairSegModel",
            "AutoModelForMaskGeneration": "models.unpairseg.modeling_unpairseg:UnpairSegForMaskGeneration",
            "AutoModelForOpenVocabularySegmentation": (
                "models.unpairseg.open_vocabulary_unpairseg:UnpairSegForOpenVocabularySegmentation"
            ),
        },
        image_processors={
            "torchvision": "models.unpairseg.image_processing_unpairseg:UnpairSegImageProcessor",
            "pil": "models.unpairseg.image_processing_pil_unpairseg:UnpairSegImageProcessorPil",
        },
        processor="models.unpairseg.processing_unpairseg:UnpairSegProcessor",
        converter="models.unpairseg.convert_unpairseg:convert",
        tokenizer_builder="models.unpairseg.convert_unpairseg:build_tokenizer",
        training={
            "mask-generation": "models.unpairseg.training_unpairseg:PromptableTask",
            "open-vocabulary": "models.unpairseg.training_unpairseg:AlignmentTask",
            "contrastive": "training.tasks.contrastive:ContrastiveTask",
        },
    ),
    Architecture(
        model_type="lavin_dit",  # a diffusers pipeline: nothing of it is imported before it is used
        tasks=("in-context",),
        components=(
            "models.lavin_dit.pipeline_lavin_dit:LavinDiTPipeline",
            "models.lavin_dit.transformer_lavin_dit:LavinDiTTransformer3DModel",
            "models.lavin_dit.scheduling_lavin_dit:LavinDiTScheduler",
            "models.lavin_dit.vae_lavin_dit:LavinDiTAutoencoderKL",
            "models.lavin_dit.vae_lavin_dit:PixelAutoencoder",
        ),
        folder_converter="models.lavin_dit.convert_lavin_dit:convert_files",
        adapter_converter="models.lavin_dit.sampling_lavin_dit:adapter_for_diffusers",
        training={
            "in-context": "models.lavin_dit.training_lavin_dit:LavinDiTTask",
            "autoencoder": "models.lavin_dit.training_lavin_dit:AutoencoderTask",
        },
    ),
]


# Auto class to the table of model names by which transformers' pipelines say what they support.
PIPELINE_NAMES = {
    "AutoModelForUniversalSegmentation": "MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES",
    "AutoModelForSemanticSegmentation": "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES",
    "AutoModelForObjectDetection": "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
    "AutoModelForMaskGeneration": "MODEL_FOR_MASK_GENERATION_MAPPING_NAMES",
}


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


def convertible() -> list[str]:
    """Names what can be converted: architectures, and others whose folders become one of ours."""
    return [name for row in ARCHITECTURES for name in (row.model_type, *row.sources)]


def find_auto_class(name: str) -> Any:
    """Finds an Auto class: transformers', or ours for tasks that it has none for."""
    import transformers

    from .pipelines import auto_models

    return getattr(transformers, name, None) or getattr(auto_models, name)


def public_names() -> dict[str, str]:
    """Maps every public class name to where it is, for `hfseg.<Name>`."""
    names = {}
    for row in ARCHITECTURES:
        models = [name for value in row.models.values() for name in ((value,) if isinstance(value, str) else value)]
        for name in (
            row.config,
            *models,
            *row.image_processors.values(),
            row.processor,
            *row.components,
            *row.functions,
        ):
            if name is not None:
                names[name.partition(":")[2]] = name
    return names


@functools.cache
def register() -> None:
    """Registers every architecture with the Auto classes, and the pipelines with `pipeline()`; once is enough."""
    import transformers
    from transformers.models.auto import modeling_auto

    # `transformers.AutoImageProcessor` is a placeholder that raises where 5.17 misses torchvision; this never is.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    from .pipelines import (
        image_segmentation,
        mask_generation,
        open_vocabulary_segmentation,
        referring_image_segmentation,
    )

    for row in ARCHITECTURES:
        if row.config is None:
            continue
        config = load(row.config)
        transformers.AutoConfig.register(row.model_type, config, exist_ok=True)
        for auto_class, models in row.models.items():
            classes: Any = load(models) if isinstance(models, str) else tuple(load(name) for name in models)
            find_auto_class(auto_class).register(config, classes, exist_ok=True)
            # The pipelines' own lists of supported names are static; without this they log a false complaint.
            if auto_class in PIPELINE_NAMES:
                getattr(modeling_auto, PIPELINE_NAMES[auto_class])[row.model_type] = classes.__name__
        if row.image_processors:
            AutoImageProcessor.register(
                config,
                image_processor_classes={backend: load(name) for backend, name in row.image_processors.items()},
                exist_ok=True,
            )
        if row.processor:
            transformers.AutoProcessor.register(config, load(row.processor), exist_ok=True)
    image_segmentation.register()
    mask_generation.register()
    open_vocabulary_segmentation.register()
    referring_image_segmentation.register()
