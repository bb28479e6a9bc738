# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Models that are exported."""

import pytest
import torch

import hfseg
from contract import peaked
from cris_models import tiny_config as cris_config
from meddensevit_models import tiny_config as meddensevit_config
from models.proscale.test_modeling_proscale import PIXELS, RESNET
from proscale_models import tiny_config as proscale_config
from proscale_models import tiny_open_vocabulary_config
from unisegformer_models import tiny_config as unisegformer_config
from unpairseg_models import tiny_config as unpairseg_config
from vpnext_models import DINOV3
from vpnext_models import tiny_config as vpnext_config

# A symbol takes long per operation.
SHORT = {**DINOV3, "num_hidden_layers": 2}


def windowed_mvit():
    """A backbone of timm whose attention is in windows."""
    pytest.importorskip("timm")
    from timm_models import WINDOWED_MVIT, tiny_mvit

    with tiny_mvit():
        config = proscale_config(backbone_config=WINDOWED_MVIT, encoder_stage_layers=(0, 0, 1), decoder_layers=1)
        return hfseg.ProScaleForUniversalSegmentation(config)


MODELS = {
    "meddensevit": lambda: hfseg.MedDenseViTForSemanticSegmentation(meddensevit_config()),
    "vpnext": lambda: hfseg.VPNeXtForSemanticSegmentation(vpnext_config(hiclr_iterations=1, backbone_config=SHORT)),
    # A convolutional backbone: tracing shifted windows of free size takes minutes.
    "proscale-boxes": lambda: hfseg.ProScaleForObjectDetection(
        proscale_config(backbone_config=RESNET, decoder_layers=1, feature_size=64, encoder_stage_layers=(1, 0, 0, 1))
    ),
    "proscale-pixels": lambda: hfseg.ProScaleForUniversalSegmentation(
        proscale_config(backbone_config=RESNET, decoder_layers=1, **PIXELS)
    ),
}


# With free sizes they take a minute and more; `tests/onnx` exports several of these kinds for one size.
SLOW_MODELS = {
    "cris": lambda: hfseg.CrisForReferringImageSegmentation(cris_config(num_decoder_layers=1)),
    "proscale-names": lambda: hfseg.ProScaleForOpenVocabularySegmentation(
        tiny_open_vocabulary_config(backbone_config=RESNET, decoder_layers=1)
    ),
    # Its learned queries are those of "proscale-names", all else that of "proscale-pixels".
    "proscale": lambda: hfseg.ProScaleForUniversalSegmentation(
        proscale_config(backbone_config=RESNET, decoder_layers=1)
    ),
    "proscale-swin": lambda: hfseg.ProScaleForUniversalSegmentation(proscale_config(decoder_layers=1)),
    "proscale-mvit": windowed_mvit,
    "unisegformer": lambda: hfseg.UniSegFormerForSemanticSegmentation(unisegformer_config()),
    "unpairseg": lambda: hfseg.UnpairSegForMaskGeneration(unpairseg_config()),
    "unpairseg-names": lambda: hfseg.UnpairSegForOpenVocabularySegmentation(unpairseg_config()),
}


def built(name):
    torch.manual_seed(0)
    return peaked({**MODELS, **SLOW_MODELS}[name]()).eval()
