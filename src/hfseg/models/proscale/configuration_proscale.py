# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of PRO-SCALE."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import consolidate_backbone_kwargs_to_config

from ...files.bounds import check_counts
from ..mask_options import MaskDecoderConfig
from ..plain_vit import plain_patch_size
from ..sub_configs import SubConfigSpec

DEFAULT_BACKBONE = {
    "depths": [2, 2, 6, 2],
    "drop_path_rate": 0.3,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
PYRAMIDS = ("simple",)
ENCODERS = ("progressive", "full", "lite", "hybrid")
TRC_VARIANTS = ("linear", "conv", "none")
TRC_LAYOUTS = ("raw", "spatial")
LPE_VARIANTS = ("max", "average", "conv")
# Norm and convolution variants that follow from the choice of the encoder unless given.
ENCODER_DEFAULTS = {
    "progressive": {"trc": "linear", "lpe": "max"},
    "full": {"trc": "none", "lpe": "conv"},
    "lite": {"trc": "none", "lpe": "conv"},
    "hybrid": {"trc": "none", "lpe": "conv"},
}


@strict
class ProScaleConfig(MaskDecoderConfig):
    r"""
    Configuration of PRO-SCALE (Aich et al., "Progressive Token Length Scaling in Transformer Encoders for Efficient
    Universal Segmentation", ICLR 2025) and of the two encoders that the paper compares with. The defaults are the
    published Swin-T model for COCO panoptic segmentation, (p1, p2, p3) = (3, 3, 3).

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*):
            Any backbone with four maps at strides 4, 8, 16 and 32, or with `backbone_pyramid` a plain ViT. Defaults to
            Swin-T.
        backbone_pyramid (`str`, *optional*):
            `"simple"` makes the four maps of a plain ViT's last one: the simple feature pyramid of ViTDet (Li et al.,
            "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022), `feature_size` channels
            wide. Strides follow the patch: 3.5, 7, 14 and 28 for patches of 14. The ViT is DINOv3, DINOv2, BEiT, ...
            or one of timm; images are padded to its patches inside. Of several maps the last one is taken.
        timm_kwargs (`dict`, *optional*):
            Arguments of `timm.create_model` that `TimmBackboneConfig` does not keep, such as `patch_size`, `img_size`,
            `dynamic_img_size`, `drop_path_rate`.
        encoder (`str`, defaults to `"progressive"`):
            `"progressive"` is PRO-SCALE: `encoder_stage_layers` layers on s4, then on s4 and s3, then on all tokens.
            `"full"` is Mask2Former: `encoder_layers` layers on all tokens, no recalibration, a 3x3 convolution in the
            pixel embedding. `"lite"` is the paper's Lite-M2F (appendix A), Lite-DETR's interleaved updates (Li et al.,
            CVPR 2023) as "(5+1)x1" without key-aware attention: `encoder_layers` layers in `encoder_blocks` equal
            blocks; the last layer of a block updates all tokens, the others s4 and s3 only, and every layer attends
            all tokens. `lpe="max"` makes it the paper's Lite-M2F with LPE (Table 5). `"hybrid"` is the paper's RT-M2F:
            RT-DETR's encoder, attention on s4 and convolutional fusion of s4, s3 and s2; the pixel embedding comes from
            its finest map, and `lpe` has no effect.
        encoder_stage_layers (`tuple[int, ...]`, defaults to `(3, 3, 3)`):
            The paper's (p1, p2, p3). Its length is the number of scales, whatever the encoder: three for masks; the
            detector may have four, (p1, p2, p3, p4), of which the first is at stride 64.
        encoder_layers (`int`, defaults to 6):
            Layers of the `"full"` and of the `"lite"` encoder.
        encoder_blocks (`int`, defaults to 1):
            Blocks of the `"lite"` encoder; divides `encoder_layers`.
        encoder_feedforward_dim (`int`, defaults to 1024):
            Hidden units of the encoder layers.
        encoder_attention_heads (`int`, *optional*):
            Heads of the deformable attention. Defaults to `num_attention_heads`.
        encoder_num_points (`int`, defaults to 4):
            Points per head and level of the deformable attention.
        position_temperature (`float`, defaults to 10000):
            Temperature of the encoder's sine position code; DINO's detector has 20.
        trc (`str`, *optional*):
            Token recalibration, which gates the tokens of s4 and s3 by a map of s2: `"linear"` (published), `"conv"`
            or `"none"`. Defaults to `"linear"` for the progressive encoder, else `"none"`.
        trc_temperature (`float`, defaults to 0.1):
            Factor before the gate's sigmoid.
        trc_layout (`str`, defaults to `"raw"`):
            `"raw"` reinterprets the token-major memory of s2 as a channel-major map, as the official code does and the
            released weights need. `"spatial"` transposes, so that a token is gated by s2 at its own place.
        trc_residual (`bool`, defaults to `False`):
            Adds the recalibrated tokens, as they entered, after every layer of the first two stages.
        lpe (`str`, *optional*):
            Light pixel embedding: 3x3 `"max"` (published) or `"average"` pooling, or Mask2Former's 3x3 `"conv"`.
            Defaults to `"max"` for the progressive encoder, else `"conv"`.
        freeze_batch_norm (`bool`, defaults to `False`):
            Keeps batch normalization of the backbone at its stored statistics and freezes its affine values, as the
            authors do with ResNet on COCO.
        decoder_num_points (`int`, defaults to 4):
            Detection: points per head and scale of the box decoder's deformable attention.
        num_denoising_queries (`int`, defaults to 100):
            Detection: noised ground-truth boxes of each kind (to be restored, to be rejected) per image in training;
            0 turns contrastive denoising off.
        label_noise_ratio (`float`, defaults to 0.5):
            Detection: twice the share of noised boxes that get a random class.
        box_noise_scale (`float`, defaults to 1.0):
            Detection: largest shift of a corner of a box to be restored, in halves of the box's sides; boxes to be
            rejected are shifted by once to twice as much.
        box_class_weight, box_weight, giou_weight (`float`, defaults to 1, 5, 2):
            Detection: weights of the focal, the L1 and the generalized-IoU loss.
        box_class_cost (`float`, defaults to 2.0):
            Detection: weight of the focal cost in matching; those of boxes are `box_weight` and `giou_weight`.
        init_std (`float`, defaults to 0.02):
            Standard deviation of layers that have no rule of their own.
        kwargs:
            Fields of the mask decoder and of its losses, see `MaskDecoderConfig`, and of every configuration.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for values outside the lists
            above, wrong types, stages that are not three non-negative counts, a plain ViT without pyramid, or a
            pyramid on a backbone that has strides of its own.

    Example:

    ```python
    >>> from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation

    >>> configuration = ProScaleConfig(
    ...     backbone_config={"model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8],
    ...                      "window_size": 4, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
    ...     encoder_stage_layers=(1, 1, 1), feature_size=32, mask_feature_size=32, hidden_size=32,
    ...     num_attention_heads=4, decoder_layers=2, dim_feedforward=64, encoder_feedforward_dim=64, num_queries=10,
    ... )
    >>> model = ProScaleForUniversalSegmentation(configuration)

    ```
    """

    model_type = "proscale"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = [
        "loss_dict",
        "auxiliary_logits",
        "pixel_embedding",
        "hidden_states",
        "attentions",
        "cross_attentions",
        "encoder_hidden_states",
        "encoder_attentions",
        "gates",
    ]
    if SubConfigSpec is None:
        sub_configs = {"backbone_config": AutoConfig}
    else:
        sub_configs_defaults = {
            "backbone_config": SubConfigSpec(
                config_class=AutoConfig, model_type="swin", init_kwargs=dict(DEFAULT_BACKBONE)
            )
        }

    backbone_config: dict | PreTrainedConfig | None = None
    backbone_pyramid: str | None = None
    timm_kwargs: dict | None = None
    encoder: str = "progressive"
    encoder_stage_layers: list[int] | tuple[int, ...] = (3, 3, 3)
    encoder_layers: int = 6
    encoder_blocks: int = 1
    encoder_feedforward_dim: int = 1024
    encoder_attention_heads: int | None = None
    encoder_num_points: int = 4
    position_temperature: float | int = 10000.0
    trc: str | None = None
    trc_temperature: float | int = 0.1
    trc_layout: str = "raw"
    trc_residual: bool = False
    lpe: str | None = None
    freeze_batch_norm: bool = False
    decoder_num_points: int = 4
    num_denoising_queries: int = 100
    label_noise_ratio: float | int = 0.5
    box_noise_scale: float | int = 1.0
    box_class_weight: float | int = 1.0
    box_weight: float | int = 5.0
    giou_weight: float | int = 2.0
    box_class_cost: float | int = 2.0
    init_std: float | int = 0.02

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        if SubConfigSpec is None:
            self.backbone_config, kwargs = consolidate_backbone_kwargs_to_config(
                backbone_config=self.backbone_config,
                default_config_type="swin",
                default_config_kwargs=dict(DEFAULT_BACKBONE),
                **kwargs,
            )
        # An unknown encoder is left to the validation below, whose message lists the legal ones.
        defaults = ENCODER_DEFAULTS.get(self.encoder, ENCODER_DEFAULTS["progressive"])
        self.trc = defaults["trc"] if self.trc is None else self.trc
        self.lpe = defaults["lpe"] if self.lpe is None else self.lpe
        if self.encoder_attention_heads is None:
            self.encoder_attention_heads = self.num_attention_heads
        super().__post_init__(**kwargs)

    @property
    def num_feature_levels(self) -> int:
        """Scales that the encoder sees."""
        return len(self.encoder_stage_layers)

    @property
    def layer_plan(self) -> list[tuple[int, int, int]]:
        """Lists per layer `(start, stop, attended)`: levels `start..stop-1` are updated, `0..attended-1` attended.

        Levels are counted coarse to fine: of three, 0 is s4, 1 is s3, 2 is s2. The hybrid encoder has no such layers.
        """
        levels = self.num_feature_levels
        if self.encoder == "hybrid":
            return []
        if self.encoder == "full":
            return [(0, levels, levels)] * self.encoder_layers
        if self.encoder == "lite":
            coarse = self.encoder_layers // self.encoder_blocks - 1
            return ([(0, levels - 1, levels)] * coarse + [(0, levels, levels)]) * self.encoder_blocks
        return [(0, stage, stage) for stage, count in enumerate(self.encoder_stage_layers, 1) for _ in range(count)]

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        for name, legal in (
            ("encoder", ENCODERS),
            ("trc", TRC_VARIANTS),
            ("trc_layout", TRC_LAYOUTS),
            ("lpe", LPE_VARIANTS),
        ):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: choose one of {', '.join(legal)}.")
        stages = tuple(self.encoder_stage_layers)
        if len(stages) not in (3, 4) or any(isinstance(n, bool) or n < 0 for n in stages) or sum(stages) == 0:
            raise ValueError(
                f"encoder_stage_layers={stages} is not a (p1, p2, p3): give three non-negative layer counts (boxes: "
                "three or four), at least one of them positive, for example (3, 3, 3)."
            )
        for name in ("label_noise_ratio", "box_noise_scale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        for name in ("position_temperature", "decoder_num_points"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0.")
        if self.encoder != "progressive" and self.trc != "none":
            raise ValueError(
                f"trc={self.trc!r} recalibrates the inputs of the progressive stages, which encoder={self.encoder!r} "
                'does not have: leave trc unset or set it to "none".'
            )
        if self.encoder == "lite" and (self.encoder_blocks < 1 or self.encoder_layers % self.encoder_blocks):
            raise ValueError(
                f"encoder_layers={self.encoder_layers} cannot be divided into encoder_blocks={self.encoder_blocks} "
                "equal blocks."
            )
        if self.feature_size % (self.encoder_attention_heads or 1):
            raise ValueError(
                f"feature_size={self.feature_size} must be a multiple of encoder_attention_heads="
                f"{self.encoder_attention_heads}."
            )
        self._validate_backbone()

    def _validate_backbone(self):
        """Checks that the backbone gives what the pixel decoder needs, or a plain map where a pyramid is asked for."""
        backbone: Any = self.backbone_config
        kind = getattr(backbone, "model_type", None)
        patch_size = plain_patch_size(backbone)
        if self.timm_kwargs and kind != "timm_backbone":
            raise ValueError(
                f"timm_kwargs={self.timm_kwargs} are for a timm_backbone, but backbone_config is a {kind!r}: leave "
                "them out, or set the fields of backbone_config."
            )
        if self.backbone_pyramid is not None:
            if self.backbone_pyramid not in PYRAMIDS:
                raise ValueError(
                    f"backbone_pyramid={self.backbone_pyramid!r} is not known: it must be one of "
                    f"{', '.join(PYRAMIDS)}, or None for backbones with four strides of their own."
                )
            if patch_size is None and kind != "timm_backbone":
                raise ValueError(has_stages(repr(kind)))
            if getattr(backbone, "reshape_hidden_states", True) is False:
                raise ValueError(
                    "backbone_config.reshape_hidden_states=False gives tokens, and a pyramid is made of maps: set it "
                    "to True."
                )
            if patch_size is not None:
                check_strides_of_options(self, patch_size)
            return
        if patch_size is not None:
            raise ValueError(has_one_stride(repr(kind), patch_size))
        outputs = getattr(backbone, "out_features", None) or getattr(backbone, "out_indices", None)
        if outputs is not None and len(outputs) != 4:
            raise ValueError(
                f"The backbone gives {len(outputs)} map(s) ({list(outputs)}), the pixel decoder needs four, at strides "
                '4, 8, 16 and 32: set out_features of backbone_config, for example ["stage1", "stage2", "stage3", '
                '"stage4"]. A plain ViT needs backbone_pyramid="simple".'
            )


def has_one_stride(name: str, stride: int) -> str:
    """Says that a backbone is a plain ViT, and what to do."""
    return (
        f"backbone_config is {name}, a plain ViT whose maps all have the stride of its patches, {stride}; the pixel "
        'decoder needs four maps, at strides 4, 8, 16 and 32: set backbone_pyramid="simple" (of the model\'s '
        "configuration), or choose a backbone of stages, such as swin or resnet."
    )


def has_stages(name: str) -> str:
    """Says that a backbone is no plain ViT, and what to do."""
    return (
        f'backbone_pyramid="simple" makes a pyramid of a plain ViT\'s map, but backbone_config is {name}, whose maps '
        "have strides of their own: leave backbone_pyramid out, or choose a plain ViT, such as dinov3_vit, dinov2, "
        "beit (with add_fpn=False) or one of timm."
    )


def check_strides_of_options(config: ProScaleConfig, patch_size: int) -> None:
    """Checks that options that count in pixels meet strides of 4, 8, 16 and 32.

    Raises:
        ValueError: One is set, and the patches make other strides.
    """
    if patch_size == 16:
        return
    values = {name: getattr(config, name) for name in ("mask_positions", "query_selection", "position_code")}
    wrong = [f"{name}={value!r}" for name, value in values.items() if value not in (False, "learned", "normalized")]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} needs strides of 4, 8, 16 and 32, but patches of {patch_size} make others: leave it "
            "out, or choose a ViT with patches of 16."
        )


__all__ = ["ProScaleConfig"]
