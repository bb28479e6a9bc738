# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer: the common contract of every class, equality with Swin V2, sizes, heads, losses."""

import math
from functools import partial
from typing import Any

import torch

from contract import ModelContract, kaiming, xavier
from hfseg import (
    UniSegFormerBackbone,
    UniSegFormerConfig,
    UniSegFormerForPreTraining,
    UniSegFormerForSemanticSegmentation,
    UniSegFormerForUniversalSegmentation,
    UniSegFormerModel,
)

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
    not_applicable = {"test_exports_with_dynamic_shapes": "the test of the universal head runs the same encoder"}

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


class TestUniSegFormerForPreTraining(TestUniSegFormerForUniversalSegmentation):
    model_class = UniSegFormerForPreTraining
    auto_classes = ("AutoModelForPreTraining",)
    recorded = {}
    library = ("text_model.*",)
    not_applicable = {
        "test_hidden_states_and_attentions_on_request": "three encoders run in one forward; ask the model itself",
        "test_exports_with_dynamic_shapes": "a loss is always computed: not a program to export",
        "test_base_model_loads_from_the_folder_of_a_head": "see test_pretraining_hands_its_weights_on",
    }

    def inputs(self, batch_size, height, width):
        inputs = super().inputs(batch_size, height, width)
        hidden = torch.rand(batch_size, 6 if height < 65 else 12, generator=torch.Generator().manual_seed(5)) < 0.5
        hidden = hidden[:, : -(-height // 32) * -(-width // 32)]
        hidden[:, 0] = True
        return inputs | {"bool_masked_pos": hidden, "input_ids": torch.arange(batch_size * 8).view(-1, 8) % 61}

    def labels(self, batch_size, height, width, empty=False):
        pictures = torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(7))
        return {"segmentation_pixel_values": pictures, **segments(batch_size, height, width, empty)}

    def shapes(self, batch_size, height, width):
        whole = (-(-height // 32) * 32, -(-width // 32) * 32)
        return {
            "reconstruction": (batch_size, 3, *whole),
            "image_embeds": (batch_size, 24),
            "text_embeds": (batch_size, 24),
        }

    def fresh(self):
        return {
            "*mask_token": 0.0,
            "contrastive_scale": math.log(10),
            "contrastive_bias": 10.0,
            "pooling.query": 0.02,
            "pooling.attention.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),
            "pooling.attention.out_proj.weight": xavier,
        } | super().fresh()
