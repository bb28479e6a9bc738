# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tensors of a timm backbone that a file lacks are drawn as timm draws them, and nothing else is touched."""

import pytest
import torch
from transformers import TimmBackboneConfig

from hfseg import ProScaleForUniversalSegmentation
from proscale_models import tiny_config

timm = pytest.importorskip("timm")

NETWORKS = {"resnet10t": [1, 2, 3, 4], "tf_efficientnet_lite0": [1, 2, 3, 4], "mvitv2_tiny": [0, 1, 2, 3]}


def config_of(name, **fields):
    settings = TimmBackboneConfig(backbone=name, use_pretrained_backbone=False, out_indices=NETWORKS[name], **fields)
    return tiny_config(backbone_config=settings)


def fill_memory():
    """Freed blocks hold numbers that no network is initialized with: what is left as it was shows."""
    blocks = [torch.full((1 << size,), 7e30) for size in range(8, 22) for _ in range(4)]
    del blocks


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_without_the_backbone(name):
    config = config_of(name)
    torch.manual_seed(0)
    built = ProScaleForUniversalSegmentation(config)
    rest = {key: value for key, value in built.state_dict().items() if ".backbone." not in key}
    fill_memory()
    loaded = ProScaleForUniversalSegmentation.from_pretrained(None, config=config, state_dict=dict(rest))
    for key, expected in built.state_dict().items():
        actual = loaded.state_dict()[key]
        if key in rest:
            assert torch.equal(actual, expected), key
        elif expected.is_floating_point() and expected.numel() > 500:
            sizes = (float(actual.square().mean().sqrt()), float(expected.square().mean().sqrt()))
            assert sizes[0] == pytest.approx(sizes[1], rel=0.3), key
        else:  # scales, shifts and statistics: few values, of which each has its size
            assert torch.isfinite(actual).all() and actual.abs().max() <= max(1.0, 2 * float(expected.abs().max())), key


def test_one_missing_tensor_is_drawn_and_the_others_are_the_files():
    config = config_of("resnet10t")
    torch.manual_seed(0)
    built = ProScaleForUniversalSegmentation(config).state_dict()
    key = next(key for key in built if key.endswith("layer3.0.conv1.weight"))
    fill_memory()
    loaded = ProScaleForUniversalSegmentation.from_pretrained(
        None, config=config, state_dict={name: value for name, value in built.items() if name != key}
    ).state_dict()
    assert not torch.equal(loaded[key], built[key])
    assert float(loaded[key].std()) == pytest.approx(float(built[key].std()), rel=0.1)
    assert all(torch.equal(loaded[name], value) for name, value in built.items() if name != key)


def test_cut_stages_are_drawn_too():
    config = config_of("tf_efficientnet_lite0", stage_blocks=[1, 2, 2, 3, 2, 1, 0])
    fill_memory()
    loaded = ProScaleForUniversalSegmentation.from_pretrained(None, config=config, state_dict={})
    assert all(torch.isfinite(value).all() and value.abs().max() < 50 for value in loaded.state_dict().values())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_networks_that_were_built_with_arguments(name):
    """The fresh network has them too: else its tensors would have other sizes."""
    kwargs = {"depth": 2, "embed_dim": 48, "num_heads": 2, "img_size": 64, "patch_size": 8, "dynamic_img_size": True}
    backbone = TimmBackboneConfig(backbone=name, use_pretrained_backbone=False, out_indices=[1])
    config = tiny_config(backbone_config=backbone, timm_kwargs=kwargs, backbone_pyramid="simple")
    torch.manual_seed(0)
    built = ProScaleForUniversalSegmentation(config).state_dict()
    keys = [key for key in built if key.endswith(("pos_embed", "blocks.1.mlp.fc2.weight", "patch_embed.proj.weight"))]
    assert len(keys) == 3 or "eva" in name
    kept = {key: value for key, value in built.items() if key not in keys}
    fill_memory()
    loaded = ProScaleForUniversalSegmentation.from_pretrained(None, config=config, state_dict=kept).state_dict()
    for key in keys:
        assert loaded[key].shape == built[key].shape and not torch.equal(loaded[key], built[key])
        assert float(loaded[key].std()) == pytest.approx(float(built[key].std()), rel=0.2), key
    assert all(torch.equal(loaded[key], value) for key, value in kept.items())


def test_whole_files_need_no_second_network(tmp_path, monkeypatch):
    model = ProScaleForUniversalSegmentation(config_of("resnet10t"))
    model.save_pretrained(tmp_path)
    made = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: made.append(args) or create(*args, **kwargs))
    loaded = ProScaleForUniversalSegmentation.from_pretrained(tmp_path)
    assert len(made) == 1
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
