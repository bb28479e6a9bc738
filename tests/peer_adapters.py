# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entries for the common tests of transformers and diffusers (`own_checks` and `peer_table` come with that harness)."""

from types import SimpleNamespace

from own_checks import segmentation_pipeline
from peer_table import DiffusersModel, DiffusersPipeline, DiffusersScheduler, ImageProcessor, Model, Processor

PROSCALE = "hfseg.models.proscale"
LAVIN_DIT = "hfseg.models.lavin_dit"


def images(config, batch):
    """Draws normalized images."""
    import torch

    return {"pixel_values": torch.randn(batch, 3, 64, 64)}


def halved_images(config, batch):
    """Draws normalized images, bright on the left and dark on the right as the labels say.

    For networks without a code of absolute positions: in mere noise nothing tells them where the left half ends.
    """
    pixels = images(config, batch)["pixel_values"]
    half = pixels.shape[-1] // 2
    pixels[..., :half] += 1
    pixels[..., half:] -= 1
    return {"pixel_values": pixels}


def universal_labels(config, inputs, class_name):
    """Two segments with a flat pattern in every image, for heads that predict sets of masks."""
    import torch

    batch, _, height, width = inputs["pixel_values"].shape
    if "ForObjectDetection" in class_name:
        boxes = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])
        return {"labels": [{"class_labels": torch.tensor([0, 2]), "boxes": boxes}] * batch}
    if "ForUniversalSegmentation" not in class_name:
        return {}
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


def proscale_windows_config():
    """Arguments of a PRO-SCALE on a tiny MViTv2 of timm, which this process lets timm know."""
    from timm.models import _registry, mvitv2

    from timm_models import SIZES, TINY_MVIT, WINDOWED_MVIT, mvitv2_for_tests

    mvitv2.model_cfgs[TINY_MVIT] = SIZES
    _registry._model_entrypoints[TINY_MVIT] = mvitv2_for_tests
    return {**proscale_config(), "backbone_config": WINDOWED_MVIT}


def proscale_names_config():
    """Arguments of an open-vocabulary PRO-SCALE below a million parameters."""
    return {
        **proscale_config(),
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 16,
        },
        "text_config": unpairseg_config()["text_config"],
        "relative_attention_interval": 1,
    }


def proscale_names_labels(config, inputs, class_name):
    """Two segments, and the texts of three classes."""
    import torch

    if "ForOpenVocabulary" not in class_name:
        return {}
    texts = {"text_embeds": torch.eye(16)[:3, None]}
    return {**texts, **universal_labels(config, inputs, "ForUniversalSegmentation")}


def proscale_image_processor():
    """A small one."""
    from hfseg import ProScaleImageProcessor

    return ProScaleImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})


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


UNPAIRSEG = "hfseg.models.unpairseg"


def unpairseg_config():
    """Arguments of an Unpair-Seg below a million parameters, of which a fresh one has masks to name."""
    return {
        "backbone_config": {
            "model_type": "convnext",
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "layer_norm_eps": 1e-6,
            "layer_scale_init_value": 1.0,
        },
        "text_config": {
            "vocab_size": 64,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 8,
            "hidden_act": "gelu",
            "projection_dim": 16,
            "bos_token_id": 62,
            "eos_token_id": 63,
            "pad_token_id": 63,
        },
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_size": 32,
        "encoder_layers": 1,
        "encoder_feedforward_dim": 32,
        "decoder_layers": 2,
        "num_attention_heads": 4,
        "dim_feedforward": 32,
        "points_per_side": 2,
        "train_points_per_side": 2,
        "point_jitter": 0.0,
        "train_num_points": 64,
        "region_sizes": (64,),
        "score_threshold": 0.0,
        "iou_threshold": 1.1,
        "cover_threshold": 1.1,
    }


def prompted_images(config, batch):
    """Images with two points each."""
    import torch

    return {**images(config, batch), "input_points": torch.tensor([[[[16.0, 16.0]], [[48.0, 40.0]]]] * batch)}


