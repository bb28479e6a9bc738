# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of PRO-SCALE."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import consolidate_backbone_kwargs_to_config

from ...files.bounds import check_counts
from ...files.stuff_classes import StuffClassesMixin
from ..mask_options import validate_mask_decoder, validate_stuff_classes
from ..sub_configs import SubConfigSpec

DEFAULT_BACKBONE = {
    "depths": [2, 2, 6, 2],
    "drop_path_rate": 0.3,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
ENCODERS = ("progressive", "full", "lite")
TRC_VARIANTS = ("linear", "conv", "none")
TRC_LAYOUTS = ("raw", "spatial")
LPE_VARIANTS = ("max", "average", "conv")
# Norm and convolution variants that follow from the choice of the encoder unless given.
ENCODER_DEFAULTS = {
    "progressive": {"trc": "linear", "lpe": "max"},
    "full": {"trc": "none", "lpe": "conv"},
    "lite": {"trc": "none", "lpe": "conv"},
}


@strict
class ProScaleConfig(StuffClassesMixin, PreTrainedConfig):
    r"""
    Configuration of PRO-SCALE (Aich et al., "Progressive Token Length Scaling in Transformer Encoders for Efficient
    Universal Segmentation", ICLR 2025) and of the two encoders that the paper compares with. The defaults are the
    published Swin-T model for COCO panoptic segmentation, (p1, p2, p3) = (3, 3, 3).

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*):
            Any backbone with four maps at strides 4, 8, 16 and 32. Defaults to Swin-T.
        encoder (`str`, defaults to `"progressive"`):
            `"progressive"` is PRO-SCALE: `encoder_stage_layers` layers on s4, then on s4 and s3, then on all tokens.
            `"full"` is Mask2Former: `encoder_layers` layers on all tokens, no recalibration, a 3x3 convolution in the
            pixel embedding. `"lite"` is the paper's Lite-M2F (appendix A), Lite-DETR's interleaved updates (Li et al.,
            CVPR 2023) as "(5+1)x1" without key-aware attention: `encoder_layers` layers in `encoder_blocks` equal
            blocks; the last layer of a block updates all tokens, the others s4 and s3 only, and every layer attends
            all tokens. `lpe="max"` makes it the paper's Lite-M2F with LPE (Table 5).
        encoder_stage_layers (`tuple[int, int, int]`, defaults to `(3, 3, 3)`):
            The paper's (p1, p2, p3).
        encoder_layers (`int`, defaults to 6):
            Layers of the `"full"` and of the `"lite"` encoder.
        encoder_blocks (`int`, defaults to 1):
            Blocks of the `"lite"` encoder; divides `encoder_layers`.
        feature_size (`int`, defaults to 256):
            Channels of the pixel decoder.
        mask_feature_size (`int`, defaults to 256):
            Channels of the pixel embedding, whose product with a query's mask embedding is a mask.
        encoder_feedforward_dim (`int`, defaults to 1024):
            Hidden units of the encoder layers.
        encoder_attention_heads (`int`, *optional*):
            Heads of the deformable attention. Defaults to `num_attention_heads`.
        encoder_num_points (`int`, defaults to 4):
            Points per head and level of the deformable attention.
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
        hidden_size (`int`, defaults to 256):
            Channels of the queries.
        num_queries (`int`, defaults to 100):
            Queries, the upper bound of segments per image.
        decoder_layers (`int`, defaults to 9):
            Decoder layers. Checkpoints and configurations of Mask2Former count one more.
        num_attention_heads (`int`, defaults to 8):
            Heads of the decoder's attention.
        dim_feedforward (`int`, defaults to 2048):
            Hidden units of the decoder layers.
        dropout (`float`, defaults to 0.0):
            Dropout probability of encoder and decoder.
        mask_positions (`bool`, defaults to `False`):
            Adds `a (r^2 - |p - c|^2)` to the logit of a mask at pixel p, with center c, radius r and sharpness a > 0
            predicted by its query, so that objects that look alike can be told apart. SOLO (Wang et al., ECCV 2020) and
            CondInst (Tian et al., ECCV 2020) give the mask head coordinates to the same end. Lengths are in units of 16
            input pixels.
        query_selection (`str`, defaults to `"learned"`):
            `"learned"` queries, or queries from `"pixels"`: the local maxima of a heat map of object centers at stride
            8 (CenterNet; Zhou et al., "Objects as Points", 2019) become queries, each with the encoded token there as
            content, beside a few learned ones (mixed query selection: DINO, Zhang et al., ICLR 2023; Mask DINO, Li et
            al., CVPR 2023). For many small objects.
        num_learned_queries (`int`, defaults to 10):
            With queries from pixels: how many of `num_queries` are learned, for stuff.
        max_queries (`int`, *optional*):
            With queries from pixels: queries in evaluation, the learned ones included. Defaults to twice `num_queries`.
        heat_threshold (`float`, defaults to 0.05):
            With queries from pixels: smallest heat of a local maximum; other queries become "no object" in evaluation
            and are not looked at by other queries.
        heat_weight (`float`, defaults to 2.0):
            Weight of the focal loss of the heat map.
        position_code (`str`, defaults to `"normalized"`):
            Sine position codes of encoder and decoder: `"normalized"` by the size of the map, as in DETR, or in
            `"pixels"`, which mean the same in a crop and in a whole image. Queries from pixels always use the latter in
            the decoder.
        freeze_batch_norm (`bool`, defaults to `False`):
            Keeps batch normalization of the backbone at its stored statistics and freezes its affine values, as the
            authors do with ResNet on COCO.
        stuff_class_ids (`list[int]`, *optional*):
            Classes whose segments are not counted one by one; the others are things.
        class_weight, mask_weight, dice_weight (`float`, defaults to 2, 5, 5):
            Weights of the three losses, also of the three matching costs.
        no_object_weight (`float`, defaults to 0.1):
            Weight of the "no object" class in the classification loss.
        train_num_points (`int`, defaults to 12544):
            Points per mask at which masks are matched and compared.
        oversample_ratio (`float`, defaults to 3.0):
            Candidate points per kept point.
        importance_sample_ratio (`float`, defaults to 0.75):
            Share of points chosen for their uncertainty; the rest is uniform.
        use_auxiliary_loss (`bool`, defaults to `True`):
            Supervises the prediction before every decoder layer too.
        output_auxiliary_logits (`bool`, defaults to `False`):
            Returns the logits of these predictions.
        init_std (`float`, defaults to 0.02):
            Standard deviation of layers that have no rule of their own.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for values outside the lists
            above, wrong types, or stages that are not three non-negative counts.

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
    ]
    if SubConfigSpec is None:
        sub_configs = {"backbone_config": AutoConfig}
    else:
        sub_configs_defaults = {
            "backbone_config": SubConfigSpec(
                config_class=AutoConfig, model_type="swin", init_kwargs=dict(DEFAULT_BACKBONE)
            )
        }
    attribute_map = {"num_hidden_layers": "decoder_layers"}

    backbone_config: dict | PreTrainedConfig | None = None
    encoder: str = "progressive"
    encoder_stage_layers: list[int] | tuple[int, ...] = (3, 3, 3)
    encoder_layers: int = 6
    encoder_blocks: int = 1
    feature_size: int = 256
    mask_feature_size: int = 256
    encoder_feedforward_dim: int = 1024
    encoder_attention_heads: int | None = None
    encoder_num_points: int = 4
    trc: str | None = None
    trc_temperature: float | int = 0.1
    trc_layout: str = "raw"
    trc_residual: bool = False
    lpe: str | None = None
    hidden_size: int = 256
    num_queries: int = 100
    decoder_layers: int = 9
    num_attention_heads: int = 8
    dim_feedforward: int = 2048
    dropout: float | int = 0.0
    mask_positions: bool = False
    query_selection: str = "learned"
    num_learned_queries: int = 10
    max_queries: int | None = None
    heat_threshold: float | int = 0.05
    heat_weight: float | int = 2.0
    position_code: str = "normalized"
    freeze_batch_norm: bool = False
    stuff_class_ids: list[int] | tuple[int, ...] | None = None
    class_weight: float | int = 2.0
    mask_weight: float | int = 5.0
    dice_weight: float | int = 5.0
    no_object_weight: float | int = 0.1
    train_num_points: int = 12544
    oversample_ratio: float | int = 3.0
    importance_sample_ratio: float | int = 0.75
    use_auxiliary_loss: bool = True
    output_auxiliary_logits: bool = False
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
    def layer_plan(self) -> list[tuple[int, int, int]]:
        """Lists per layer `(start, stop, attended)`: levels `start..stop-1` are updated, `0..attended-1` attended.

        Levels are counted coarse to fine: 0 is s4, 1 is s3, 2 is s2.
        """
        if self.encoder == "full":
            return [(0, 3, 3)] * self.encoder_layers
        if self.encoder == "lite":
            coarse = self.encoder_layers // self.encoder_blocks - 1
            return ([(0, 2, 3)] * coarse + [(0, 3, 3)]) * self.encoder_blocks
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
        validate_mask_decoder(self)
        stages = tuple(self.encoder_stage_layers)
        if len(stages) != 3 or any(isinstance(n, bool) or n < 0 for n in stages) or sum(stages) == 0:
            raise ValueError(
                f"encoder_stage_layers={stages} is not a (p1, p2, p3): give three non-negative layer counts, at least "
                "one of them positive, for example (3, 3, 3)."
            )
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
        for size, heads in (("feature_size", "encoder_attention_heads"), ("hidden_size", "num_attention_heads")):
            if getattr(self, size) % getattr(self, heads) or getattr(self, size) % 4:
                raise ValueError(
                    f"{size}={getattr(self, size)} must be a multiple of {heads}={getattr(self, heads)} and of 4 (the "
                    "position code interleaves sine and cosine of two axes)."
                )
        if self.feature_size % 32:
            raise ValueError(
                f"feature_size={self.feature_size} must be a multiple of 32, the number of normalization groups."
            )
        outputs = getattr(self.backbone_config, "out_features", None) or getattr(
            self.backbone_config, "out_indices", None
        )
        if outputs is not None and len(outputs) != 4:
            raise ValueError(
                f"The backbone gives {len(outputs)} map(s) ({list(outputs)}), the pixel decoder needs four, at strides "
                '4, 8, 16 and 32: set out_features of backbone_config, for example ["stage1", "stage2", "stage3", '
                '"stage4"].'
            )
        validate_stuff_classes(self.stuff_class_ids, self.num_labels or 0)


__all__ = ["ProScaleConfig"]
