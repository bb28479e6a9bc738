# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entries for the common tests of transformers and diffusers (`own_checks` and `peer_table` come with that harness)."""

from own_checks import segmentation_pipeline
from peer_table import ImageProcessor, Model

PROSCALE = "hfseg.models.proscale"


def pictures(config, batch):
    """Draws normalised pictures."""
    import torch

    return {"pixel_values": torch.randn(batch, 3, 64, 64)}


def universal_labels(config, inputs, class_name):
    """Two segments with a flat pattern in every image, for heads that predict sets of masks."""
    import torch

    if "ForUniversalSegmentation" not in class_name:
        return {}
    batch, _, height, width = inputs["pixel_values"].shape
    segments = torch.ones(height, width, dtype=torch.int64)
    segments[:, width // 2 :] = 2
    return {"mask_labels": [segments] * batch, "class_labels": [torch.tensor([0, 2])] * batch}


def proscale_config():
    """Arguments of a PRO-SCALE below a million parameters."""
    return {
        "backbone_config": {
            "model_type": "swin",
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "window_size": 4,
            "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "encoder_stage_layers": (1, 1, 1),
        "feature_size": 32,
        "mask_feature_size": 32,
        "encoder_feedforward_dim": 32,
        "hidden_size": 32,
        "num_queries": 10,
        "decoder_layers": 2,
        "num_attention_heads": 4,
        "dim_feedforward": 32,
        "train_num_points": 64,
        "num_labels": 3,
    }


def unisegformer_config():
    """Arguments of a UniSegFormer below a million parameters."""
    return {
        "encoder_config": {
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "window_size": 4,
            "drop_path_rate": 0.0,
        },
        "text_config": {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 8,
            "projection_size": 32,
        },
        "decoder_widths": [16, 16, 32, 32],
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_size": 32,
        "num_queries": 10,
        "decoder_layers": 2,
        "num_attention_heads": 4,
        "dim_feedforward": 32,
        "pooling_heads": 4,
        "train_num_points": 64,
        "num_labels": 3,
    }


def unisegformer_labels(config, inputs, class_name):
    """Flat patterns: classes per pixel, or segments, which pre-training takes with images of their own."""
    import torch

    pixels = inputs["pixel_values"]
    if "ForSemanticSegmentation" in class_name:
        labels = torch.zeros(len(pixels), *pixels.shape[-2:], dtype=torch.int64)
        labels[:, :, pixels.shape[-1] // 2 :] = 2
        return {"labels": labels}
    if "ForPreTraining" in class_name:
        return {
            "segmentation_pixel_values": pixels,
            "input_ids": torch.arange(8).repeat(len(pixels), 1) + torch.arange(len(pixels))[:, None],
        } | universal_labels(config, inputs, "ForUniversalSegmentation")
    return universal_labels(config, inputs, class_name)


def universal_outputs(tester):
    """Random query logits at stride 4 of a padded input, for the semantic post-processing test."""
    from types import SimpleNamespace

    import torch

    outputs = SimpleNamespace(
        class_queries_logits=torch.randn(tester.batch_size, 5, 4),
        masks_queries_logits=torch.randn(tester.batch_size, 5, 8, 8),
    )
    return {"outputs": outputs}, {"num_labels": 3, "height": 32, "width": 32}


def padded_batch_shape(tester, images, divisor=32):
    """Shape (C, H, W) of a batch: aspect-keeping resize rounded half up, then padding to a multiple of the divisor."""
    import numpy as np

    shortest, longest = tester.size["shortest_edge"], tester.size["longest_edge"]
    heights, widths, channels = [], [], 3
    for image in images:
        if hasattr(image, "size") and not hasattr(image, "shape"):
            width, height = image.size
        else:
            shape = tuple(image.shape)
            first = shape[0] in (1, 3, 4)
            channels, (height, width) = (shape[0], shape[1:]) if first else (shape[2], shape[:2])
        scale = min(shortest / min(height, width), longest / max(height, width))
        heights.append(int(np.floor(height * scale + 0.5)))
        widths.append(int(np.floor(width * scale + 0.5)))
    return channels, int(np.ceil(max(heights) / divisor) * divisor), int(np.ceil(max(widths) / divisor) * divisor)


def patch_padded_batch_shape(tester, images):
    """As `padded_batch_shape`, to whole patches of 16."""
    return padded_batch_shape(tester, images, 16)


def vpnext_config():
    """Arguments of a VPNeXt far below a million parameters; its training heads stay in saved folders."""
    return {
        "backbone_config": {
            "model_type": "dinov3_vit",
            "patch_size": 16,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_register_tokens": 2,
            "pos_embed_rescale": None,
            "apply_layernorm": False,
        },
        "vcr_layers": (1,),
        "save_vcr": True,
        "hiclr_iterations": 2,
        "hiclr_channels": 16,
        "vcr_affinity_dim": 16,
        "num_labels": 3,
    }


def semantic_outputs(tester):
    """Random logits at stride 4 of a padded input, for the semantic post-processing test."""
    from types import SimpleNamespace

    import torch

    return {"outputs": SimpleNamespace(logits=torch.randn(tester.batch_size, 3, 8, 8))}, {
        "num_labels": 3,
        "height": 8,
        "width": 8,
    }


def semantic_labels(config, inputs, class_name):
    """A flat pattern in every image, for heads that classify pixels."""
    import torch

    if "ForSemanticSegmentation" not in class_name:
        return {}
    batch, _, height, width = inputs["pixel_values"].shape
    labels = torch.zeros(batch, height, width, dtype=torch.int64)
    labels[:, :, width // 2 :] = 2
    return {"labels": labels}


PROSCALE_MODEL = f"{PROSCALE}.modeling_proscale:ProScaleModel"
PROSCALE_HEAD = f"{PROSCALE}.modeling_proscale:ProScaleForUniversalSegmentation"
VPNEXT = "hfseg.models.vpnext"
VPNEXT_MODEL = f"{VPNEXT}.modeling_vpnext:VPNeXtModel"
VPNEXT_HEAD = f"{VPNEXT}.modeling_vpnext:VPNeXtForSemanticSegmentation"

UNISEGFORMER = "hfseg.models.unisegformer"
UNISEGFORMER_MODELING = f"{UNISEGFORMER}.modeling_unisegformer"

ENTRIES = [
    Model(
        name="unisegformer",
        imports=["hfseg"],
        config=f"{UNISEGFORMER}.configuration_unisegformer:UniSegFormerConfig",
        config_kwargs=unisegformer_config,
        models={
            f"{UNISEGFORMER_MODELING}:UniSegFormerModel": "base",
            f"{UNISEGFORMER_MODELING}:UniSegFormerBackbone": "backbone",
            f"{UNISEGFORMER_MODELING}:UniSegFormerForUniversalSegmentation": "head",
            f"{UNISEGFORMER_MODELING}:UniSegFormerForSemanticSegmentation": "semantic-segmentation",
            f"{UNISEGFORMER_MODELING}:UniSegFormerForPreTraining": "head",
        },
        inputs=pictures,
        labels=unisegformer_labels,
        seed_forward=True,
        auto={
            "AutoModel": f"{UNISEGFORMER_MODELING}:UniSegFormerModel",
            "AutoModelForPreTraining": f"{UNISEGFORMER_MODELING}:UniSegFormerForPreTraining",
            "AutoModelForUniversalSegmentation": f"{UNISEGFORMER_MODELING}:UniSegFormerForUniversalSegmentation",
            "AutoModelForSemanticSegmentation": f"{UNISEGFORMER_MODELING}:UniSegFormerForSemanticSegmentation",
            "AutoModelForImageSegmentation": f"{UNISEGFORMER_MODELING}:UniSegFormerForUniversalSegmentation",
        },
        pipeline=segmentation_pipeline(
            f"{UNISEGFORMER_MODELING}:UniSegFormerForUniversalSegmentation",
            f"{UNISEGFORMER}.image_processing_unisegformer:UniSegFormerImageProcessor",
            size={"shortest_edge": 32, "longest_edge": 64},
        ),
    ),
    ImageProcessor(
        name="unisegformer-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{UNISEGFORMER}.image_processing_unisegformer:UniSegFormerImageProcessor",
            "pil": f"{UNISEGFORMER}.image_processing_pil_unisegformer:UniSegFormerImageProcessorPil",
        },
        kwargs={"size": {"shortest_edge": 20, "longest_edge": 40}},
        expected_shape=padded_batch_shape,
        semantic_inputs=universal_outputs,
    ),
    Model(
        name="proscale",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_proscale:ProScaleConfig",
        config_kwargs=proscale_config,
        models={PROSCALE_MODEL: "base", PROSCALE_HEAD: "head"},
        inputs=pictures,
        labels=universal_labels,
        seed_forward=True,
        auto={
            "AutoModel": PROSCALE_MODEL,
            "AutoModelForUniversalSegmentation": PROSCALE_HEAD,
            "AutoModelForImageSegmentation": PROSCALE_HEAD,
        },
        pipeline=segmentation_pipeline(
            PROSCALE_HEAD,
            f"{PROSCALE}.image_processing_proscale:ProScaleImageProcessor",
            size={"shortest_edge": 32, "longest_edge": 64},
        ),
    ),
    ImageProcessor(
        name="proscale-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{PROSCALE}.image_processing_proscale:ProScaleImageProcessor",
            "pil": f"{PROSCALE}.image_processing_pil_proscale:ProScaleImageProcessorPil",
        },
        kwargs={"size": {"shortest_edge": 20, "longest_edge": 40}},
        expected_shape=padded_batch_shape,
        semantic_inputs=universal_outputs,
    ),
    Model(
        name="vpnext",
        imports=["hfseg"],
        config=f"{VPNEXT}.configuration_vpnext:VPNeXtConfig",
        config_kwargs=vpnext_config,
        models={VPNEXT_MODEL: "base", VPNEXT_HEAD: "semantic-segmentation"},
        inputs=pictures,
        labels=semantic_labels,
        auto={
            "AutoModel": VPNEXT_MODEL,
            "AutoModelForSemanticSegmentation": VPNEXT_HEAD,
            "AutoModelForImageSegmentation": VPNEXT_HEAD,
        },
        pipeline=segmentation_pipeline(
            VPNEXT_HEAD,
            f"{VPNEXT}.image_processing_vpnext:VPNeXtImageProcessor",
            size={"shortest_edge": 32},
        ),
    ),
    ImageProcessor(
        name="vpnext-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{VPNEXT}.image_processing_vpnext:VPNeXtImageProcessor",
            "pil": f"{VPNEXT}.image_processing_pil_vpnext:VPNeXtImageProcessorPil",
        },
        kwargs={"size": {"shortest_edge": 20, "longest_edge": 40}},
        expected_shape=patch_padded_batch_shape,
        semantic_inputs=semantic_outputs,
    ),
]
