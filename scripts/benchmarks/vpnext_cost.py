# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cost and size of VPNeXt beside the paper's Table III, and what our forward executes.

Counted: products of convolutions, linear layers, attention (both of them) and deformable convolutions; nothing else.
The paper states neither image size nor convention. 384 x 384 with two FLOPs per multiply-add and a G of 2^30 is the
one natural setting within a percent of its first two rows; with it the widths of HiCLR follow from the third. That
table is printed in this convention, and all variants in multiply-adds (MACs, G = 10^9) at 512 x 512, where nothing is
open.

*architecture*: every convolution at the resolution where the formula has it. *executed*: as our forward runs, which
convolves the upsampled context at its own resolution (`layers.upsampled_convolution`) with equal results.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import hfseg
from hfseg.models.vpnext.configuration_vpnext import DEFAULT_BACKBONE, VPNeXtConfig
from hfseg.models.vpnext.modeling_vpnext import VPNeXtForSemanticSegmentation, VPNeXtHiCLRIteration

NUM_CLASSES = 59  # Pascal Context
PYRAMID = "Mask2Former decoder with pyramid"
PYRAMID_RECIPE = "vpnext-eva02-l-pascal-context-mask2former"

NOTES = [
    "ViT-L/16 with a class token and no registers, 59 classes, one image; see scripts/benchmarks/vpnext_cost.py.",
    "Table III in GFlops = 2 x MACs / 2^30 at 384 x 384, the setting that the paper's first rows imply; the paper "
    "states none. HiCLR's widths (512, context 1024) are solved from its last row, so that row checks arithmetic only.",
    "architecture: convolutions where the formula has them. executed: our forward, with equal results. deformable: "
    "part of the deformable convolutions. VCR costs in training only.",
    "Mask2Former decoder with pyramid: the recipe's model on this ViT, 1024 channels wide as ViT-Adapter has it; the "
    "paper says > 2000 and no width.",
]


@dataclass(frozen=True)
class Variant:
    """One model of the tables: its name, fields of the configuration, and the paper's figure if it prints one."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    paper: float | None = None


VARIANTS = [
    Variant("vpnext-vcr (as deep supervision)", {"use_vitup": False}, 356.69),
    Variant(
        "mask decoder (Segmenter)", {"decoder_type": "mask_transformer", "use_vitup": False, "use_vcr": False}, 359.99
    ),
    Variant("vpnext", {}, 1007.62),
    Variant("vpnext, 1 iteration", {"hiclr_iterations": 1}),
    Variant("vpnext, 2 iterations", {"hiclr_iterations": 2}),
    Variant("vpnext, 4 iterations", {"hiclr_iterations": 4}),
    Variant("vpnext-lite", {"hiclr_channels": 256, "hiclr_context_channels": 256}),
]


# The ViT of all rows.
BACKBONE = {"model_type": "dinov3_vit", **DEFAULT_BACKBONE, "num_register_tokens": 0}


def build(fields: dict[str, Any]) -> VPNeXtForSemanticSegmentation:
    """Builds a ViT-L variant without memory for its weights."""
    config = VPNeXtConfig(backbone_config=dict(BACKBONE), num_labels=NUM_CLASSES, **fields)  # type: ignore[call-arg]
    with torch.device("meta"):
        return VPNeXtForSemanticSegmentation._from_config(config, attn_implementation="eager").eval()


def macs(model: VPNeXtForSemanticSegmentation, size: int) -> dict[str, int]:
    """Counts multiply-adds of one image: `executed`, `deformable` (part of both) and `architecture`."""
    pixel_values = torch.empty(1, 3, size, size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(pixel_values)
    executed, deformable, saved = counter.get_total_flops() // 2, 0, 0
    pixels = (size // model.config.vitup_stride) ** 2
    for step in model.modules():
        if isinstance(step, VPNeXtHiCLRIteration):
            deformable += pixels * step.sample.weight.numel()  # an opaque operator to the counter
            channels = step.fuse.out_channels + step.offsets.out_channels
            products = channels * step.offsets.in_channels * 9
            saved += products * (pixels - pixels // step.ratio**2)
    return {"executed": executed + deformable, "deformable": deformable, "architecture": executed + deformable + saved}


def vcr_macs(size: int) -> int:
    """Counts multiply-adds of VCR's forward, one image."""
    model = build({})
    config, grid = model.config, size // model.model.patch_size
    channels, pixels = model.model.backbone.channels[-1], grid**2
    features = torch.empty(1, channels, grid, grid, device="meta")
    layers = len(config.supervised_layers)
    assert model.vcr is not None
    linear = sum(
        parameter.numel()
        for name, parameter in model.vcr.named_parameters()
        if parameter.dim() > 1 and "norm" not in name
    )
    with torch.no_grad():
        model.vcr((features,) * layers, features)  # the shapes fit
    # Every weight once per token, and the two products of the affinity.
    return pixels * linear + pixels**2 * (config.vcr_affinity_dim + layers * channels)