def unpairseg_labels(config, inputs, class_name):
    """Masks without names, or embeddings of entities."""
    import torch

    batch, _, height, width = inputs["pixel_values"].shape
    if "ForMaskGeneration" in class_name:
        segments = torch.ones(height, width, dtype=torch.int64)
        segments[:, width // 2 :] = 2
        return {"mask_labels": [segments] * batch}
    if "ForOpenVocabulary" in class_name:
        return {"entity_labels": [torch.eye(16)[:2]] * batch}
    return {}


def unpairseg_tokenizer():
    """CLIP's tokenizer with the letters only."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], unk_token="<|endoftext|>")


def unpairseg_image_processor():
    """A small one."""
    from hfseg import UnpairSegImageProcessor

    return UnpairSegImageProcessor(size={"longest_edge": 32})


def square_batch_shape(tester, images):
    """Shape (C, H, W) of a batch: a square of the longest edge, rounded up to a multiple of 32."""
    side = -(-tester.size["longest_edge"] // 32) * 32
    channels, _, _ = padded_batch_shape(SimpleNamespace(size={"shortest_edge": 8, "longest_edge": 8}), images)
    return channels, side, side


def open_vocabulary_outputs(tester):
    """Random masks of random quality at stride 4 of a padded input, for the semantic post-processing test."""
    import torch
    from transformers.utils import ModelOutput

    outputs = ModelOutput(
        class_queries_logits=torch.randn(tester.batch_size, 5, 3),
        masks_queries_logits=torch.randn(tester.batch_size, 5, 8, 8),
        iou_scores=torch.ones(tester.batch_size, 5),
    )
    return {"outputs": outputs}, {"num_labels": 3, "height": 32, "width": 32}


UNPAIRSEG_MODEL = f"{UNPAIRSEG}.modeling_unpairseg:UnpairSegModel"
UNPAIRSEG_MASKS = f"{UNPAIRSEG}.modeling_unpairseg:UnpairSegForMaskGeneration"
UNPAIRSEG_OPEN = f"{UNPAIRSEG}.open_vocabulary_unpairseg:UnpairSegForOpenVocabularySegmentation"


def lavin_dit_config():
    """Arguments of a tiny J-DiT."""
    return {
        "in_channels": 4,
        "num_layers": 2,
        "num_attention_heads": 4,
        "attention_head_dim": 8,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "drop_path_rate": 0.0,
    }


def lavin_dit_inputs():
    """Noisy target frames, five condition frames, times."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(2, 4, 1, 8, 8, generator=generator),
        "encoder_hidden_states": torch.randn(2, 4, 5, 8, 8, generator=generator),
        "timestep": torch.tensor([0.3, 0.8]),
    }


def lavin_dit_components():
    """A pipeline with a small autoencoder; weights of the transformer that are zero at first are drawn."""
    import torch

    from hfseg import LavinDiTAutoencoderKL, LavinDiTScheduler, LavinDiTTransformer3DModel

    torch.manual_seed(0)
    transformer = LavinDiTTransformer3DModel(**lavin_dit_config())
    with torch.no_grad():
        for parameter in transformer.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    vae = LavinDiTAutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=32,
        sample_width=32,
    )
    return {"transformer": transformer.eval(), "vae": vae.eval(), "scheduler": LavinDiTScheduler()}


def lavin_dit_call(device, seed):
    """Two examples and a query."""
    import numpy as np
    import torch

    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    return {
        "query": images[4],
        "examples": [(images[0], images[1]), (images[2], images[3])],
        "num_inference_steps": 3,
        "generator": torch.Generator("cpu").manual_seed(seed),
        "output_type": "np",
    }


ZERO_AT_FIRST = "a fresh J-DiT puts out zeros (its last projection starts at zero), so no adapter can change that"

PROSCALE_MODEL = f"{PROSCALE}.modeling_proscale:ProScaleModel"
PROSCALE_HEAD = f"{PROSCALE}.modeling_proscale:ProScaleForUniversalSegmentation"
PROSCALE_BOX_MODEL = f"{PROSCALE}.detection_proscale:ProScaleDetectionModel"
PROSCALE_PROPOSALS = f"{PROSCALE}.open_vocabulary_proscale:ProScaleProposalModel"
PROSCALE_NAMES = f"{PROSCALE}.open_vocabulary_proscale:ProScaleForOpenVocabularySegmentation"
PROSCALE_BOX_HEAD = f"{PROSCALE}.detection_proscale:ProScaleForObjectDetection"
VPNEXT = "hfseg.models.vpnext"
VPNEXT_MODEL = f"{VPNEXT}.modeling_vpnext:VPNeXtModel"
VPNEXT_HEAD = f"{VPNEXT}.modeling_vpnext:VPNeXtForSemanticSegmentation"

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


def images_and_expressions(config, batch):
    """Draws normalized images and expressions with start and end."""
    import torch

    ids = torch.randint(1, 97, (batch, 8))
    ids[:, 0], ids[:, -1] = 97, 98
    return {**images(config, batch), "input_ids": ids}


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
    """An image processor for small images."""
    from hfseg import CrisImageProcessor

    return CrisImageProcessor(size={"height": 32, "width": 32})


UNISEGFORMER = "hfseg.models.unisegformer"
UNISEGFORMER_MODELING = f"{UNISEGFORMER}.modeling_unisegformer"
UNISEGFORMER_ENCODER = f"{UNISEGFORMER}.encoder_unisegformer"
UNISEGFORMER_PRETRAINING = f"{UNISEGFORMER}.pretraining_unisegformer"


