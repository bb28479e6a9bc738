# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""hfseg: segmentation and dense vision models for the Hugging Face ecosystem.

Importing the package registers its models with transformers: afterwards `AutoModelForUniversalSegmentation`,
`AutoImageProcessor`, `pipeline("image-segmentation")` and the other Auto classes load them by folder or Hub name.

`hfseg.load`, `predict`, `evaluate`, `train`, `from_recipe`, `checkpoint` and `load_dataset` do in Python what the
commands of these names do.
"""

import itertools
import multiprocessing
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from . import auto

# What type checkers and editors see; a test compares it with the table.
if TYPE_CHECKING:
    from .data.arrow import load_dataset as load_dataset
    from .evaluation.runner import evaluate as evaluate
    from .inference.loading import load as load
    from .inference.predict import predict as predict
    from .inference.predictor import Predictor as Predictor
    from .models.cris.configuration_cris import CrisConfig as CrisConfig
    from .models.cris.image_processing_cris import CrisImageProcessor as CrisImageProcessor
    from .models.cris.image_processing_pil_cris import CrisImageProcessorPil as CrisImageProcessorPil
    from .models.cris.modeling_cris import CrisForReferringImageSegmentation as CrisForReferringImageSegmentation
    from .models.cris.modeling_cris import CrisModel as CrisModel
    from .models.cris.processing_cris import CrisProcessor as CrisProcessor
    from .models.lavin_dit.pipeline_lavin_dit import LavinDiTPipeline as LavinDiTPipeline
    from .models.lavin_dit.scheduling_lavin_dit import LavinDiTScheduler as LavinDiTScheduler
    from .models.lavin_dit.transformer_lavin_dit import LavinDiTTransformer3DModel as LavinDiTTransformer3DModel
    from .models.lavin_dit.vae_lavin_dit import LavinDiTAutoencoderKL as LavinDiTAutoencoderKL
    from .models.lavin_dit.vae_lavin_dit import PixelAutoencoder as PixelAutoencoder
    from .models.meddensevit.configuration_meddensevit import MedDenseViTConfig as MedDenseViTConfig
    from .models.meddensevit.image_processing_meddensevit import MedDenseViTImageProcessor as MedDenseViTImageProcessor
    from .models.meddensevit.image_processing_pil_meddensevit import (
        MedDenseViTImageProcessorPil as MedDenseViTImageProcessorPil,
    )
    from .models.meddensevit.modeling_meddensevit import (
        MedDenseViTForSemanticSegmentation as MedDenseViTForSemanticSegmentation,
    )
    from .models.meddensevit.modeling_meddensevit import MedDenseViTModel as MedDenseViTModel
    from .models.proscale.configuration_open_vocabulary_proscale import (
        ProScaleOpenVocabularyConfig as ProScaleOpenVocabularyConfig,
    )
    from .models.proscale.configuration_proscale import ProScaleConfig as ProScaleConfig
    from .models.proscale.convert_mask2former import from_mask2former as from_mask2former
    from .models.proscale.detection_proscale import ProScaleDetectionModel as ProScaleDetectionModel
    from .models.proscale.detection_proscale import ProScaleForObjectDetection as ProScaleForObjectDetection
    from .models.proscale.image_processing_pil_proscale import ProScaleImageProcessorPil as ProScaleImageProcessorPil
    from .models.proscale.image_processing_proscale import ProScaleImageProcessor as ProScaleImageProcessor
    from .models.proscale.modeling_proscale import ProScaleForUniversalSegmentation as ProScaleForUniversalSegmentation
    from .models.proscale.modeling_proscale import ProScaleModel as ProScaleModel
    from .models.proscale.open_vocabulary_proscale import (
        ProScaleForOpenVocabularySegmentation as ProScaleForOpenVocabularySegmentation,
    )
    from .models.proscale.open_vocabulary_proscale import ProScaleProposalModel as ProScaleProposalModel
    from .models.proscale.processing_proscale import ProScaleProcessor as ProScaleProcessor
    from .models.unisegformer.configuration_unisegformer import UniSegFormerConfig as UniSegFormerConfig
    from .models.unisegformer.encoder_unisegformer import UniSegFormerBackbone as UniSegFormerBackbone
    from .models.unisegformer.image_processing_pil_unisegformer import (
        UniSegFormerImageProcessorPil as UniSegFormerImageProcessorPil,
    )
    from .models.unisegformer.image_processing_unisegformer import (
        UniSegFormerImageProcessor as UniSegFormerImageProcessor,
    )
    from .models.unisegformer.modeling_unisegformer import (
        UniSegFormerForSemanticSegmentation as UniSegFormerForSemanticSegmentation,
    )
    from .models.unisegformer.modeling_unisegformer import (
        UniSegFormerForUniversalSegmentation as UniSegFormerForUniversalSegmentation,
    )
    from .models.unisegformer.modeling_unisegformer import UniSegFormerModel as UniSegFormerModel
    from .models.unisegformer.pretraining_unisegformer import UniSegFormerForPreTraining as UniSegFormerForPreTraining
    from .models.unpairseg.configuration_unpairseg import UnpairSegConfig as UnpairSegConfig
    from .models.unpairseg.image_processing_pil_unpairseg import (
        UnpairSegImageProcessorPil as UnpairSegImageProcessorPil,
    )
    from .models.unpairseg.image_processing_unpairseg import UnpairSegImageProcessor as UnpairSegImageProcessor
    from .models.unpairseg.modeling_unpairseg import UnpairSegForMaskGeneration as UnpairSegForMaskGeneration
    from .models.unpairseg.modeling_unpairseg import UnpairSegModel as UnpairSegModel
    from .models.unpairseg.open_vocabulary_unpairseg import (
        UnpairSegForOpenVocabularySegmentation as UnpairSegForOpenVocabularySegmentation,
    )
    from .models.unpairseg.processing_unpairseg import UnpairSegProcessor as UnpairSegProcessor
    from .models.vpnext.configuration_vpnext import VPNeXtConfig as VPNeXtConfig
    from .models.vpnext.image_processing_pil_vpnext import VPNeXtImageProcessorPil as VPNeXtImageProcessorPil
    from .models.vpnext.image_processing_vpnext import VPNeXtImageProcessor as VPNeXtImageProcessor
    from .models.vpnext.modeling_vpnext import VPNeXtForSemanticSegmentation as VPNeXtForSemanticSegmentation
    from .models.vpnext.modeling_vpnext import VPNeXtModel as VPNeXtModel
    from .tasks import checkpoint as checkpoint
    from .training.recipe_models import from_recipe as from_recipe
    from .training.runner import train as train

__version__ = "0.1.0"

_DOORS = {
    "Predictor": "inference.predictor:Predictor",
    "checkpoint": "tasks:checkpoint",
    "evaluate": "evaluation.runner:evaluate",
    "from_recipe": "training.recipe_models:from_recipe",
    "load": "inference.loading:load",
    "load_dataset": "data.arrow:load_dataset",
    "predict": "inference.predict:predict",
    "train": "training.runner:train",
}
_PUBLIC = {**auto.public_names(), **_DOORS}
__all__ = ["__version__", *_PUBLIC]

if not TYPE_CHECKING:  # else every name would be one that exists, of type Any

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return auto.load(_PUBLIC[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _is_command_line() -> bool:
    """Whether `hfseg COMMAND` or `python -m hfseg COMMAND` is starting, which registers once it has work to do."""
    if multiprocessing.parent_process() is not None:  # a worker inherits its parent's command line
        return False
    if sys.argv[:1] == ["-m"]:
        words = sys.orig_argv
        return any(pair == ("-m", __name__) for pair in itertools.pairwise(words))
    return bool(sys.argv) and PurePath(sys.argv[0]).name in (__name__, f"{__name__}.exe")


if not _is_command_line():
    try:
        auto.register()
    except ModuleNotFoundError as error:  # exported models run without them (`hfseg.onnx`)
        if error.name not in ("torch", "transformers"):
            raise
