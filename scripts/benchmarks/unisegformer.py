# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
# mypy: disable-error-code="arg-type, call-arg, assignment"
"""Speed and memory of UniSegFormer beside transformers' universal models and PRO-SCALE, all with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hfseg.layers.mask_decoder import eager_attention

from .published import BACKBONES, NUM_CLASSES
from .speed import (
    PEER,
    SEED,
    SpeedOptions,
    build_mask2former,
    compare,
    interleave,
    measure_memory,
    pixel_values,
    precision,
)

ONEFORMER_TASK_LENGTH = 77
OURS = {"tiny": {}, "tiny, no exchange": {"clx_enabled": False}}


def build_oneformer(backbone: str) -> nn.Module:
    """Builds transformers' OneFormer for COCO's classes, with random weights, in the way it is used for inference."""
    from transformers import CONFIG_MAPPING, OneFormerConfig, OneFormerForUniversalSegmentation

    torch.manual_seed(SEED)
    fields = dict(BACKBONES[backbone])
    config = OneFormerConfig(  # type: ignore[call-arg]
        backbone_config=CONFIG_MAPPING[fields.pop("model_type")](**fields), num_queries=150, is_training=False
    )
    config.num_labels = NUM_CLASSES["coco"]
    return OneFormerForUniversalSegmentation(config).eval()


def speed_table(settings: SpeedOptions, size: str = "tiny") -> tuple[dict[str, list[dict]], list[str]]:
    """Compares forward passes of whole models, and of the parts behind the encoders.

    Returns:
        The tables, and notes.
    """
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation
    from hfseg.models.unisegformer.configuration_unisegformer import UniSegFormerConfig
    from hfseg.models.unisegformer.modeling_unisegformer import UniSegFormerForUniversalSegmentation

    if settings.threads:
        torch.set_num_threads(settings.threads)
    image_size = min(settings.size)
    models: dict[str, nn.Module] = {f"{PEER}:mask2former": build_mask2former(settings.backbone)}
    models[f"{PEER}:oneformer"] = build_oneformer(settings.backbone)
    models["PRO-SCALE (3,3,3)"] = ProScaleForUniversalSegmentation.from_mask2former(models[f"{PEER}:mask2former"])
    for name, fields in OURS.items():
        torch.manual_seed(SEED)
        config = UniSegFormerConfig.of_size(
            size, num_labels=NUM_CLASSES["coco"], encoder_config={"image_size": image_size}, **fields
        )
        models[name] = UniSegFormerForUniversalSegmentation(config)
    models = {name: model.eval().to(settings.place) for name, model in models.items()}
    if settings.compile:
        models = {name: torch.compile(model) for name, model in models.items()}  # type: ignore[misc]

    whole, heads = [], []
    for batch_size in settings.batch:
        inputs = pixel_values(settings, batch_size)
        task = torch.ones(batch_size, ONEFORMER_TASK_LENGTH, device=settings.place)

        def call(
            name: str, model: nn.Module, inputs: torch.Tensor = inputs, task: torch.Tensor = task
        ) -> Callable[[], Any]:
            extra = {"task_inputs": task} if name.endswith("oneformer") else {}

            def run() -> Any:
                with torch.no_grad(), precision(settings):
                    return model(pixel_values=inputs, **extra)

            return run

        sides = {name: call(name, model) for name, model in models.items()}
        times = interleave(sides, settings)
        memory = {name: measure_memory(side, settings) for name, side in sides.items()}
        peers = [name for name in models if name not in OURS]
        for name in OURS:
            for peer in peers:
                entry = {"batch": batch_size, **compare(f"{name} / {peer}", times[name], times[peer])}
                heads_memory = {"ours MiB": memory[name], "theirs MiB": memory[peer]}
                whole.append(entry | heads_memory | {"memory ratio": memory[name] / memory[peer]})

        # What follows the encoder, on the same maps: Swin-T's and Swin V2-T's have the same channels and strides.
        ours: Any = models["tiny"]
        theirs: Any = models["PRO-SCALE (3,3,3)"]
        with torch.no_grad(), precision(settings):
            maps = ours.model.encoder(inputs).feature_maps
            decoded = ours.model.decoder(maps)
            pyramid = [project(one) for project, one in zip(ours.mask_head.input_projections, reversed(decoded[1:]))]
            embedding = ours.mask_head.pixel_projection(decoded[0])
            attend = ALL_ATTENTION_FUNCTIONS.get_interface(ours.config._attn_implementation, eager_attention)
            pixels = theirs.model.pixel_decoder(maps)

        def measured(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
            def run() -> Any:
                with torch.no_grad(), precision(settings):
                    return function(*arguments)

            return run

        parts = {
            "U-Net decoder": measured(ours.model.decoder, maps),
            "pixel decoder": measured(theirs.model.pixel_decoder, maps),
            "mask head": measured(ours.mask_head, decoded),
            "mask decoder": measured(theirs.model.mask_decoder, pixels.multi_scale_features, pixels.pixel_embedding),
            "queries": measured(ours.mask_head.decoder, pyramid, embedding, attend),
        }
        times = interleave(parts, settings)
        both = [
            [sum(pair) for pair in zip(times[one], times[two])] for one, two in zip(list(parts)[:2], list(parts)[2:4])
        ]
        heads += [
            {"batch": batch_size, **compare("queries / PRO-SCALE", times["queries"], times["mask decoder"])},
            {"batch": batch_size, **compare("mask head / PRO-SCALE", times["mask head"], times["mask decoder"])},
            {"batch": batch_size, **compare("decoder / PRO-SCALE", times["U-Net decoder"], times["pixel decoder"])},
            {"batch": batch_size, **compare("decoder and mask head / PRO-SCALE", *both)},
        ]
    notes = [
        f"input {settings.size[0]}x{settings.size[1]}, {settings.dtype}, {settings.rounds} rounds; clock: "
        f"{settings.clock}. Peers with {settings.backbone} (window 7), UniSegFormer with Swin V2 (window 16).",
        "Behind the encoder: both sides read the same maps, those of UniSegFormer's encoder; PRO-SCALE is (3,3,3). "
        "queries: the refinement of the queries alone. mask head: with the projections of the maps and of the pixel "
        "embedding, which belong to PRO-SCALE's pixel decoder; so the fair sum is decoder and mask head.",
        "ratio: median over rounds of ours / theirs; smaller is better. MiB: peak of tensor memory during a forward.",
    ]
    return {"Forward pass": whole, "Behind the encoder": heads}, notes
