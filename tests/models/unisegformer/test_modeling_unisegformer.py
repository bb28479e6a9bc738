# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer: the common contract of every class, equality with Swin V2, sizes, heads, losses."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from transformers import AutoBackbone, Swinv2Backbone, Swinv2Config, Swinv2Model

from contract import ModelContract, assert_same, kaiming, peaked, xavier
from hfseg import (
    ProScaleConfig,
    ProScaleModel,
    UniSegFormerBackbone,
    UniSegFormerConfig,
    UniSegFormerForPreTraining,
    UniSegFormerForSemanticSegmentation,
    UniSegFormerForUniversalSegmentation,
    UniSegFormerImageProcessor,
    UniSegFormerModel,
)
from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.synthetic.shapes import ShapesDataset
from hfseg.evaluation.segmentation import evaluate_segmentation
from hfseg.models.unisegformer.configuration_unisegformer import SIZES
from hfseg.models.unisegformer.encoder_unisegformer import pretraining_windows
from hfseg.models.unisegformer.heads_unisegformer import pixel_classes

ENCODER = {
    "image_size": 64,
    "embed_dim": 16,
    "depths": [2, 1, 1, 1],
    "num_heads": [1, 2, 4, 8],
    "window_size": 4,
    "drop_path_rate": 0.0,
}
TINY = {
    "encoder_config": ENCODER,
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 8,
        "projection_size": 24,
    },
    "decoder_widths": [16, 24, 32, 48],
    "feature_size": 32,
    "mask_feature_size": 24,
    "hidden_size": 32,
    "num_queries": 10,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "pooling_heads": 4,
    "train_num_points": 64,
    "num_labels": 5,
}
OVERFITTING_STEPS = 160
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def tiny_config(**fields: Any) -> UniSegFormerConfig:
    """Builds a configuration of a few hundred thousand parameters."""
    return UniSegFormerConfig(**{**TINY, **fields})


