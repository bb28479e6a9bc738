# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Computational cost of the published models, counted as the paper's tables count, and as our forward executes.

The convention is that of fvcore's default handles, which detectron2's tools use: one multiply-add is one FLOP;
convolutions, linear layers and matrix products count, layer and group normalization count 5, batch normalization at
fixed statistics 2 and bilinear resizing 4 per element. Not counted: deformable sampling (an opaque operator), the
product of queries and keys in masked attention (fused with the mask), softmax, element-wise operations, pooling.

Two figures come out of one run on the meta device, which computes shapes only:

- *published architecture*: what the official code is counted at. Where our forward reaches the same numbers with less
  work, the authors' work is added analytically and ours taken out (`published_masks`). The total includes
  post-processing: masks resized to the padded input, cropped, resized to the image, and summed to a semantic map.
- *executed*: what our forward runs, with both products of every attention, without post-processing. Deformable sampling
  is given on its own (`sampling_flops`).
"""

import math
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

from .parameters import build_on_meta
from .published import (
    BREAK_DOWN,
    CITYSCAPES,
    COCO,
    MEAN_WIDTH,
    OUTPUT_SIZE,
    PADDED_HEIGHT,
    PublishedCost,
    Variant,
    buildable,
)

NOTES = [
    "GFLOPs, one multiply-add = one FLOP, convention of fvcore's default handles; see scripts/benchmarks/flops.py.",
    "total: published architecture with post-processing, at the padded width given (height 800, Cityscapes 1024). Ten "
    "full-size masks per image and their resizing are added analytically where our forward makes one.",
    "counted: the official code under fvcore. paper: as printed; COCO's totals are means, met at one width.",
    "encoder: the whole pixel decoder but its upsampling ('Tx. Enc.'), at the width of the image behind the paper's.",
    "executed: our forward, all of its products, without post-processing; deformable sampling has its own column.",
    "MViTv2-T: timm's network with attention in windows of 56 tokens at stride 4, global in blocks 7 and 9 (left out "
    "where timm is not installed); the paper does not state its windows.",
    "RT-M2F: RT-DETR's hybrid encoder with masks at stride 8, which its printed costs imply.",
    "Lite-M2F: appendix A's (5+1)x1 plan: five layers update s4 and s3, one updates all; every layer attends all.",
]

aten = torch.ops.aten


def _product(a, b, *args, out_shape=None, **kwargs) -> int:
    return math.prod(a) * b[-1]


def _biased_product(bias, a, b, *args, out_shape=None, **kwargs) -> int:
    return math.prod(a) * b[-1]


def _convolution(x, weight, *args, out_shape=None, **kwargs) -> int:
    return out_shape[0] * math.prod(out_shape[2:]) * math.prod(weight)


def _resize(x, *args, out_shape=None, **kwargs) -> int:
    return 4 * math.prod(out_shape)


def _normalization(x, *args, **kwargs) -> int:
    return 5 * math.prod(x)


def _fixed_normalization(x, *args, **kwargs) -> int:
    return 2 * math.prod(x)


# Operator -> rule; each gets shapes in place of tensors.
RULES = {
    aten.mm: _product,
    aten.bmm: _product,
    aten.addmm: _biased_product,
    aten.baddbmm: _biased_product,
    aten.convolution: _convolution,
    aten._convolution: _convolution,
    aten.upsample_bilinear2d: _resize,
    aten.native_layer_norm: _normalization,
    aten.native_group_norm: _normalization,
    aten.native_batch_norm: _fixed_normalization,
    aten._native_batch_norm_legit_no_training: _fixed_normalization,
    aten.cudnn_batch_norm: _fixed_normalization,
}


class Counts:
    """FLOPs of one forward pass, by module name.

    Args:
        by_module: `FlopCounterMode.get_flop_counts()`: names start with the class of the root.
        root: That class's name.
    """

    def __init__(self, by_module: dict[str, dict], root: str):
        self.totals = {
            name.removeprefix(root).lstrip("."): sum(counts.values())
            for name, counts in by_module.items()
            if name != "Global"
        }

    def inside(self, name: str) -> int:
        """Sums what a module and everything in it counts; 0 for one that counted nothing."""
        return self.totals.get(name, 0)

    def own(self, name: str) -> int:
        """Sums what a module's own forward counts, outside the modules it calls (containers are never called)."""

        def caller(child: str) -> str:
            while child:
                child = child.rpartition(".")[0]
                if child in self.totals:
                    return child
            return ""

        return self.inside(name) - sum(total for child, total in self.totals.items() if child and caller(child) == name)

    def matching(self, ending: str) -> int:
        """Sums the own counts of all modules whose names end so."""
        return sum(self.own(name) for name in self.totals if name.endswith(ending))


