# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters and multiply-adds of UniSegFormer's four sizes, counted without memory, beside the specification."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hfseg.models.unisegformer.configuration_unisegformer import SIZES, UniSegFormerConfig
from hfseg.models.unisegformer.modeling_unisegformer import UniSegFormerForUniversalSegmentation

from .published import NUM_CLASSES

# The specification's, for 133 classes: millions of parameters; GMAC of the whole model at 640x640 and 1024x1024.
SPECIFIED = {
    "tiny": (48.0, 82, 188),
    "base": (113.0, 210, 477),
    "large": (232.2, 436, 985),
    "xlarge": (404.4, 757, 1719),
}
NOTES = [
    "COCO's 133 classes. Swin: the encoder without exchange. CLX: the six exchanges. 'specified' was counted on a "
    "prototype of the specification, before this package.",
    "GMAC: multiply-adds of matrix products, convolutions and attention (half of torch's FlopCounterMode), one image.",
]


def build(size: str, image_size: int = 1024, **fields: Any) -> Any:
    """Builds a size on the meta device, for images of one size."""
    config = UniSegFormerConfig.of_size(
        size, num_labels=NUM_CLASSES["coco"], encoder_config={"image_size": image_size}, **fields
    )
    with torch.device("meta"):
        return UniSegFormerForUniversalSegmentation(config).eval().requires_grad_(False)


def parameter_table() -> list[dict]:
    """Counts parameters by part."""

    def count(*modules: torch.nn.Module) -> float:
        return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6

    rows = []
    for size in SIZES:
        model = build(size)
        exchange = count(model.model.encoder.clx_up, model.model.encoder.clx_down)
        rows.append(
            {
                "size": size,
                "Swin (M)": count(model.model.encoder) - exchange,
                "CLX (M)": exchange,
                "decoder (M)": count(model.model.decoder, model.dense_head),
                "mask head (M)": count(model.mask_head),
                "total (M)": count(model),
                "specified (M)": SPECIFIED[size][0],
                "equal, rounded": round(count(model), 1) == SPECIFIED[size][0],
            }
        )
    return rows


def multiply_adds(model: Any, pixels: torch.Tensor) -> float:
    """Counts one forward pass in units of 10^9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixels)
    return counter.get_total_flops() / 2e9


def cost_table() -> list[dict]:
    """Counts multiply-adds at 640x640 and 1024x1024, and what the exchange adds."""
    rows = []
    for size in SIZES:
        for position, side in enumerate((640, 1024)):
            pixels = torch.empty(1, 3, side, side, device="meta")
            whole = multiply_adds(build(size, side), pixels)
            without = multiply_adds(build(size, side, clx_enabled=False), pixels)
            specified = SPECIFIED[size][1 + position]
            rows.append(
                {
                    "size": size,
                    "input": f"{side}x{side}",
                    "GMAC": whole,
                    "of these exchange": whole - without,
                    "specified": specified,
                    "difference": f"{100 * (whole / specified - 1):+.1f} %",
                }
            )
    return rows