def meddensevit_config():
    """Arguments of a MedDenseViT below a million parameters: four encoder layers, each tapped."""
    return {
        "backbone_config": {
            "model_type": "dinov3_vit",
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "patch_size": 8,
            "image_size": 32,
            "num_register_tokens": 1,
            "apply_layernorm": False,
            "pos_embed_rescale": None,
            "out_indices": [1, 2, 3, 4],
        },
        "feature_size": 16,
        "stem_sizes": (8, 8),
        "num_labels": 3,
    }


MEDDENSEVIT = "hfseg.models.meddensevit"
MEDDENSEVIT_MODEL = f"{MEDDENSEVIT}.modeling_meddensevit:MedDenseViTModel"
MEDDENSEVIT_HEAD = f"{MEDDENSEVIT}.modeling_meddensevit:MedDenseViTForSemanticSegmentation"


ENTRIES = [
    Model(
        name="cris",
        imports=["hfseg"],
        config=f"{CRIS}.configuration_cris:CrisConfig",
        config_kwargs=cris_config,
        models={CRIS_MODEL: "base", CRIS_HEAD: "head"},
        inputs=images_and_expressions,
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
            "*test_subprocessor_defaults_0_text": "compares padding with the tokenizer's: ours pads by id 0, by "
            "which the network knows padding; as the tokenizer's own padding token, id 0 would split every '!' off"
        },
    ),
    Model(
        name="unisegformer",
        imports=["hfseg"],
        config=f"{UNISEGFORMER}.configuration_unisegformer:UniSegFormerConfig",
        config_kwargs=unisegformer_config,
        models={
            f"{UNISEGFORMER_MODELING}:UniSegFormerModel": "base",
            f"{UNISEGFORMER_ENCODER}:UniSegFormerBackbone": "backbone",
            f"{UNISEGFORMER_MODELING}:UniSegFormerForUniversalSegmentation": "head",
            f"{UNISEGFORMER_MODELING}:UniSegFormerForSemanticSegmentation": "semantic-segmentation",
            f"{UNISEGFORMER_PRETRAINING}:UniSegFormerForPreTraining": "head",
        },
        facts={"num_masks": 64, "mask_length": 256},  # of 64 x 64 pixels in patches of 4
        inputs=halved_images,
        labels=unisegformer_labels,
        seed_forward=True,
        auto={
            "AutoModel": f"{UNISEGFORMER_MODELING}:UniSegFormerModel",
            "AutoModelForPreTraining": f"{UNISEGFORMER_PRETRAINING}:UniSegFormerForPreTraining",
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
        inputs=images,
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
    Model(
        name="proscale-hybrid",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_proscale:ProScaleConfig",
        config_kwargs=lambda: {**proscale_config(), "encoder": "hybrid"},
        models={PROSCALE_MODEL: "base", PROSCALE_HEAD: "head"},
        inputs=images,
        labels=universal_labels,
        seed_forward=True,
        auto={"AutoModel": PROSCALE_MODEL, "AutoModelForUniversalSegmentation": PROSCALE_HEAD},
    ),
    Model(
        name="proscale-lite",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_proscale:ProScaleConfig",
        config_kwargs=lambda: {**proscale_config(), "encoder": "lite", "encoder_layers": 2},
        models={PROSCALE_MODEL: "base", PROSCALE_HEAD: "head"},
        inputs=images,
        labels=universal_labels,
        seed_forward=True,
        auto={"AutoModel": PROSCALE_MODEL, "AutoModelForUniversalSegmentation": PROSCALE_HEAD},
    ),
    Model(
        name="proscale-windows",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_proscale:ProScaleConfig",
        config_kwargs=proscale_windows_config,
        models={PROSCALE_MODEL: "base", PROSCALE_HEAD: "head"},
        inputs=images,
        labels=universal_labels,
        seed_forward=True,
        exclude={
            "*test_can_init_all_missing_weights": "timm draws its weights where it builds a network, with functions "
            "that the test does not seed; it leaves such networks out by the name of transformers' class, and ours "
            "derives from that",
            "*test_retain_grad_hidden_states_attentions": "asks the backbone for its attentions, which transformers' "
            "wrapper of timm networks refuses; the model's own are asked for by the other tests",
        },
    ),
    Model(
        name="proscale-detection",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_proscale:ProScaleConfig",
        config_kwargs=proscale_config,
        models={PROSCALE_BOX_MODEL: "base", PROSCALE_BOX_HEAD: "head"},
        inputs=images,
        labels=universal_labels,
        seed_forward=True,
        auto={"AutoModelForObjectDetection": PROSCALE_BOX_HEAD},
    ),
    Model(
        name="proscale-names",
        imports=["hfseg"],
        config=f"{PROSCALE}.configuration_open_vocabulary_proscale:ProScaleOpenVocabularyConfig",
        config_kwargs=proscale_names_config,
        models={PROSCALE_PROPOSALS: "base", PROSCALE_NAMES: "head"},
        inputs=images,
        labels=proscale_names_labels,
        seed_forward=True,
        auto={"AutoModel": PROSCALE_PROPOSALS},
    ),
    Processor(
        name="proscale-processor",
        imports=["hfseg"],
        processor=f"{PROSCALE}.processing_proscale:ProScaleProcessor",
        components={"tokenizer": unpairseg_tokenizer, "image_processor": proscale_image_processor},
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
        inputs=images,
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
    Model(
        name="unpairseg",
        imports=["hfseg"],
        config=f"{UNPAIRSEG}.configuration_unpairseg:UnpairSegConfig",
        config_kwargs=unpairseg_config,
        models={UNPAIRSEG_MODEL: "base", UNPAIRSEG_MASKS: "head", UNPAIRSEG_OPEN: "head"},
        inputs=prompted_images,
        labels=unpairseg_labels,
        seed_forward=True,
        auto={"AutoModel": UNPAIRSEG_MODEL, "AutoModelForMaskGeneration": UNPAIRSEG_MASKS},
    ),
    ImageProcessor(
        name="unpairseg-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{UNPAIRSEG}.image_processing_unpairseg:UnpairSegImageProcessor",
            "pil": f"{UNPAIRSEG}.image_processing_pil_unpairseg:UnpairSegImageProcessorPil",
        },
        kwargs={"size": {"longest_edge": 40}},
        expected_shape=square_batch_shape,
        semantic_inputs=open_vocabulary_outputs,
    ),
    Processor(
        name="unpairseg-processor",
        imports=["hfseg"],
        processor=f"{UNPAIRSEG}.processing_unpairseg:UnpairSegProcessor",
        components={"tokenizer": unpairseg_tokenizer, "image_processor": unpairseg_image_processor},
    ),
    DiffusersModel(
        name="lavin-dit-transformer",
        model=f"{LAVIN_DIT}.transformer_lavin_dit:LavinDiTTransformer3DModel",
        init_kwargs=lavin_dit_config,
        inputs=lavin_dit_inputs,
        input_shape=(4, 1, 8, 8),
        output_shape=(4, 1, 8, 8),
        mixins=("ModelTesterMixin", "TrainingTesterMixin", "AttentionTesterMixin", "LoraTesterMixin"),
        exclude={
            "test_save_load_lora_adapter*": ZERO_AT_FIRST,
            "test_lora_B_bias": ZERO_AT_FIRST,
            "test_correct_lora_configs_with_different_ranks": ZERO_AT_FIRST,
        },
    ),
    DiffusersScheduler(
        name="lavin-dit-scheduler",
        scheduler=f"{LAVIN_DIT}.scheduling_lavin_dit:LavinDiTScheduler",
        config={"num_train_timesteps": 1000, "shift": 1.0},
        flow_matching=True,
    ),
    DiffusersPipeline(
        name="lavin-dit-pipeline",
        pipeline=f"{LAVIN_DIT}.pipeline_lavin_dit:LavinDiTPipeline",
        imports=["hfseg"],
        components=lavin_dit_components,
        inputs=lavin_dit_call,
        params=["query", "examples", "height", "width", "guidance_scale"],
        batch_params=["query"],
    ),
    Model(
        name="meddensevit",
        imports=["hfseg"],
        config=f"{MEDDENSEVIT}.configuration_meddensevit:MedDenseViTConfig",
        config_kwargs=meddensevit_config,
        models={MEDDENSEVIT_MODEL: "base", MEDDENSEVIT_HEAD: "semantic-segmentation"},
        inputs=images,
        labels=semantic_labels,
        auto={
            "AutoModel": MEDDENSEVIT_MODEL,
            "AutoModelForSemanticSegmentation": MEDDENSEVIT_HEAD,
            "AutoModelForImageSegmentation": MEDDENSEVIT_HEAD,
        },
        pipeline=segmentation_pipeline(
            MEDDENSEVIT_HEAD,
            f"{MEDDENSEVIT}.image_processing_meddensevit:MedDenseViTImageProcessor",
            size={"height": 32, "width": 32},
        ),
    ),
    ImageProcessor(
        name="meddensevit-image-processor",
        imports=["hfseg"],
        classes={
            "torchvision": f"{MEDDENSEVIT}.image_processing_meddensevit:MedDenseViTImageProcessor",
            "pil": f"{MEDDENSEVIT}.image_processing_pil_meddensevit:MedDenseViTImageProcessorPil",
        },
        kwargs={"size": {"height": 20, "width": 24}},
        facts={"num_labels": 3},
    ),
]
