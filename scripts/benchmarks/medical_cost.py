# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters of MedDenseViT's sizes, beside the specification that this package wrote for it (there is no paper)."""

import torch

from hfseg.models.meddensevit.configuration_meddensevit import SIZES, MedDenseViTConfig
from hfseg.models.meddensevit.modeling_meddensevit import MedDenseViTForSemanticSegmentation

NUM_CLASSES = 14
# Millions: all, backbone, head; without the auxiliary heads of training.
SPECIFIED = {
    "small": (24.5, 21.6, 2.9),
    "base": (92.2, 85.7, 6.5),
    "large": (314.6, 303.1, 11.5),
    "huge": (648.5, 630.7, 17.8),
    "giant": (1036.0, 1011.0, 25.4),
}
NOTES = [
    f"DINOv3 encoder with patches of 16 and 4 registers, {NUM_CLASSES} classes; built without memory for weights.",
    "parameters: at inference. training: with the auxiliary heads, which supervise three coarser maps.",
    "specified: the design's figures, rounded; nothing was published.",
]


def parameter_row(size: str) -> dict:
    """Counts one size."""
    with torch.device("meta"):
        model = MedDenseViTForSemanticSegmentation(MedDenseViTConfig.of_size(size, num_labels=NUM_CLASSES))
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    training = sum(counts.values())
    auxiliary = sum(count for name, count in counts.items() if "aux" in name.split(".")[0])
    backbone = sum(count for name, count in counts.items() if ".backbone." in name)
    total = training - auxiliary
    specified = SPECIFIED[size]
    return {
        "model": size,
        "parameters": total,
        "total (M)": total / 1e6,
        "specified (M)": specified[0],
        "deviation %": 100 * (total / 1e6 / specified[0] - 1),
        "backbone (M)": backbone / 1e6,
        "head (M)": (total - backbone) / 1e6,
        "training": training,
    }


def parameter_table() -> list[dict]:
    """Counts every size."""
    return [parameter_row(size) for size in SIZES]
