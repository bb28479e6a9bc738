# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entries for the common tests of transformers and diffusers (`own_checks` and `peer_table` come with that harness)."""

from own_checks import segmentation_pipeline
from peer_table import DiffusersModel, DiffusersPipeline, DiffusersScheduler, ImageProcessor, Model

PROSCALE = "hfseg.models.proscale"
LAVIN_DIT = "hfseg.models.lavin_dit"


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
    pictures = draw.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    return {
        "query": pictures[4],
        "examples": [(pictures[0], pictures[1]), (pictures[2], pictures[3])],
        "num_inference_steps": 3,
        "generator": torch.Generator("cpu").manual_seed(seed),
        "output_type": "np",
    }


ZERO_AT_FIRST = "a fresh J-DiT puts out zeros (its last projection starts at zero), so no adapter can change its output"

PROSCALE_MODEL = f"{PROSCALE}.modeling_proscale:ProScaleModel"
PROSCALE_HEAD = f"{PROSCALE}.modeling_proscale:ProScaleForUniversalSegmentation"

ENTRIES = [
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
]
