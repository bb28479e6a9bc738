# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE and Mask2Former on a plain ViT with ViTDet's pyramid: the contract, backbones, refusals, training."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForUniversalSegmentation

from contract import assert_same, kaiming, peaked
from hfseg import ProScaleForObjectDetection, ProScaleForUniversalSegmentation
from hfseg.data import ShapesDataset, UniversalCollator
from hfseg.training.arguments import OptimizerArguments
from hfseg.training.optimization import parameter_groups
from models.proscale import test_modeling_proscale as masks
from proscale_models import tiny_config
from vpnext_models import BEIT, DINOV2, DINOV3

AUGREG = {"model_type": "timm_backbone", "backbone": "vit_tiny_patch16_224", "out_indices": [2]}
EVA02 = {"model_type": "timm_backbone", "backbone": "eva02_tiny_patch14_224", "out_indices": [2]}
TIMM_KWARGS = {"depth": 3, "embed_dim": 48, "num_heads": 2, "img_size": 64, "patch_size": 16, "dynamic_img_size": True}
VIT = {**DINOV3, "patch_size": 16, "image_size": 64}
PLAIN = {"backbone_config": VIT, "backbone_pyramid": "simple"}


class TestProgressiveOnAPlainViT(masks.TestProScaleForUniversalSegmentation):
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_compiles_once_for_all_sizes"),
        "the exported program of all sizes has the same parts; two more would only cost time",
    )

    def config(self):
        return tiny_config(**PLAIN)

    def dynamic_size_config(self):
        return tiny_config(decoder_layers=1, **PLAIN)

    def fresh(self):
        torch_default = partial(kaiming, gain=3**-0.5)
        return {
            "model.pyramid.resamplings.0.1.weight": 1.0,
            "model.pyramid.resamplings.0.1.bias": 0.0,
            # Of a transposed convolution PyTorch counts outputs: its weight is (inputs, outputs, 2, 2).
            "model.pyramid.resamplings.*.weight": torch_default,
            "model.pyramid.resamplings.[01].0.bias": 3**-0.5 * (16 * 4) ** -0.5,
            "model.pyramid.resamplings.0.3.bias": 3**-0.5 * (8 * 4) ** -0.5,
            "model.pyramid.projections.?.[02].weight": torch_default,
            "model.pyramid.projections.?.[13].weight": 1.0,
            "model.pyramid.projections.?.[13].bias": 0.0,
            **super().fresh(),
        }


KINDS = {
    "dinov3": (VIT, None),
    "dinov2": (DINOV2, None),  # patches of 14
    "beit": (BEIT, None),
    "augreg": (AUGREG, TIMM_KWARGS),
    "eva02": (EVA02, TIMM_KWARGS),
}
kinds = pytest.mark.parametrize("kind", KINDS)
encoders = pytest.mark.parametrize("encoder", ["progressive", "full", "lite", "hybrid"])


def tiny(kind="dinov3", **fields):
    """Builds a seeded model with peaked weights on a ViT."""
    backbone, timm_kwargs = KINDS[kind]
    if timm_kwargs:
        pytest.importorskip("timm")
    torch.manual_seed(0)
    config = tiny_config(backbone_config=backbone, timm_kwargs=timm_kwargs, backbone_pyramid="simple", **fields)
    return peaked(ProScaleForUniversalSegmentation(config)).eval()


def images(height=48, width=80, batch_size=2):
    return torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(1))


@kinds
def test_every_vit_trains_saves_and_takes_any_size(kind, tmp_path):
    """Gradients reach all of it, a folder gives the same numbers, and masks have the stride of a quarter patch."""
    model = tiny(kind, encoder="full")
    model.save_pretrained(tmp_path)
    again = AutoModelForUniversalSegmentation.from_pretrained(tmp_path)
    stride = model.model.patch_size / 4
    assert stride == (3.5 if kind == "dinov2" else 4)
    for size in ((48, 80), (33, 47)):
        with torch.no_grad():
            expected, actual = model(images(*size)), again(images(*size))
        assert_same(actual, expected)
        assert expected.masks_queries_logits.shape[-2:] == tuple(math.ceil(side / stride) for side in size)
    labels = masks.TestProScaleForUniversalSegmentation().labels(2, 33, 47)
    model.train()(images(33, 47), **labels).loss.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not [name for name in without if not name.endswith(("k_proj.bias", "key.bias", "k_bias"))]
    assert not any(parameter.requires_grad for name, parameter in model.named_parameters() if "mask_token" in name)


@encoders
def test_every_encoder_takes_the_pyramid(encoder):
    """What the encoder leaves out is not built: every parameter gets a gradient."""
    model = tiny(encoder=encoder).train()
    labels = masks.TestProScaleForUniversalSegmentation().labels(2, 48, 80)
    outputs = model(images(), **labels)
    outputs.loss.backward()
    assert outputs.masks_queries_logits.shape[-2:] == (12, 20)
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert len(model.model.pyramid.projections) == (3 if encoder == "hybrid" else 4)