def count(model: ProScaleForUniversalSegmentation, height: int, width: int, batch_size: int = 1) -> Counts:
    """Counts one inference pass on the model's device; on meta, nothing is computed.

    The model must use `eager` attention: fused attention is one operator.
    """
    # The counter's module hooks want no leaf that asks for gradients.
    model = model.eval().requires_grad_(False)
    pixel_values = torch.empty(batch_size, 3, height, width, device=next(model.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=RULES) as counter:
        model(pixel_values)
    return Counts(counter.get_flop_counts(), type(model).__name__)


@dataclass(frozen=True)
class Cost:
    """Cost of one model at one size, in GFLOPs of the convention above.

    Attributes:
        total: Published architecture, with post-processing.
        encoder: Its pixel decoder, as the column "Tx. Enc." counts it: without the upsampling to stride 4.
        parts: `total`, part by part.
        executed: Our forward, without post-processing and without `sampling`.
        sampling: Interpolation and weighted sums of deformable attention, in neither total.
    """

    total: float
    encoder: float
    parts: dict[str, float]
    executed: float
    sampling: float


def level_lengths(height: int, width: int) -> list[int]:
    """Counts the tokens of s4, s3, s2; a side is halved rounding up."""
    return [math.ceil(height / stride) * math.ceil(width / stride) for stride in (32, 16, 8)]


def published_masks(config, height: int, width: int) -> int:
    """Counts masks as the authors' decoder makes them.

    At full size before the first and after every layer, each but the last resized to the level that the next layer
    attends. Ours resizes the pixel embedding once per level instead.
    """
    lengths = level_lengths(height, width)
    # RT-M2F's masks are those of the hybrid encoder's finest map.
    pixels = lengths[2] if config.encoder == "hybrid" else math.ceil(height / 4) * math.ceil(width / 4)
    products = (config.decoder_layers + 1) * config.num_queries * pixels * config.mask_feature_size
    return products + sum(4 * config.num_queries * lengths[layer % 3] for layer in range(config.decoder_layers))


def post_processing(config, height: int, width: int, output_size: tuple[int, int]) -> int:
    """Counts what the authors' evaluation adds: two resizes of all masks and the sum over queries per class."""
    out_pixels = math.prod(output_size)
    return config.num_queries * (4 * height * width + 4 * out_pixels + config.num_labels * out_pixels)


def sampling_flops(config, height: int, width: int) -> int:
    """Counts deformable sampling: per head channel and point four corners are multiplied and added, then weighted."""
    lengths = level_lengths(height, width)
    points = sum(sum(lengths[start:stop]) * attended for start, stop, attended in config.layer_plan)
    return points * config.encoder_num_points * config.feature_size * 5


def cost(variant: Variant, width: int, model: ProScaleForUniversalSegmentation | None = None) -> Cost:
    """Counts one model at a padded width of the tables."""
    model = build_on_meta(variant) if model is None else model
    config, height = model.config, PADDED_HEIGHT[width]
    counts = count(model, height, width)
    whole = counts.inside("")
    pixel_decoder, decoder = "model.pixel_decoder", "model.mask_decoder.decoder"
    embedding = f"{pixel_decoder}.light_pixel_embedding"
    hybrid = config.encoder == "hybrid"
    # The hybrid encoder's pixel embedding is resized to stride 4 by us alone.
    resized = counts.own(pixel_decoder) if hybrid else 0
    upsampling = counts.own(embedding) if not hybrid else resized
    encoder = counts.inside(pixel_decoder) - upsampling
    # The two products of masked attention are equally large; the first is fused with the mask and escapes fvcore.
    masked_scores = counts.matching(".cross_attn") // 2
    # Steering masks and resized pixel embeddings, and the one full mask: replaced by the authors' ten masks.
    replaced = counts.own(decoder) + counts.own("model")
    published_decoder = (
        counts.inside(decoder)
        + counts.inside("class_predictor")
        - counts.own(decoder)
        - masked_scores
        + published_masks(config, height, width)
    )
    output = post_processing(config, height, width, OUTPUT_SIZE[width])
    layers = sum(counts.inside(f"{pixel_decoder}.layers.{index}") for index in range(len(config.layer_plan)))
    projections = sum(counts.inside(f"{pixel_decoder}.input_projections.{level}") for level in range(3))
    parts = {
        "backbone": counts.inside("model.backbone"),
        "encoder layers": layers,
        "token recalibration": counts.inside(f"{pixel_decoder}.token_recalibration"),
        "input projections": projections,
        "lateral projection": counts.inside(f"{embedding}.lateral"),
        "light pixel embedding": counts.inside(f"{embedding}.mix") + counts.inside(f"{embedding}.norm"),
        "mask features": counts.inside(f"{embedding}.projection") + counts.inside(f"{pixel_decoder}.mask_projection"),
        "intra-scale attention": counts.inside(f"{pixel_decoder}.intra_scale"),
        "fusion across scales": sum(
            counts.inside(f"{pixel_decoder}.{part}.{level}")
            for part in ("laterals", "top_down", "downsamplings", "bottom_up")
            for level in range(2)
        ),
        "upsampling to stride 4": upsampling - resized,
        "mask decoder": published_decoder,
        "resizing and semantic map": output,
    }
    total = sum(parts.values())
    assert total == whole - resized - replaced - masked_scores + published_masks(config, height, width) + output
    return Cost(
        total=total / 1e9,
        encoder=encoder / 1e9,
        parts={part: flops / 1e9 for part, flops in parts.items() if flops},
        executed=whole / 1e9,
        sampling=sampling_flops(config, height, width) / 1e9,
    )


def deviation(ours: float, reference: float | None) -> float | None:
    """Computes by how many percent a figure differs from a reference."""
    return None if reference is None else 100 * (ours / reference - 1)


def cost_row(published: PublishedCost) -> dict:
    """Counts one model at every size of its table; deviations compare with the official code at the same size."""
    variant = published.variant
    model = build_on_meta(variant)
    widths = (1088, 1216, 1344) if variant.dataset == "coco" else (2048,)
    costs = {width: cost(variant, width, model) for width in widths}
    row: dict = {"data": variant.dataset, "model": variant.name}
    for width, value in costs.items():
        row[f"total {width}"] = value.total
        row[f"counted {width}"] = published.counted.get(width)
    deviations = [deviation(costs[width].total, counted) for width, counted in published.counted.items()]
    row["worst deviation %"] = max(deviations, key=lambda value: abs(value or 0.0), default=None)
    if variant.dataset == "coco":
        share = (MEAN_WIDTH - 1088) / (1216 - 1088)
        mean = (1 - share) * costs[1088].total + share * costs[1216].total
        row[f"mean {MEAN_WIDTH}"] = mean
    else:
        mean = costs[2048].total
    row["paper total"] = published.total
    row["paper deviation %"] = deviation(mean, published.total)
    at = costs[published.encoder_width]
    row["encoder"], row["encoder counted"], row["encoder paper"] = (
        at.encoder,
        published.encoder_counted,
        published.encoder,
    )
    row["encoder deviation %"] = deviation(at.encoder, published.encoder_counted)
    row["encoder width"] = published.encoder_width
    first = costs[widths[0]]
    row[f"executed {widths[0]}"] = first.executed
    row[f"sampling {widths[0]}"] = first.sampling
    return row


def cost_tables(data: str | None = None) -> dict[str, list[dict]]:
    """Regenerates PRO-SCALE's cost tables, a break-down, detection, open vocabulary; of one dataset alone too."""
    tables: dict[str, list[dict]] = {}
    if data in (None, "coco"):
        tables["coco"] = [cost_row(published) for published in buildable(COCO)]
    if data in (None, "cityscapes"):
        tables["cityscapes"] = [cost_row(published) for published in CITYSCAPES]
    if data is None:
        parts = cost(Variant("Swin-T", "(3,3,3)", "coco"), 1088).parts
        tables["break-down"] = [
            {"part": part, "GFLOPs": value, "counted": BREAK_DOWN.get(part)} for part, value in parts.items()
        ]
        # They count by this module.
        from .detection_cost import detection_rows
        from .open_vocabulary_cost import open_vocabulary_rows

        tables["detection"] = detection_rows()
        tables["open vocabulary"] = open_vocabulary_rows()
    return tables
