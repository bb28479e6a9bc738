# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameter counts of the published models, beside the paper's."""

import torch

from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

from .published import CITYSCAPES, COCO, PublishedCost, Variant, buildable

# Millions. Section of the model -> COCO figure per variant, counted on the official code.
PUBLISHED_PARTS = {
    ("Swin-T", "(1,1,1)"): (27.521, 2.561, 14.493),
    ("Swin-T", "(2,2,2)"): (27.521, 4.684, 14.493),
    ("Swin-T", "(3,3,3)"): (27.521, 6.806, 14.493),
    ("Swin-T", "full"): (27.521, 5.422, 14.493),
    ("R50", "(1,1,1)"): (23.455, 3.176, 14.493),
    ("R50", "(2,2,2)"): (23.455, 5.298, 14.493),
    ("R50", "(3,3,3)"): (23.455, 7.421, 14.493),
    ("R50", "full"): (23.455, 6.036, 14.493),
}

NOTES = [
    "Trainable parameters. COCO: batch normalization frozen, its values not counted; Cityscapes: counted.",
    "published: printed in the paper or counted on the official code; part by part the latter.",
    "MViTv2-T: timm's network (left out where timm is not installed); nothing was published to compare with.",
]


def build_on_meta(variant: Variant) -> ProScaleForUniversalSegmentation:
    """Builds a model without memory for its weights."""
    with torch.device("meta"):
        return ProScaleForUniversalSegmentation._from_config(variant.config(), attn_implementation="eager").eval()


def count_parameters(module: torch.nn.Module) -> int:
    """Counts trainable parameters: frozen batch normalization does not count, as its values are buffers elsewhere."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def parameter_row(published: PublishedCost) -> dict:
    """Counts one model's parameters, part by part, in millions, beside the published figures."""
    variant = published.variant
    model = build_on_meta(variant)
    total = count_parameters(model)
    parts = {
        "backbone": count_parameters(model.model.backbone),
        "pixel decoder": count_parameters(model.model.pixel_decoder),
        "mask decoder": count_parameters(model.model.mask_decoder) + count_parameters(model.class_predictor),
    }
    assert sum(parts.values()) == total
    reference = PUBLISHED_PARTS.get((variant.backbone, variant.encoder)) if variant.dataset == "coco" else None
    row = {"data": variant.dataset, "model": variant.name, "parameters": total, "total (M)": total / 1e6}
    row["published (M)"] = published.parameters
    row["deviation %"] = None if published.parameters is None else 100 * (total / 1e6 / published.parameters - 1)
    for index, (part, count) in enumerate(parts.items()):
        row[f"{part} (M)"] = count / 1e6
        row[f"{part} published"] = reference and reference[index]
    return row


def parameter_table() -> list[dict]:
    """Counts the parameters of every model of PRO-SCALE's tables."""
    return [parameter_row(published) for published in buildable([*COCO, *CITYSCAPES])]
