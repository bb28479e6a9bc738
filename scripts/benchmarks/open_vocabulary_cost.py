# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cost of open-vocabulary PRO-SCALE and of its baseline MaskCLIP: the paper's Table T2.

The convention is that of `flops.py`. The paper prints totals, which are the sum of two figures: those of its R50 models
(166.1 and 229.1 at mean width, Table 1) and of MaskCLIP's image tower. The tower is the official code's, which keeps
mask class tokens in one sequence with CLIP's: their keys and values, and attention to them, are computed and hidden.
Ours leaves these out; `published` adds them.
"""

import torch

from hfseg.models.proscale.configuration_open_vocabulary_proscale import ProScaleOpenVocabularyConfig
from hfseg.models.proscale.open_vocabulary_proscale import ProScaleForOpenVocabularySegmentation

from .flops import cost_row, count
from .published import BACKBONES, COCO

SIZE = (800, 1216)  # of an image of 427 x 640, padded
# Encoder -> the paper's GFLOPs and PQ on COCO and on ADE20K.
PUBLISHED = {"full": (552.8, 29.98, 15.12), "(3,3,3)": (489.8, 34.53, 16.53)}


def open_vocabulary_model(encoder: str) -> ProScaleForOpenVocabularySegmentation:
    """Builds the model of the table on the meta device, with `"full"` or the progressive encoder."""
    fields = {"encoder": "full"} if encoder == "full" else {}
    config = ProScaleOpenVocabularyConfig(  # type: ignore[call-arg]
        backbone_config=dict(BACKBONES["R50"]), freeze_batch_norm=True, **fields
    )
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return ProScaleForOpenVocabularySegmentation(config)


def tower_cost(model: ProScaleForOpenVocabularySegmentation, joint: bool) -> float:
    """Counts CLIP's image tower in GFLOPs.

    Args:
        model: Of the table.
        joint: As the official code: mask class tokens also have keys and values, and every token's attention to them is
            computed before it is hidden.
    """
    encoder, queries = model.mask_class_encoder, model.config.num_queries
    total = count(model, *SIZE).inside("mask_class_encoder")
    width, tokens = encoder.config.hidden_size, encoder.embeddings.num_positions
    hidden = 2 * queries * width**2 + 2 * width * (tokens + queries) * queries
    return (total + joint * hidden * len(encoder.layers)) / 1e9


def open_vocabulary_rows() -> list[dict]:
    """Compares both models with the paper.

    Returns:
        Per model, in GFLOPs: `proposals` at mean width with post-processing (Table 1), `tower` of the official code,
        `total` of both, and what our tower executes; `added` parameters in millions.
    """
    rows = []
    for encoder, (printed, quality, quality_ade20k) in PUBLISHED.items():
        model = open_vocabulary_model(encoder)
        added = sum(p.numel() for part in model.mask_class_encoder.added_modules() for p in part.parameters())
        published = next(row for row in COCO if (row.variant.backbone, row.variant.encoder) == ("R50", encoder))
        proposals, tower = cost_row(published)["mean 1129"], tower_cost(model, joint=True)
        rows.append(
            {
                "model": f"R50 {encoder}",
                "proposals": proposals,
                "tower": tower,
                "total": proposals + tower,
                "paper": printed,
                "deviation %": 100 * ((proposals + tower) / printed - 1),
                "tower executed": tower_cost(model, joint=False),
                "added (M)": added / 1e6,
                "paper PQ": quality,
                "paper PQ ADE20K": quality_ade20k,
            }
        )
    return rows
