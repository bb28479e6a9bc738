# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer: the common contract of every class, equality with Swin V2, sizes, heads, losses."""

import math
from functools import partial

import pytest
import torch
from transformers import Swinv2Config, Swinv2Model

from contract import ModelContract, kaiming, peaked, xavier
from hfseg import (
    UniSegFormerBackbone,
    UniSegFormerForPreTraining,
    UniSegFormerForSemanticSegmentation,
    UniSegFormerForUniversalSegmentation,
    UniSegFormerImageProcessor,
    UniSegFormerModel,
)
from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.synthetic.shapes import ShapesDataset
from hfseg.evaluation.segmentation import evaluate_segmentation
from slow_tests import slow
from unisegformer_models import ENCODER, segments, strides, swinv2, tiny_config

OVERFITTING_STEPS = 240


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

    def dynamic_size_config(self):
        # One layer of the decoder: the class with queries from pixels, below, exports three.
        return tiny_config(decoder_layers=1)

    @slow  # two minutes, for six exchanges between levels; `tests/layers/test_cross_level_exchange.py` exports one
    def test_exports_with_dynamic_shapes(self):
        super().test_exports_with_dynamic_shapes()

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
        # Without the exchange, which has a test of its own.
        return tiny_config(**PIXELS, clx_enabled=False)

    @slow  # queries from pixels are exported with PRO-SCALE's, the encoder's exchange in its layer's test
    def test_exports_with_dynamic_shapes(self):
        ModelContract.test_exports_with_dynamic_shapes(self)

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


# Against transformers' Swin V2.


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


# Heads and losses.


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
