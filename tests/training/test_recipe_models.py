# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.from_recipe`: the model of a published variant in one line, with changes."""

import pytest
import torch

import hfseg
from hfseg.training.arguments import recipe_names

# LaVin-DiT's recipes need the folder of their trained autoencoder, and diffusers' pipelines cannot be built without
# memory; distillation starts from a folder of its own.
PUBLISHED = [
    name for name in recipe_names() if not name.startswith("lavin-dit") and name != "proscale-from-mask2former"
]


def test_a_published_variant_with_a_change():
    model = hfseg.from_recipe("proscale-r50-cityscapes", encoder_stage_layers=(1, 1, 1))
    assert type(model).__name__ == "ProScaleForUniversalSegmentation"
    assert list(model.config.encoder_stage_layers) == [1, 1, 1] and model.config.num_labels == 19
    assert model.config.id2label[0] == "road" and model.config.stuff_class_ids


@pytest.mark.parametrize(
    ("recipe", "class_name", "num_labels"),
    [
        ("vpnext-tiny-shapes", "VPNeXtForSemanticSegmentation", 10),
        ("cris-tiny-shapes", "CrisForReferringImageSegmentation", None),
        ("meddensevit-tiny-hippocampus", "MedDenseViTForSemanticSegmentation", 3),
        ("unpairseg-tiny-stage2", "UnpairSegForOpenVocabularySegmentation", None),
        ("lavin-dit-tiny-shapes", "LavinDiTPipeline", None),
        ("unisegformer-tiny-coco", "UniSegFormerForUniversalSegmentation", 133),
    ],
)
def test_every_architecture(recipe, class_name, num_labels):
    model = hfseg.from_recipe(recipe)
    assert type(model).__name__ == class_name
    assert num_labels is None or model.config.num_labels == num_labels


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_every_recipe_builds_its_model(recipe):
    """Without memory for the weights; classes are those of the dataset."""
    if "mvit" in recipe or "eva02" in recipe or "augreg" in recipe:
        pytest.importorskip("timm")
    with torch.device("meta"):
        model = hfseg.from_recipe(recipe)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_what_there_is_not():
    with pytest.raises(ValueError, match="configuration of proscale has no encoder_layer"):
        hfseg.from_recipe("proscale-tiny-shapes", encoder_layer=3)
    with pytest.raises(FileNotFoundError):
        hfseg.from_recipe("proscale-r51-cityscapes")
