# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What transformers asks of every model: a head reaches the embeddings of its base model."""

import pytest
from torch import nn
from transformers import PreTrainedModel

from hfseg import auto
from hfseg.models.vision_model import VisionModel
from models.cris.test_modeling_cris import tiny_config as cris_config
from models.meddensevit.test_modeling_meddensevit import tiny_config as meddensevit_config
from models.unisegformer.test_modeling_unisegformer import tiny_config as unisegformer_config
from models.unpairseg.test_modeling_unpairseg import tiny_config as unpairseg_config
from models.vpnext.test_modeling_vpnext import tiny_config as vpnext_config
from proscale_models import tiny_open_vocabulary_config

HEADS = {
    "CrisForReferringImageSegmentation": cris_config,
    "MedDenseViTForSemanticSegmentation": meddensevit_config,
    "ProScaleForOpenVocabularySegmentation": tiny_open_vocabulary_config,
    "UniSegFormerForSemanticSegmentation": unisegformer_config,
    "UniSegFormerForUniversalSegmentation": unisegformer_config,
    "UnpairSegForMaskGeneration": unpairseg_config,
    "UnpairSegForOpenVocabularySegmentation": unpairseg_config,
    "VPNeXtForSemanticSegmentation": vpnext_config,
}


def test_all_models_have_it():
    for row in auto.ARCHITECTURES:
        for value in row.models.values():
            for name in (value,) if isinstance(value, str) else value:
                made = auto.load(name)
                assert not issubclass(made, PreTrainedModel) or issubclass(made, VisionModel), name


@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_the_embeddings_of_its_base(name):
    model = auto.load(auto.public_names()[name])(HEADS[name]())
    first = model.get_input_embeddings()
    assert isinstance(first, nn.Module) and first is model.model.get_input_embeddings()
    other = type(first)(*first.weight.shape) if isinstance(first, nn.Embedding) else nn.Identity()
    model.set_input_embeddings(other)
    assert model.model.get_input_embeddings() is other
