# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Published sizes and costs of the zoo's architectures, as data, and the configurations they belong to.

PRO-SCALE (arXiv 2404.14657): Tables 1, 2, 7, T4 and Figure 7. The paper averages COCO's totals over images of different
sizes and takes the encoder's figure from one of them; each figure is therefore also given as the official code counts
it at stated sizes ("counted").
"""

import importlib.util
from dataclasses import dataclass

from hfseg.models.proscale.configuration_proscale import ProScaleConfig

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def swin(embed_dim: int, depths: list[int], num_heads: list[int], window_size: int) -> dict:
    """Describes a Swin backbone with the four maps of a dense model."""
    return {
        "model_type": "swin",
        "embed_dim": embed_dim,
        "depths": depths,
        "num_heads": num_heads,
        "window_size": window_size,
        "drop_path_rate": 0.3,
        "out_features": STAGES,
    }


def resnet(depths: list[int]) -> dict:
    """Describes a bottleneck ResNet in torchvision's layout."""
    return {"model_type": "resnet", "depths": depths, "layer_type": "bottleneck", "out_features": STAGES}


BACKBONES = {
    "Swin-T": swin(96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
    "Swin-S": swin(96, [2, 2, 18, 2], [3, 6, 12, 24], 7),
    "Swin-B": swin(128, [2, 2, 18, 2], [4, 8, 16, 32], 12),
    "Swin-L": swin(192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
    "R50": resnet([3, 4, 6, 3]),
    "R101": resnet([3, 4, 23, 3]),
    # timm's network with attention in windows: no code for this backbone was published. MViTv2's own detectors leave
    # block 2 (the last of stage 2) global too, with which the model counts 195.4 where the paper prints 174.1.
    "MViTv2-T": {
        "model_type": "timm_backbone",
        "backbone": "mvitv2_tiny",
        "use_pretrained_backbone": False,
        "out_indices": [0, 1, 2, 3],
        "window_size": 56,
        "global_blocks": [7, 9],
    },
}
ENCODER_NAMES = {"full": "M2F", "lite": "Lite-M2F", "lite-lpe": "Lite-M2F with LPE", "hybrid": "RT-M2F"}
# Encoder's name in tables -> fields of `ProScaleConfig`.
ENCODER_FIELDS: dict[str, dict[str, str]] = {
    "full": {"encoder": "full"},
    "lite": {"encoder": "lite"},
    "lite-lpe": {"encoder": "lite", "lpe": "max"},
    "hybrid": {"encoder": "hybrid"},
}
NUM_CLASSES = {"coco": 133, "cityscapes": 19}


@dataclass(frozen=True)
class Variant:
    """One model of PRO-SCALE's tables.

    Attributes:
        backbone: Key of `BACKBONES`.
        encoder: `"(p1,p2,p3)"` of the progressive encoder, `"full"` for Mask2Former's, `"lite"` or `"lite-lpe"` for
            Lite-M2F's, `"hybrid"` for RT-M2F's.
        dataset: `"coco"` or `"cityscapes"`: number of classes, and whether batch normalization is frozen (COCO).
    """

    backbone: str
    encoder: str
    dataset: str

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.backbone} {ENCODER_NAMES.get(self.encoder, self.encoder)}"

    def config(self) -> ProScaleConfig:
        """Builds the configuration."""
        return ProScaleConfig(  # type: ignore[call-arg]
            backbone_config=dict(BACKBONES[self.backbone]),
            num_queries=200 if self.backbone == "Swin-L" else 100,
            freeze_batch_norm=self.dataset == "coco",
            num_labels=NUM_CLASSES[self.dataset],
            **encoder_fields(self.encoder),
        )


def encoder_fields(encoder: str) -> dict:
    """Translates an encoder's name in tables to fields of `ProScaleConfig`.

    Raises:
        ValueError: If it is neither `full`, `lite`, `lite-lpe`, `hybrid` nor three counts such as `3,3,3`.
    """
    if encoder in ENCODER_FIELDS:
        return dict(ENCODER_FIELDS[encoder])
    counts = encoder.strip("()").split(",")
    if len(counts) != 3 or not all(count.strip().isdigit() for count in counts):
        raise ValueError(
            f"{encoder!r} names no encoder: give full, lite, lite-lpe, hybrid or three layer counts such as 3,3,3."
        )
    return {"encoder_stage_layers": tuple(int(count) for count in counts)}


@dataclass(frozen=True)
class PublishedCost:
    """Published figures of a variant; None where nothing was published or counted.

    Attributes:
        variant: The model.
        total: GFLOPs of the whole model with post-processing, as printed.
        encoder: GFLOPs of the pixel decoder, as printed.
        counted: Total GFLOPs that the official code gives, per padded input width (COCO: 1088, 1216, 1344, height 800;
            Cityscapes: 2048, height 1024).
        encoder_counted: The same of the pixel decoder.
        encoder_width: Width of the image behind `encoder`.
        parameters: Millions, as printed or measured on the official code.
    """

    variant: Variant
    total: float | None
    encoder: float | None
    counted: dict[int, float]
    encoder_counted: float | None
    encoder_width: int
    parameters: float | None


def _coco(backbone, encoder, total, at_1088, at_1216, at_1344, tx, tx_counted, width, parameters=None):
    counted = {1088: at_1088, 1216: at_1216, 1344: at_1344}
    return PublishedCost(
        Variant(backbone, encoder, "coco"),
        total,
        tx,
        {size: value for size, value in counted.items() if value is not None},
        tx_counted,
        width,
        parameters,
    )


def _cityscapes(backbone, encoder, total, counted, tx, tx_counted, parameters):
    variant = Variant(backbone, encoder, "cityscapes")
    return PublishedCost(variant, total, tx, {} if counted is None else {2048: counted}, tx_counted, 2048, parameters)


COCO = [
    _coco("Swin-T", "full", 234.50, 226.48, 252.09, 278.58, 117.00, 116.68, 1088, 47.435),
    # Lite-M2F: totals are the paper's means; what the plan counts at single widths is not published.
    _coco("Swin-T", "lite", 188.0, None, None, None, 79.78, 79.78, 1216),
    _coco("Swin-T", "lite-lpe", 154.6, None, None, None, 43.92, 43.92, 1216),
    _coco("Swin-T", "hybrid", 158.30, None, None, None, 59.66, None, 1216),
    _coco("Swin-T", "(1,1,1)", 137.10, 132.69, 147.26, 162.72, 22.89, 22.885, 1088, 44.575),
    _coco("Swin-T", "(2,2,2)", 154.40, 149.33, 165.86, 183.28, 39.53, 39.530, 1088, 46.698),
    _coco("Swin-T", "(3,3,3)", 171.70, 165.98, 184.46, 203.84, 56.18, 56.175, 1088, 48.820),
    _coco("Swin-T", "(3,1,1)", 138.7, None, 148.55, None, 26.87, 26.874, 1216),
    _coco("Swin-T", "(1,3,1)", 143.8, None, 153.97, None, 32.29, 32.294, 1216),
    _coco("Swin-T", "(1,1,3)", 164.7, None, 176.45, None, 54.77, 54.770, 1216),
    _coco("R50", "full", 229.10, 220.64, 245.46, 272.25, 135.00, 135.08, 1216, 43.984),
    _coco("R50", "(1,1,1)", 131.40, 126.84, 140.63, 156.39, 30.25, 30.246, 1216, 41.124),
    _coco("R50", "(2,2,2)", 148.8, 143.49, 159.23, 176.95, 48.85, 48.850, 1216, 43.246),
    _coco("R50", "(3,3,3)", 166.1, 160.13, 177.83, 197.51, 67.45, 67.453, 1216, 45.369),
    _coco("R50", "(1,1,3)", 158.6, None, 169.82, None, 59.44, 59.439, 1216),
    # Table 6. (3,3,3) is not the paper's.
    _coco("MViTv2-T", "full", 244.6, None, None, None, 130.00, None, 1216),
    _coco("MViTv2-T", "(1,1,3)", 174.1, None, None, None, 54.77, None, 1216),
    _coco("MViTv2-T", "(3,3,3)", None, None, None, None, None, None, 1216),
]
CITYSCAPES = [
    _cityscapes("Swin-T", "full", 537.8, 537.85, 281, 281.13, 47.41),
    _cityscapes("Swin-T", "lite", 428.7, 428.71, 172.00, 171.99, None),
    _cityscapes("Swin-T", "lite-lpe", 351.4, 351.40, 94.69, 94.68, None),
    _cityscapes("Swin-T", "hybrid", 361.1, None, 130.00, None, None),
    _cityscapes("Swin-T", "(1,1,1)", 311.9, 311.86, 55.14, 55.14, 44.55),
    _cityscapes("Swin-T", "(2,2,2)", 352.0, 351.96, 95.24, 95.24, 46.67),
    _cityscapes("Swin-T", "(3,3,3)", 392.1, 392.07, 135, 135.35, 48.79),
    _cityscapes("Swin-T", "(3,1,1)", 314.7, 314.65, 57.93, 57.93, 45.91),
    _cityscapes("Swin-T", "(1,3,1)", 326.3, 326.34, 69.62, 69.62, 45.96),
    _cityscapes("Swin-T", "(1,1,3)", 374.8, 374.79, 118, 118.07, 46.01),
    _cityscapes("R50", "full", 524.1, 524.11, 291, 291.20, 44.01),
    _cityscapes("R50", "(1,1,1)", 298.1, 298.12, 65.21, 65.20, 41.15),
    _cityscapes("R50", "(2,2,2)", 338.2, 338.23, 105, 105.31, 43.27),
    _cityscapes("R50", "(3,3,3)", 378.3, 378.33, 145, 145.41, 45.39),
    _cityscapes("Swin-S", "full", 724.3, 724.29, 281, 281.13, 68.72),
    _cityscapes("Swin-S", "(3,3,3)", 578.5, 578.51, 135, 135.35, 70.11),
    _cityscapes("Swin-B", "full", 1051.2, 1051.19, 283, 283.14, 106.89),
    _cityscapes("Swin-B", "(3,3,3)", 905.4, 905.41, 137, 137.36, 108.27),
    _cityscapes("Swin-L", "full", 1949.7, 1949.70, 287, 287.17, 215.51),
    _cityscapes("Swin-L", "(3,3,3)", 1803.9, 1803.91, 141, 141.39, 216.89),
    _cityscapes("R101", "full", 679.7, 679.70, 291, 291.20, 63.00),
    _cityscapes("R101", "(3,3,3)", 533.9, 533.92, 145, 145.41, 64.38),
]


def buildable(rows: list[PublishedCost]) -> list[PublishedCost]:
    """Leaves out rows whose backbone comes from timm where timm is not installed."""
    timm = importlib.util.find_spec("timm") is not None
    return [row for row in rows if timm or BACKBONES[row.variant.backbone]["model_type"] != "timm_backbone"]


# Size of the image, (height, width), behind each padded width: 800 x 1088 comes from 480 x 640 and so on.
PADDED_HEIGHT = {1088: 800, 1216: 800, 1344: 800, 2048: 1024}
OUTPUT_SIZE = {1088: (480, 640), 1216: (427, 640), 1344: (480, 800), 2048: (1024, 2048)}
# One padded width at which all of COCO's published totals, means over images, are met.
MEAN_WIDTH = 1129
# Swin-T (3,3,3) at 800 x 1088, part by part, in GFLOPs.
BREAK_DOWN = {
    "backbone": 81.30,
    "encoder layers": 49.94,
    "input projections": 1.19,
    "lateral projection": 1.41,
    "light pixel embedding": 0.07,
    "mask features": 3.57,
    "mask decoder": 23.88,
    "resizing and semantic map": 4.56,
}