def strides(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of maps at strides 4, 8, 16, 32: every step rounds up."""
    sizes = [(-(-height // 4), -(-width // 4))]
    for _ in range(3):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def segments(batch_size: int, height: int, width: int, empty: bool = False) -> dict[str, Any]:
    """Two segments per image and a strip of nothing."""
    masks = torch.zeros(batch_size, height, width, dtype=torch.int64)
    if not empty:
        masks[:, : height // 2, : width // 2] = 1
        masks[:, height // 2 :, width // 3 :] = 2
    classes = torch.tensor([1, 4] if not empty else [], dtype=torch.int64)
    return {"mask_labels": list(masks), "class_labels": [classes] * batch_size}


class TestUniSegFormerBackbone(ModelContract):
    model_class = UniSegFormerBackbone
    recorded = {"hidden_states": 5, "attentions": 5}
    auto_classes = ("AutoModel",)
    # Softmax cancels what a bias of the keys adds.
    zero_gradients = (".key.bias", ".k_proj.bias")
    library = ()
    not_applicable = {
        "test_auto_classes_load_the_folder": "AutoModel stands for the whole model, AutoBackbone reads Hub names only",
        "test_compiles_to_one_graph": "the test of the head runs the whole of this model",
        "test_exports_with_dynamic_shapes": "the test of the head runs the whole of this model",
    }

    def config(self):
        return tiny_config()

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        return {}

    def fresh(self):
        # 0.02 is transformers' default for linear layers and convolutions, and Swin V2's own. The bias network ends
        # in a layer without a bias.
        return {
            "*patch_embeddings.projection.bias": 0.02,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*.logit_scale": math.log(10),
            "*.gamma": 0.0,
            "*.weight": 0.02,
            "*.bias": 0.0,
        }


class TestUniSegFormerModel(TestUniSegFormerBackbone):
    model_class = UniSegFormerModel
    not_applicable = {
        name: reason
        for name, reason in TestUniSegFormerBackbone.not_applicable.items()
        if name != "test_auto_classes_load_the_folder"
    }

    def shapes(self, batch_size, height, width):
        return {"last_hidden_state": (batch_size, 16, *strides(height, width)[0])}


class TestUniSegFormerForSemanticSegmentation(TestUniSegFormerModel):
    model_class = UniSegFormerForSemanticSegmentation
    auto_classes = ("AutoModelForSemanticSegmentation", "AutoModelForImageSegmentation")
    not_applicable = dict.fromkeys(
        ("test_exports_with_dynamic_shapes", "test_compiles_to_one_graph"),
        "the test of the universal head runs the same encoder and decoder",
    )

    def labels(self, batch_size, height, width, empty=False):
        labels = torch.full((batch_size, height, width), 255)
        if not empty:
            labels[:, : height // 2], labels[:, height // 2 :, : width // 2] = 1, 3
        return {"labels": labels}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 5, *strides(height, width)[0])}


class TestUniSegFormerForUniversalSegmentation(TestUniSegFormerModel):
    model_class = UniSegFormerForUniversalSegmentation
    auto_classes = ("AutoModelForUniversalSegmentation", "AutoModelForImageSegmentation")
    recorded = {
        "hidden_states": 4,
        "attentions": 3,
        "cross_attentions": 3,
        "encoder_hidden_states": 5,
        "encoder_attentions": 5,
    }
    not_applicable = {}

    def labels(self, batch_size, height, width, empty=False):
        return segments(batch_size, height, width, empty)

    def shapes(self, batch_size, height, width):
        return {
            "class_queries_logits": (batch_size, 10, 6),
            "masks_queries_logits": (batch_size, 10, *strides(height, width)[0]),
        }

    def fresh(self):
        # Mask2Former's rules, see the tests of PRO-SCALE.
        torch_default = partial(kaiming, gain=3**-0.5)
        return {
            "mask_head.class_predictor.weight": torch_default,
            "mask_head.class_predictor.bias": 3**-0.5 * 32**-0.5,
            "mask_head*query_*.weight": 1.0,
            "mask_head*level_embed*": 1.0,
            "mask_head*mask_embedder.*.weight": torch_default,
            "mask_head*mask_embedder.*.bias": 3**-0.5 * 32**-0.5,
            "mask_head.input_projections.*.0.weight": kaiming,
            "mask_head.input_projections.*.1.weight": 1.0,
            "mask_head.input_projections.*.bias": 0.0,
            "mask_head.pixel_projection.weight": kaiming,
            "mask_head.pixel_projection.bias": 0.0,
            "mask_head*.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),
            "mask_head*_proj.weight": xavier,
            "mask_head*_proj.bias": 0.0,
            "mask_head*.fc?.weight": xavier,
            "mask_head*.fc1.bias": 3**-0.5 * 32**-0.5,
            "mask_head*.fc2.bias": 3**-0.5 * 48**-0.5,
        } | super().fresh()


# Options of the mask decoder that help with small objects; their parts are tested with PRO-SCALE and the layers.
PIXELS = {
    "mask_positions": True,
    "query_selection": "pixels",
    "num_learned_queries": 3,
    "max_queries": 14,
    "heat_threshold": 0.0,
}


class TestUniSegFormerWithQueriesFromPixels(TestUniSegFormerForUniversalSegmentation):
    def config(self):
        return tiny_config(**PIXELS)

    def dynamic_size_config(self):
        # Without the exchange, which the tests of the other classes export: three layers of the decoder take long.
        return tiny_config(**PIXELS, clx_enabled=False)

    def shapes(self, batch_size, height, width):
        return {
            "class_queries_logits": (batch_size, 14, 6),
            "masks_queries_logits": (batch_size, 14, *strides(height, width)[0]),
            "heat_logits": (batch_size, *strides(height, width)[1]),
        }

    def fresh(self):
        return {
            "*mask_positions.shape.weight": 0.02,
            "*mask_positions.shape.bias": 0.0,
            "*mask_positions.anchors.weight": 1.0,
            "*query_selection.convolution.weight": kaiming,
            "*query_selection.convolution.bias": 0.0,
            "*query_selection.heat.weight": 0.01,
            "*query_selection.heat.bias": 3.0,
            "*query_selection.content.weight": partial(kaiming, gain=3**-0.5),
            "*query_selection.content.bias": 3**-0.5 * 32**-0.5,
            **super().fresh(),
        }


class TestUniSegFormerForPreTraining(TestUniSegFormerForUniversalSegmentation):
    model_class = UniSegFormerForPreTraining
    auto_classes = ("AutoModelForPreTraining",)
    recorded = {"hidden_states": 5, "attentions": 5}
    library = ("text_model.*",)
    # Where a file begins in memory decides how a product of this width is summed.
    reload_tolerance = 1e-6
    not_applicable = {
        "test_exports_with_dynamic_shapes": "a loss is always computed: not a program to export",
        "test_compiles_to_one_graph": "a minute for parts that the tests of the other classes compile",
        "test_base_model_loads_from_the_folder_of_a_head": "see test_pretraining_hands_its_weights_on",
    }

    def inputs(self, batch_size, height, width):
        inputs = super().inputs(batch_size, height, width)
        hidden = torch.rand(batch_size, 6 if height < 65 else 12, generator=torch.Generator().manual_seed(5)) < 0.5
        hidden = hidden[:, : -(-height // 32) * -(-width // 32)]
        hidden[:, 0] = True
        return inputs | {"masked_units": hidden, "input_ids": torch.arange(batch_size * 8).view(-1, 8) % 61}

    def labels(self, batch_size, height, width, empty=False):
        images = torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(7))
        return {"segmentation_pixel_values": images, **segments(batch_size, height, width, empty)}

    def shapes(self, batch_size, height, width):
        whole = (-(-height // 32) * 32, -(-width // 32) * 32)
        return {
            "reconstruction": (batch_size, 3, *whole),
            "image_embeds": (batch_size, 24),
            "text_embeds": (batch_size, 24),
        }

    def fresh(self):
        return {
            "*mask_token": 0.02,
            "contrastive_scale": math.log(10),
            "contrastive_bias": 10.0,
            "pooling.query": 0.02,
            "pooling.attention.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),
            "pooling.attention.out_proj.weight": xavier,
        } | super().fresh()


# Against transformers' Swin V2.


def swinv2(cls: Any = Swinv2Backbone, **fields: Any) -> Any:
    """Builds a Swin V2 of the same sizes, with weights that make attention peaked."""
    torch.manual_seed(0)
    return peaked(cls(Swinv2Config(**{**ENCODER, "depths": [2, 2, 2, 2], **fields})).eval())


def with_swinv2(source: Any, attention: str = "sdpa", **fields: Any) -> UniSegFormerBackbone:
    """Builds our encoder with the weights of a Swin V2."""
    config = tiny_config(encoder_config={**ENCODER, "depths": [2, 2, 2, 2]}, **fields)
    config._attn_implementation = attention
    backbone = UniSegFormerBackbone(config).eval()
    fresh = backbone.load_swinv2(source)
    assert fresh and all(name.startswith(("clx_", "norms")) for name in fresh)
    return backbone


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (90, 141)], ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fresh_exchange_leaves_swinv2_as_it_is(attention, size):
    source = swinv2(out_features=STAGES)
    backbone, pixels = with_swinv2(source, attention), torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = source(pixels).feature_maps
        gathered = backbone.encode(pixels)[1]
    copied = backbone.encode(pixels)[1]  # with gradients, windows are cut in another way
    for ours, trained, theirs in zip(gathered, copied, expected):
        assert_same(ours.permute(0, 3, 1, 2), theirs, atol=1e-5)
        assert_same(trained.permute(0, 3, 1, 2), theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (16, 16)], ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_images_smaller_than_a_window(attention, size):
    """Windows reach beyond the image: what they hold there is Swin V2's padding, and the exchange sees none of it."""
    source = swinv2(out_features=STAGES)
    pixels = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = source(pixels).feature_maps
        backbone = with_swinv2(source, attention)
        for ours, theirs in zip(backbone.encode(pixels)[1], expected):
            assert_same(ours.permute(0, 3, 1, 2), theirs, atol=1e-5)
        for block in (*backbone.clx_up, *backbone.clx_down):
            block.gamma.fill_(0.5)
        maps = backbone(pixels).feature_maps
    assert [tuple(level.shape[-2:]) for level in maps] == strides(*size)
    assert all(torch.isfinite(level).all() for level in maps)


def test_fresh_exchange_is_the_identity_bit_by_bit():
    source, pixels = swinv2(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        with_clx = with_swinv2(source).encode(pixels)[1]
        without = with_swinv2(source, clx_enabled=False).encode(pixels)[1]
    assert_same(with_clx, without)


def test_every_gain_learns_and_acts():
    backbone = with_swinv2(swinv2())
    before = [level.detach() for level in backbone.encode(torch.ones(1, 3, 64, 64).cumsum(-1) / 64)[1]]
    sum(level.square().mean() for level in backbone.encode(torch.randn(1, 3, 64, 64))[1]).backward()
    gains = [block.gamma for block in (*backbone.clx_up, *backbone.clx_down)]
    assert len(gains) == 6 and all(gain.grad.abs().max() > 0 for gain in gains)
    with torch.no_grad():
        for gain in gains:
            gain.fill_(0.5)
        after = backbone.encode(torch.ones(1, 3, 64, 64).cumsum(-1) / 64)[1]
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(after, before))


def test_classifier_checkpoints_load_from_a_folder(tmp_path):
    source = swinv2(Swinv2Model)
    source.save_pretrained(tmp_path)
    config = tiny_config(encoder_config={**ENCODER, "depths": [2, 2, 2, 2]})
    model = UniSegFormerForUniversalSegmentation(config)
    fresh = model.model.load_backbone(str(tmp_path))
    assert all(name.startswith(("clx_", "norms")) for name in fresh)
    assert torch.equal(
        model.model.encoder.encoder.layers[2].blocks[1].intermediate.dense.weight,
        source.encoder.layers[2].blocks[1].intermediate.dense.weight,
    )
    with pytest.raises(ValueError, match="give one with embed_dim 16"):
        model.model.load_backbone(Swinv2Model(Swinv2Config(**{**ENCODER, "embed_dim": 8})))


def test_weights_of_one_size_work_at_another():
    """A checkpoint of 64 pixels in a model for 128: windows were clipped in the last stage, biases keep their scale."""
    small = Swinv2Config(**{**ENCODER, "depths": [2, 2, 2, 2]})
    assert pretraining_windows(small) == [4, 4, 4, 2]
    large = tiny_config(
        encoder_config={
            **ENCODER,
            "depths": [2, 2, 2, 2],
            "image_size": 128,
            "pretrained_window_sizes": pretraining_windows(small),
        }
    )
    backbone = UniSegFormerBackbone(large).eval()
    backbone.load_swinv2(swinv2())
    windows = [stage.blocks[1].window_size for stage in backbone.encoder.layers]
    assert windows == [4, 4, 4, 4] and [stage.blocks[1].shift_size for stage in backbone.encoder.layers] == [2, 2, 2, 0]
    with torch.no_grad():
        assert torch.isfinite(backbone(torch.randn(1, 3, 128, 128)).feature_maps[3]).all()


@pytest.mark.parametrize(
    ("size", "total", "swin", "exchange"),
    [
        ("tiny", 48.0, 27.6, 2.4),
        ("base", 113.0, 86.9, 4.2),
        ("large", 232.2, 195.2, 9.4),
        ("xlarge", 404.4, 346.8, 16.6),
    ],
)
def test_sizes(size, total, swin, exchange):
    """The specification's counts in millions, for 133 classes."""
    with torch.device("meta"):
        model = UniSegFormerForUniversalSegmentation(UniSegFormerConfig.of_size(size, num_labels=133))

    def count(*modules):
        return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6

    encoder = model.model.encoder
    clx = count(encoder.clx_up, encoder.clx_down)
    assert count(model) == pytest.approx(total, abs=0.051)
    assert clx == pytest.approx(exchange, abs=0.051)
    assert count(encoder) - clx == pytest.approx(swin, abs=0.051)
    assert UniSegFormerConfig.of_size(size).encoder_config.image_size == 1024


def test_is_a_backbone_for_other_heads():
    backbone = AutoBackbone.from_config(tiny_config(out_features=["stage2", "stage4"]))
    assert type(backbone) is UniSegFormerBackbone and backbone.channels == [32, 128]
    maps = backbone(torch.randn(1, 3, 64, 96)).feature_maps
    assert [tuple(one.shape[1:]) for one in maps] == [(32, 8, 12), (128, 2, 3)]
    config = ProScaleConfig(
        backbone_config=tiny_config(),
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=4,
        decoder_layers=1,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
    )
    with torch.no_grad():
        outputs = ProScaleModel(config).eval()(torch.randn(1, 3, 64, 64))
    assert outputs.masks_queries_logits.shape == (1, 5, 16, 16)


def test_backbone_loads_from_the_folder_of_a_model(tmp_path):
    model = UniSegFormerForUniversalSegmentation(tiny_config())
    model.save_pretrained(tmp_path)
    backbone, report = UniSegFormerBackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert_same(dict(backbone.named_parameters()), dict(model.model.encoder.named_parameters()))


def test_pretraining_hands_its_weights_on(tmp_path):
    pretrained = peaked(UniSegFormerForPreTraining(tiny_config()))
    pretrained.save_pretrained(tmp_path)
    for cls in (UniSegFormerForUniversalSegmentation, UniSegFormerForSemanticSegmentation, UniSegFormerModel):
        model, report = cls.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"] and not report["mismatched_keys"], cls
        ours, theirs = dict(model.named_parameters()), dict(pretrained.named_parameters())
        prefix = "model." if cls is UniSegFormerModel else ""
        assert all(torch.equal(value, theirs[prefix + name]) for name, value in ours.items())


# Heads and losses.


def test_dense_logits_refine_the_coarser_ones():
    model = UniSegFormerForSemanticSegmentation(tiny_config()).eval()
    with torch.no_grad():
        maps = model.model(torch.randn(1, 3, 64, 96)).decoder_maps
        for classifier in model.dense_head.classifiers[:3]:  # only the coarsest speaks
            classifier.weight.zero_(), classifier.bias.zero_()
        logits = model.dense_head(maps)
        coarse = model.dense_head.classifiers[3](maps[3])
        for fine, finer in ((logits[2], logits[1]), (logits[1], logits[0])):
            enlarged = torch.nn.functional.interpolate(fine, size=finer.shape[-2:], mode="bilinear")
            torch.testing.assert_close(finer, enlarged)
    torch.testing.assert_close(logits[3], coarse)


def test_pixel_classes():
    id_map = torch.tensor([[0, 1], [2, 2]])
    masks = torch.tensor([[[1, 1], [0, 0]], [[0, 1], [0, 0]]], dtype=torch.bool)
    classes = torch.tensor([7, 3])
    found = pixel_classes([id_map, masks], [classes, classes], (2, 3), 255)
    assert found.tolist() == [[[255, 7, 255], [3, 3, 255]], [[7, 3, 255], [255, 255, 255]]]


def test_void_pixels_teach_nothing():
    torch.manual_seed(0)
    config = tiny_config(use_auxiliary_loss=False, train_num_points=2048)
    model = peaked(UniSegFormerForUniversalSegmentation(config)).eval()
    pixels, targets = torch.randn(1, 3, 64, 64), segments(1, 64, 64)
    void = targets["mask_labels"][0] == 0

    def losses(mask_labels, **more):
        torch.manual_seed(3)
        return model(pixels, mask_labels=[mask_labels], class_labels=targets["class_labels"], **more).loss_dict

    plain = losses(targets["mask_labels"][0])
    ignored = losses(targets["mask_labels"][0], void_masks=[void])
    # Another ground truth where nothing is known changes nothing; without void masks it does.
    other = torch.where(void, 2, targets["mask_labels"][0])
    for name in ("loss_mask", "loss_dice", "loss_ce"):
        torch.testing.assert_close(losses(other, void_masks=[void])[name], ignored[name])
    assert (losses(other)["loss_mask"] - plain["loss_mask"]).abs() > 1e-3
    # All void: mask terms vanish, and stay finite.
    everything = losses(targets["mask_labels"][0], void_masks=[torch.ones_like(void)])
    assert everything["loss_mask"] == 0 and torch.isfinite(everything["loss_dice"])
    with pytest.raises(ValueError, match="boolean of the size"):
        losses(targets["mask_labels"][0], void_masks=[void[:5]])


def test_classes_nobody_looked_for_are_no_mistake():
    """Raising the logit of a class that was not checked changes no loss; of a checked one, it does."""
    torch.manual_seed(0)
    model = UniSegFormerForUniversalSegmentation(tiny_config(use_auxiliary_loss=False)).eval()
    inputs = {"pixel_values": torch.randn(1, 3, 64, 64), **segments(1, 64, 64)}
    known = torch.tensor([[False, True, True, False, True]])

    def loss():
        torch.manual_seed(3)
        return model(**inputs, known_classes=known).loss_dict

    before = loss()
    with torch.no_grad():
        for bias in (model.mask_head.class_predictor.bias, *(one.bias for one in model.dense_head.classifiers)):
            bias[3] += 5
    after = loss()
    torch.testing.assert_close(list(after.values()), list(before.values()))
    with torch.no_grad():
        model.mask_head.class_predictor.bias[2] += 5
    assert loss()["loss_ce"] > before["loss_ce"] + 0.1


@pytest.mark.parametrize("cls", [UniSegFormerForUniversalSegmentation, UniSegFormerForSemanticSegmentation])
def test_accumulated_losses_add_up(cls):
    """Parts with their common normalizer give the loss of the whole, where no points are drawn at random."""
    model = peaked(cls(tiny_config())).eval()
    pixels = torch.randn(4, 3, 64, 64)
    labels = torch.randint(0, 5, (4, 64, 64))
    labels[0, :50], labels[2, :, :20] = 255, 255
    if cls is UniSegFormerForSemanticSegmentation:
        batch = {"pixel_values": pixels, "labels": labels}
        wanted = None
    else:
        batch = {
            "pixel_values": pixels,
            "mask_labels": list((labels != 255).int()),
            "class_labels": [torch.ones(1).long()] * 4,
        }
        wanted = [name for name in ("loss_dense", "loss_dense_8", "loss_dense_16", "loss_dense_32")]
    whole = model(**batch).loss_dict
    parts = [{name: value[part] for name, value in batch.items()} for part in (slice(0, 1), slice(1, 4))]
    total = sum(model.loss_normalizer(part) for part in parts)
    torch.testing.assert_close(total, model.loss_normalizer(batch))
    summed = [model(**part, loss_normalizer=total).loss_dict for part in parts]
    for name in wanted or whole:
        torch.testing.assert_close(summed[0][name] + summed[1][name], whole[name], rtol=1e-4, atol=1e-5)


# Pre-training.


def pairs(batch_size: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draws images, texts and hidden units."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.zeros(batch_size, 6, dtype=torch.bool)
    hidden[:, :4] = True
    return {
        "pixel_values": torch.randn(batch_size, 3, 64, 96, generator=generator),
        "input_ids": torch.randint(0, 64, (batch_size, 8), generator=generator),
        "masked_units": hidden,
    }


def test_hidden_units_are_not_seen():
    model = peaked(UniSegFormerForPreTraining(tiny_config())).eval()
    batch = pairs(2)
    changed = batch["pixel_values"].clone()
    changed[:, :, :32] += 1  # units 0..2, all hidden
    with torch.no_grad():
        first = model.image_features(batch["pixel_values"], batch["masked_units"])
        second = model.image_features(changed, batch["masked_units"])
        third = model.image_features(changed)
    assert_same(first[:2], second[:2], atol=1e-5)
    assert (third[0] - first[0]).abs().max() > 1e-2


def test_two_images_by_heart():
    """One network learns two images until all three tasks are solved: panoptic quality and mean IoU above 90 %."""
    scenes = ShapesDataset("train", num_scenes=2, image_size=(64, 64))
    collate = UniversalCollator(num_labels=len(scenes.id2label))
    batch = collate([scenes[0], scenes[1]])
    torch.manual_seed(0)
    config = tiny_config(
        num_labels=len(scenes.id2label), stuff_class_ids=list(scenes.stuff_class_ids), hidden_size=64, num_queries=16
    )
    model = UniSegFormerForUniversalSegmentation(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=OVERFITTING_STEPS, pct_start=0.1)
    for _ in range(OVERFITTING_STEPS):
        model(**{name: value for name, value in batch.items() if name != "image_id"}).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    processor = UniSegFormerImageProcessor(
        size={"height": 64, "width": 64}, label_ids_to_fuse=list(scenes.stuff_class_ids)
    )
    found = evaluate_segmentation(model.eval(), processor, scenes, tasks=("panoptic", "instance", "semantic"))
    assert found["pq"] > 90 and found["mean_iou"] > 90, found
    assert found["ap50"] > 90, found


def test_fresh_networks_have_moderate_gradients():
    """Hidden units and patches of constant color must not ask cosine attention for the direction of nothing."""
    torch.manual_seed(0)
    model = UniSegFormerForPreTraining(tiny_config()).train()
    batch = pairs(2)
    batch["pixel_values"][1, :, :, 40:] = 0
    model(**batch).loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    assert max(norms.values()) < 1e6, max(norms, key=norms.get)


def test_hidden_area_is_the_ratio():
    model = UniSegFormerForPreTraining(tiny_config())
    hidden = model.draw_mask(torch.zeros(3, 3, 320, 320))
    assert hidden.shape == (3, 100) and hidden.sum(1).tolist() == [60] * 3
    assert not torch.equal(hidden[0], hidden[1])


def test_a_share_of_a_training_batch_is_masked():
    """The others are seen whole: their embeddings are those of whole images, and nothing of them is reconstructed."""
    model = peaked(UniSegFormerForPreTraining(tiny_config(mim_image_share=0.5))).train()
    hidden = model.draw_batch_mask(torch.zeros(5, 3, 320, 320))
    assert hidden.sum(1).tolist() == [60, 60, 0, 0, 0]
    assert model.draw_batch_mask(torch.zeros(1, 3, 320, 320)).sum() == 60, "at least one"
    batch = pairs(4)
    outputs = model(batch["pixel_values"], batch["input_ids"])
    assert outputs.masked_units.any(1).tolist() == [True, True, False, False]
    whole = model.image_features(batch["pixel_values"])[1]
    assert_same(outputs.image_embeds[2:], whole[2:], atol=1e-5)
    assert (outputs.image_embeds[:2] - whole[:2]).abs().max() > 1e-3
    masked = model(batch["pixel_values"][:2], masked_units=outputs.masked_units[:2].bool())
    assert outputs.loss_dict["loss_mim"].item() == pytest.approx(masked.loss_dict["loss_mim"].item(), rel=1e-5)
    assert model.eval()(batch["pixel_values"]).masked_units.any(1).all(), "measured on every image"


def test_offset_of_the_contrast_fits_the_batch():
    """Where embeddings know nothing, b = -log(B - 1) makes pairs and others pull equally."""
    pull = {}
    for bias in (-10.0, -math.log(7)):
        model = UniSegFormerForPreTraining(tiny_config(contrastive_bias_init=bias, contrastive_scale_init=5))
        assert model.contrastive_bias.item() == pytest.approx(bias)
        assert model.contrastive_scale.exp().item() == pytest.approx(5)
        logits = torch.full((8, 8), bias, requires_grad=True)
        signs = 2 * torch.eye(8) - 1
        torch.nn.functional.logsigmoid(signs * logits).sum().neg().backward()
        pull[bias] = (logits.grad.sum() / logits.grad.abs().sum()).item()
    assert pull[-10.0] < -0.99, "everything is drawn together"
    assert abs(pull[-math.log(7)]) < 1e-5


def test_hidden_states_of_chosen_levels():
    model = UniSegFormerForPreTraining(tiny_config()).eval()
    inputs = {"pixel_values": torch.randn(1, 3, 64, 64), "masked_units": torch.tensor([[True, False, False, True]])}
    with torch.no_grad():
        every = model(**inputs, output_hidden_states=True).hidden_states
        chosen = model(**inputs, output_hidden_states=[0, -2, 9]).hidden_states
        assert model(**inputs).hidden_states is None
    assert [state is not None for state in chosen] == [True, False, False, True, False]
    assert_same(chosen[0], every[0]), assert_same(chosen[3], every[3])


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("across", [False, True])
def test_accumulation_and_the_contrast(across):
    """Four micro-batches equal one batch for reconstruction; for contrast only if they know each other."""
    torch.manual_seed(0)
    config = tiny_config(contrast_accumulated=across)
    model = peaked(UniSegFormerForPreTraining(config)).train()
    with torch.no_grad():
        model.contrastive_scale.fill_(math.log(10)), model.contrastive_bias.fill_(-3.0)
    batch = pairs(8)
    whole = model(**batch)
    whole.loss.backward()
    expected = gradients(model)
    model.zero_grad()
    parts = [{name: value[i : i + 2] for name, value in batch.items()} for i in range(0, 8, 2)]
    extras = model.accumulation_inputs(parts, model, torch.device("cpu"))
    summed = {"loss_mim": 0.0, "loss_contrastive": 0.0}
    for part, extra in zip(parts, extras):
        outputs = model(**{**part, **extra})
        (outputs.loss / 4).backward()
        for name in summed:
            summed[name] += outputs.loss_dict[name].item() / 4
    assert summed["loss_mim"] == pytest.approx(whole.loss_dict["loss_mim"].item(), rel=1e-5)
    contrast = whole.loss_dict["loss_contrastive"].item()
    if not across:
        assert abs(summed["loss_contrastive"] - contrast) > 0.05 * contrast
        return
    assert summed["loss_contrastive"] == pytest.approx(contrast, rel=1e-5)
    actual = gradients(model)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert_same(actual[name], expected[name], atol=1e-4)


def test_batches_of_any_composition_have_all_gradients():
    model = UniSegFormerForPreTraining(tiny_config()).train()
    batch = pairs(2)
    del batch["input_ids"]
    model(**batch).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.isfinite(torch.stack([p.grad.abs().sum() for p in model.parameters()])).all()


def test_pretraining_bad_input():
    model = UniSegFormerForPreTraining(tiny_config())
    batch = pairs(2)
    with pytest.raises(ValueError, match="1 texts for 2 images"):
        model(batch["pixel_values"], input_ids=batch["input_ids"][:1])
    with pytest.raises(ValueError, match="belong together"):
        model(batch["pixel_values"], segmentation_pixel_values=batch["pixel_values"])
    with pytest.raises(Exception, match="drop_path_rate"):
        tiny_config(contrast_accumulated=True, encoder_config={**ENCODER, "drop_path_rate": 0.1})
    with pytest.raises(ValueError, match="tiny, base, large, xlarge"):
        UniSegFormerConfig.of_size("huge")
    assert list(SIZES) == ["tiny", "base", "large", "xlarge"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decoder_widths": [16, 16, 16]}, "four positive numbers"),
        ({"feature_size": 40}, "multiple of 32"),
        ({"hidden_size": 30}, "num_attention_heads=4"),
        ({"mim_mask_ratio": 1.5}, "between 0 and 1"),
        ({"mim_image_share": 0}, "set mim_weight to 0"),
        ({"contrastive_scale_init": -1}, "above 0"),
        ({"encoder_config": {**ENCODER, "depths": [1, 1, 1]}}, "needs four stages"),
        ({"clx_halo": -1}, "clx_halo=-1"),
        ({"stuff_class_ids": [9]}, "outside the 5 classes"),
    ],
)
def test_configuration_says_what_is_wrong(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)
