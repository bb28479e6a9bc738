# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cost of PRO-SCALE's detector and of its baseline DINO: the encoder column of the paper's Table T1.

The convention is that of `flops.py`. The paper prints "encoder" GFLOPs, but neither the module nor the image. Both of
its figures are met within 1 % by the transformer as a whole (encoder, anchor selection and decoder, without the
projections before and the last predictors after it) on the image behind its other R50 figures, 800 x 1199 pixels,
unpadded as in DINO: their difference fixes the number of tokens (53.0; counted 52.7), and the rest the parts that both
have. Where our forward does less than DINO (boxes of chosen tokens only, not of all), DINO's work is added.
"""

import math

import torch

from hfseg.models.proscale.configuration_proscale import ProScaleConfig
from hfseg.models.proscale.detection_proscale import ProScaleForObjectDetection

from .flops import count
from .published import BACKBONES

SIZE = (800, 1199)  # of an image of 427 x 640
# Encoder -> the paper's GFLOPs and box AP (COCO val, ResNet-50, 12 epochs).
PUBLISHED = {"full": (179.0, 49.0), "(3,3,3,3)": (126.0, 49.4)}
NOTES = [
    "GFLOPs, one multiply-add = one FLOP, fvcore's default handles; see scripts/benchmarks/detection_cost.py.",
    "transformer: encoder, anchor selection (boxes of all tokens, as DINO) and decoder, at 800 x 1199; the paper calls "
    "it the encoder. layers: the encoder's alone.",
]


def detector(encoder: str) -> ProScaleForObjectDetection:
    """Builds the detector of the table on the meta device, with `"full"` or the progressive encoder."""
    fields = {"encoder": "full"} if encoder == "full" else {}
    config = ProScaleConfig(  # type: ignore[call-arg]
        backbone_config=dict(BACKBONES["R50"]),
        encoder_stage_layers=(3, 3, 3, 3),
        encoder_feedforward_dim=2048,
        position_temperature=20,
        decoder_layers=6,
        num_queries=900,
        freeze_batch_norm=True,
        num_labels=80,
        **fields,
    )
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return ProScaleForObjectDetection(config)


def detection_cost(encoder: str, size: tuple[int, int] = SIZE) -> dict[str, float]:
    """Counts one model.

    Returns:
        In GFLOPs: `transformer`, encoder `layers`, what our forward executes (`executed`); `parameters` in millions.
    """
    model = detector(encoder)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    counts, config = count(model, *size), model.config
    layers = sum(counts.inside(f"model.encoder.layers.{index}") for index in range(len(config.layer_plan)))
    layers += counts.inside("model.encoder.token_recalibration")
    selection = counts.inside("model.anchor_selection")
    tokens = sum(math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in (8, 16, 32, 64))
    boxes = counts.inside("model.anchor_selection.box_predictor")
    selection += boxes * tokens // config.num_queries - boxes
    decoder = counts.inside("model.decoder")
    # Boxes are predicted twice per layer here, once of normalized queries, which DINO does after the transformer.
    decoder -= (
        counts.inside("model.decoder.decoder.box_predictor")
        * (config.decoder_layers - 1)
        // (2 * config.decoder_layers - 1)
    )
    return {
        "transformer": (layers + selection + decoder) / 1e9,
        "layers": layers / 1e9,
        "executed": counts.inside("") / 1e9,
        "parameters": parameters / 1e6,
    }


def detection_rows() -> list[dict]:
    """Compares both models with the paper."""
    rows = []
    for encoder, (printed, box_ap) in PUBLISHED.items():
        found = detection_cost(encoder)
        deviation = 100 * (found["transformer"] / printed - 1)
        rows.append(
            {"model": f"R50 {encoder}", **found, "paper": printed, "deviation %": deviation, "paper AP": box_ap}
        )
    return rows