def build_mask2former(**fields: Any) -> Any:
    """Builds the baseline with a pyramid, the model of its recipe, without memory for its weights.

    Args:
        fields: Of its configuration that differ. The recipe's own ViT is EVA-02-L of timm; in the tables it is that of
            the other rows, which costs the same.
    """
    with torch.device("meta"):
        model = hfseg.from_recipe(PYRAMID_RECIPE, **fields)
    return model.eval().requires_grad_(False)  # the counter hooks into gradients


def mask2former_macs(model: Any, size: int) -> int:
    """Counts multiply-adds of one image: ViT, pyramid, encoder and decoder."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


def vpnext_cost_tables() -> dict[str, list[dict]]:
    """Regenerates Table III and counts every variant at 512 x 512."""
    table, costs = [], []
    for variant in VARIANTS:
        model = build(variant.fields)
        at_384, at_512 = macs(model, 384), macs(model, 512)
        gflops = 2 * at_384["architecture"] / 2**30
        if variant.paper is not None:
            deviation = 100 * (gflops / variant.paper - 1)
            table.append({"model": variant.name, "GFlops": gflops, "paper": variant.paper, "deviation %": deviation})
        costs.append(
            {
                "model": variant.name,
                "architecture GMAC": at_512["architecture"] / 1e9,
                "executed GMAC": at_512["executed"] / 1e9,
                "deformable GMAC": at_512["deformable"] / 1e9,
                "deformable % of executed": 100 * at_512["deformable"] / at_512["executed"],
                "GFlops at 384": gflops,
            }
        )
    model = build_mask2former(backbone_config=dict(BACKBONE), timm_kwargs=None)
    small, large = (mask2former_macs(model, size) for size in (384, 512))
    table.insert(2, {"model": PYRAMID, "GFlops": 2 * small / 2**30, "paper": None, "deviation %": None})
    costs.append({"model": PYRAMID, "executed GMAC": large / 1e9, "GFlops at 384": 2 * small / 2**30})
    costs.append({"model": "VCR, in training", "architecture GMAC": vcr_macs(512) / 1e9})
    return {"Table III": table, "512 x 512": costs}


def vpnext_parameter_table() -> list[dict]:
    """Counts the parameters of every variant in millions; the paper prints none."""
    rows = []
    for variant in VARIANTS:
        model = build(variant.fields)
        count = lambda module: sum(p.numel() for p in module.parameters()) / 1e6 if module is not None else 0.0  # noqa: E731
        head = count(model.model.vitup) + count(model.model.final_norm) + count(model.classifier)
        rows.append(
            {
                "model": variant.name,
                "backbone (M)": count(model.model.backbone),
                "head (M)": head,
                "at inference (M)": count(model.model.backbone) + head,
                "VCR, in training (M)": count(model.vcr),
            }
        )
    return rows