def test_the_last_of_several_maps_is_taken():
    """Taps of earlier blocks, which a folder's network may have, change nothing."""
    one = tiny()
    backbone = {**VIT, "out_features": ["stage1", "stage3"]}
    two = ProScaleForUniversalSegmentation(tiny_config(backbone_config=backbone, backbone_pyramid="simple")).eval()
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert_same(two(images()), one(images()))
        last = one.model.backbone(images()).feature_maps[-1]
        maps = one.model.feature_maps(images())
        assert_same(maps, one.model.pyramid(last, (48, 80)))
    assert [tuple(level.shape) for level in maps] == [(2, 32, 96 // s, 160 // s) for s in (8, 16, 32)] + [(2, 32, 2, 3)]


def test_padding_is_inside_the_model():
    """An image whose sides are no multiples of the patch gives what its padded copy gives, cut."""
    model = tiny()
    small = images(40, 70)
    padded = F.pad(small, (0, 10, 0, 8))
    with torch.no_grad():
        tokens = model.model.backbone(padded).feature_maps[-1]
        expected = model.model.pyramid(tokens, (40, 70))
        assert_same(model.model.feature_maps(small), expected)
    with pytest.raises(ValueError, match=r"15 x 70 pixels .* smaller than one patch of 16"):
        model(images(15, 70))


def test_boxes():
    torch.manual_seed(0)
    fields = {"feature_size": 64, "num_denoising_queries": 4, "encoder_stage_layers": (1, 1, 1, 1)}
    model = ProScaleForObjectDetection(tiny_config(**PLAIN, **fields)).train()
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.3, 0.4]])}] * 2
    outputs = model(images(), labels=labels)
    outputs.loss.backward()
    assert outputs.pred_boxes.shape == (2, 10, 4)
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_layer_wise_decay():
    """The ViT's blocks learn slower the earlier they are, the pyramid like the head; backbones of stages have none."""
    model = tiny()
    assert model.max_layer_depth == 4
    arguments = OptimizerArguments(name="adamw", learning_rate=1.0, backbone_multiplier=0.1, layer_decay=0.5)
    groups = parameter_groups(model, arguments)
    rates = {name: group["lr"] for group in groups for name in group["parameter_names"]}
    decays = {name: group["weight_decay"] for group in groups for name in group["parameter_names"]}
    assert rates["model.backbone.embeddings.cls_token"] == pytest.approx(0.1 * 0.5**4)
    for block in range(3):
        assert rates[f"model.backbone.model.layer.{block}.mlp.up_proj.weight"] == pytest.approx(
            0.1 * 0.5 ** (3 - block)
        )
    assert rates["model.pyramid.projections.0.0.weight"] == rates["class_predictor.weight"] == 1.0
    assert decays["model.backbone.embeddings.patch_embeddings.weight"] == 0 < decays["class_predictor.weight"]
    stages = ProScaleForUniversalSegmentation(tiny_config())
    assert stages.max_layer_depth is None and stages.no_weight_decay() == set()
    with pytest.raises(ValueError, match="defines no `layer_depth"):
        parameter_groups(stages, arguments)


def test_a_tiny_vit_learns_shapes():
    """A random ViT under the full encoder: the loss of held-out scenes falls."""
    torch.manual_seed(0)
    backbone = {**VIT, "patch_size": 8, "num_hidden_layers": 2}
    fields = {"encoder": "full", "encoder_layers": 1, "decoder_layers": 1, "num_labels": 10, "num_queries": 10}
    model = ProScaleForUniversalSegmentation(tiny_config(backbone_config=backbone, backbone_pyramid="simple", **fields))
    collate = UniversalCollator(num_labels=10)
    scenes, held_out = ShapesDataset("train", 128, (64, 64)), collate(list(ShapesDataset("validation", 8, (64, 64))))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)

    def loss_of_held_out():
        torch.manual_seed(1)
        with torch.no_grad():
            return float(model.eval()(**held_out).loss)

    before = loss_of_held_out()
    for start in range(0, 128, 4):
        optimizer.zero_grad()
        model.train()(**collate([scenes[index] for index in range(start, start + 4)])).loss.backward()
        optimizer.step()
    assert loss_of_held_out() < 0.87 * before


def test_plain_networks_and_pyramids_that_do_not_fit():
    pytest.importorskip("timm")
    timm = {"model_type": "timm_backbone", "out_indices": [1, 2, 3, 4]}
    cases = [
        ({**timm, "backbone": "vit_tiny_patch16_224"}, {}, r"'vit_tiny_patch16_224', a plain ViT.*backbone_pyramid="),
        ({**timm, "backbone": "resnet18"}, {"backbone_pyramid": "simple"}, "'resnet18', whose maps have strides"),
        ({**EVA02, "backbone": "convnext_atto"}, {"backbone_pyramid": "simple"}, "whose maps have strides"),
        (EVA02, {"backbone_pyramid": "simple", "timm_kwargs": {"shade": 3}}, "timm_kwargs=.*do not fit"),
        (EVA02, {"backbone_pyramid": "simple", "timm_kwargs": {"patch_size": 0}}, "timm_kwargs=.*do not fit"),
        (EVA02, {"backbone_pyramid": "simple", "timm_kwargs": {"checkpoint_path": "/x"}}, "would load weights"),
        (EVA02, {"backbone_pyramid": "simple", "mask_positions": True}, "mask_positions=True needs strides.*of 14"),
    ]
    for backbone, fields, message in cases:
        with torch.device("meta"), pytest.raises(ValueError, match=message):
            ProScaleForUniversalSegmentation(tiny_config(backbone_config=backbone, **fields))
