# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entries for the common tests of transformers and diffusers (`own_checks` and `peer_table` come with that harness)."""

from own_checks import segmentation_pipeline
from peer_table import ImageProcessor, Model, Processor

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


def universal_outputs(tester):
    """Random query logits at stride 4 of a padded input, for the semantic post-processing test."""
    from types import SimpleNamespace

    import torch

    outputs = SimpleNamespace(
        class_queries_logits=torch.randn(tester.batch_size, 5, 4),
        masks_queries_logits=torch.randn(tester.batch_size, 5, 8, 8),
    )
    return {"outputs": outputs}, {"num_labels": 3, "height": 32, "width": 32}


def padded_batch_shape(tester, images):
    """Shape (C, H, W) of a batch: aspect-keeping resize rounded half up, then padding to a multiple of 32."""
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
    return channels, int(np.ceil(max(heights) / 32) * 32), int(np.ceil(max(widths) / 32) * 32)


PROSCALE_MODEL = f"{PROSCALE}.modeling_proscale:ProScaleModel"
PROSCALE_HEAD = f"{PROSCALE}.modeling_proscale:ProScaleForUniversalSegmentation"

CRIS = "hfseg.models.cris"
CRIS_MODEL = f"{CRIS}.modeling_cris:CrisModel"
CRIS_HEAD = f"{CRIS}.modeling_cris:CrisForReferringImageSegmentation"


def cris_config():
    """Arguments of a CRIS below a million parameters."""
    return {
        "text_config": {
            "vocab_size": 99,
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "projection_dim": 24,
            "max_position_embeddings": 12,
            "bos_token_id": 97,
            "eos_token_id": 98,
        },
        "vision_layers": (1, 1, 1, 1),
        "vision_width": 8,
        "image_size": 64,
        "neck_sizes": (16, 32, 40),
        "hidden_size": 32,
        "num_decoder_layers": 2,
        "num_attention_heads": 4,
        "dim_feedforward": 48,
        "dropout": 0.0,
    }


def pictures_and_expressions(config, batch):
    """Draws normalised pictures and expressions with start and end."""
    import torch

    ids = torch.randint(1, 97, (batch, 8))
    ids[:, 0], ids[:, -1] = 97, 98
    return {**pictures(config, batch), "input_ids": ids}


def referring_labels(config, inputs, class_name):
    """The left half is meant."""
    import torch

    if "ForReferring" not in class_name:
        return {}
    batch, _, height, width = inputs["pixel_values"].shape
    mask = torch.zeros(batch, height, width)
    mask[:, :, : width // 2] = 1
    return {"mask_labels": mask}


def cris_tokenizer():
    """A small tokenizer of CLIP's kind."""
    from hfseg.models.cris.tokenization_cris import word_tokenizer

    return word_tokenizer(["lower", "newer", "upper", "older", "longer", "string"], max_length=17)


def cris_image_processor():
    """An image processor for small pictures."""
    from hfseg import CrisImageProcessor

    return CrisImageProcessor(size={"height": 32, "width": 32})


ENTRIES = [
    Model(
        name="cris",
        imports=["hfseg"],
        config=f"{CRIS}.configuration_cris:CrisConfig",
        config_kwargs=cris_config,
        models={CRIS_MODEL: "base", CRIS_HEAD: "head"},
        inputs=pictures_and_expressions,
        labels=referring_labels,
        config_test_kwargs={"num_decoder_layers": 2, "dropout": 0.0},
        auto={"AutoModel": CRIS_MODEL},
    ),
    ImageProcessor(
        name="cris-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{CRIS}.image_processing_cris:CrisImageProcessor",
            "pil": f"{CRIS}.image_processing_pil_cris:CrisImageProcessorPil",
        },
        kwargs={"size": {"height": 20, "width": 24}},
    ),
    Processor(
        name="cris-processor",
        imports=["hfseg"],
        processor=f"{CRIS}.processing_cris:CrisProcessor",
        components={"image_processor": cris_image_processor, "tokenizer": cris_tokenizer},
        exclude={
            "*test_subprocessor_defaults_0_text": "compares padding with the tokenizer's: the processor pads by id 0, "
            "as the network knows padding by it; as the tokenizer's padding token, id 0 would split every '!' off"
        },
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
]
