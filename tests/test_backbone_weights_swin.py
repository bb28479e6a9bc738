# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Official Swin files and MoBY's checkpoints as backbones: the features of timm's Swin, and what is refused."""

import re

import pytest
import torch
from torch import nn
from transformers import SwinConfig

from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation
from hfseg.backbone_weights import official_swin_tensors
from hfseg.training.tasks.base import load_backbone_weights

timm = pytest.importorskip("timm")
SIZES = {"embed_dim": 24, "depths": (2, 1, 2, 1), "num_heads": (2, 3, 4, 6), "window_size": 4}


@pytest.fixture(scope="module")
def theirs():
    """A small Swin of timm with weights that are not those of a fresh one."""
    torch.manual_seed(0)
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", features_only=True, img_size=64, always_partition=True, **SIZES
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def official(theirs, prefix=""):
    """The same weights under the official names: the merging of patches ends a stage, where timm begins one with it."""
    renamed = {}
    for name, tensor in theirs.state_dict().items():
        name = re.sub(r"^layers_(\d)\.", r"layers.\1.", name)
        name = re.sub(r"^layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
        renamed[prefix + name] = tensor
    return renamed


def moby(theirs):
    """A checkpoint as MoBY's training writes it: encoder, momentum encoder, projectors, queues, optimizer."""
    encoder = official(theirs)
    model = {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    model |= {f"encoder_k.{name}": torch.randn_like(tensor.float()) for name, tensor in encoder.items()}
    model |= {"encoder.norm.weight": torch.ones(192), "projector.linear1.weight": torch.randn(8, 8)}
    model |= {
        "projector_k.linear1.weight": torch.randn(8, 8),
        "queue1": torch.randn(8, 16),
        "queue_ptr": torch.zeros(1),
    }
    return {"model": model, "optimizer": {"state": {}, "param_groups": []}, "epoch": 299, "max_norm": 0.0}


def small_model(**fields):
    """A model on a Swin of these sizes."""
    backbone = SwinConfig(image_size=64, out_features=["stage1", "stage2", "stage3", "stage4"], **{**SIZES, **fields})
    torch.manual_seed(1)
    return ProScaleForUniversalSegmentation(
        ProScaleConfig(backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_size=32, num_queries=5,
                       num_attention_heads=4, decoder_layers=1, dim_feedforward=32, encoder_feedforward_dim=32)
    ).eval()  # fmt: skip


FORMS = {
    "official": lambda theirs: {"model": official(theirs)},
    "dense": lambda theirs: {"state_dict": official(theirs, "backbone.")},
    "moby": moby,
    "moby, several processes": lambda theirs: {"model": {f"module.{k}": v for k, v in moby(theirs)["model"].items()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_features_are_those_of_the_file(theirs, tmp_path, form):
    torch.save(FORMS[form](theirs), tmp_path / "weights.pth")
    model = small_model()
    load_backbone_weights(model, str(tmp_path / "weights.pth"))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = [maps.permute(0, 3, 1, 2) for maps in theirs(pixels)]
        found = model.model.backbone(pixels).feature_maps
    assert len(found) == len(expected) == 4
    for own, other in zip(found, expected):  # ours are normalized, by norms that are fresh
        other = nn.functional.layer_norm(other.permute(0, 2, 3, 1), other.shape[1:2], eps=1e-5).permute(0, 3, 1, 2)
        torch.testing.assert_close(own, other, atol=2e-3, rtol=1e-3)


def test_other_names_are_left_alone(theirs):
    assert official_swin_tensors({"embeddings.norm.weight": torch.zeros(1)}) is None
    assert official_swin_tensors({"patch_embed.proj.weight": torch.zeros(1)}) is None  # a plain ViT


def test_another_network_is_named(theirs, tmp_path):
    torch.save(moby(theirs), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load_backbone_weights(small_model(embed_dim=48), str(tmp_path / "weights.pth"))
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load_backbone_weights(small_model(depths=(2, 1, 3, 1)), str(tmp_path / "weights.pth"))


def test_nothing_in_a_file_is_executed(theirs, tmp_path):
    class Settings:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({**moby(theirs), "config": Settings()}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="nothing else in a checkpoint is ever executed"):
        load_backbone_weights(small_model(), str(tmp_path / "weights.pth"))
