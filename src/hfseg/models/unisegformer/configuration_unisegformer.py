# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Configuration of UniSegFormer."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, SiglipTextConfig
from transformers.backbone_utils import BackboneConfigMixin
from transformers.models.swinv2 import Swinv2Config

from ...files.bounds import check_counts
from ..mask_options import MaskDecoderConfig
from ..sub_configs import sub_config

# What differs between the sizes; everything else is the same. Swin V2 weights exist in public for all but "xlarge".
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "encoder_config": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
        "decoder_widths": [64, 128, 256, 512],
        "num_queries": 100,
    },
    "base": {
        "encoder_config": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
        "decoder_widths": [96, 192, 384, 768],
        "num_queries": 100,
    },
    "large": {
        "encoder_config": {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]},
        "decoder_widths": [128, 256, 512, 1024],
        "num_queries": 200,
    },
    "xlarge": {
        "encoder_config": {"embed_dim": 256, "depths": [2, 2, 18, 2], "num_heads": [8, 16, 32, 64]},
        "decoder_widths": [192, 384, 768, 1024],
        "num_queries": 200,
    },
}
ENCODER_DEFAULTS = {"image_size": 1024, "window_size": 16, "drop_path_rate": 0.3}
# SigLIP's tokenizers have no start token and pad with the end token; transformers' defaults name ids of another one.
TEXT_DEFAULTS = {"pad_token_id": 1, "bos_token_id": None, "eos_token_id": 1}


@strict
class UniSegFormerConfig(BackboneConfigMixin, MaskDecoderConfig):
    r"""
    Configuration of UniSegFormer: a Swin V2 encoder whose levels exchange information (CLX), a U-Net decoder, and a
    mask-classification head. The defaults are the largest of four sizes; `UniSegFormerConfig.of_size("tiny")` gives the
    others.

    Args:
        encoder_config (`Swinv2Config | dict`, *optional*):
            The Swin V2 encoder, four stages. Its `image_size` must be about the size of training: every layer clips its
            window to the map that it would see at that size. Defaults to embed_dim 256, depths (2, 2, 18, 2), window 16
            and image_size 1024; what a dictionary leaves out comes from there.
        text_config (`SiglipTextConfig | dict`, *optional*):
            Text tower, read by `UniSegFormerForPreTraining` only; its `projection_size` is that of the embeddings.
        clx_enabled (`bool`, defaults to `True`):
            Cross-level exchange between neighboring levels. Without it the encoder is Swin V2 with output norms.
        clx_window (`int`, *optional*):
            Side m of the coarse windows, in tokens; the co-located fine windows have side 2m. Defaults to half the
            encoder's window.
        clx_halo (`int`, defaults to 2):
            Coarse tokens around the coarse window that fine tokens also see.
        clx_init (`float`, defaults to 0.0):
            Fresh value of the gains of the exchange; 0 makes the encoder equal to Swin V2.
        decoder_widths (`list[int]`, defaults to `(192, 384, 768, 1024)`):
            Channels of the decoder at strides 4, 8, 16 and 32.
        num_queries (`int`, defaults to 200):
            Queries, the upper bound of segments per image.
        dense_loss_weights (`list[float]`, defaults to `(0.4, 0.4, 0.4, 1.0)`):
            Weights of the pixel cross-entropy at strides 32, 16, 8 and 4.
        semantic_loss_ignore_index (`int`, defaults to 255):
            Class of pixels that the pixel cross-entropy leaves out.
        mim_patch (`int`, defaults to 32):
            Side of a masked unit of pre-training, in pixels: the encoder's last stride.
        mim_mask_ratio (`float`, defaults to 0.6):
            Share of units that are masked.
        mim_image_share (`float`, defaults to 1.0):
            Share of the images of a training batch that are masked. The others are seen whole and serve the contrast
            alone: what is hidden cannot be told from a text.
        pooling_heads (`int`, defaults to 8):
            Heads of the attention pooling of the image embedding.
        contrastive_scale_init (`float`, defaults to 10.0), contrastive_bias_init (`float`, defaults to -10.0):
            Fresh values of t and b of the sigmoid loss, SigLIP's. Its b is the logarithm of the odds that a text
            belongs to an image in a batch of 32 thousand pairs; for B pairs that are contrasted with each other it is
            `-log(B - 1)`. Far below that, small batches begin by drawing all embeddings together.
        mim_weight, contrastive_weight, segmentation_weight (`float`, default to 1):
            Weights of the terms of pre-training.
        contrast_accumulated (`bool`, defaults to `False`):
            Contrasts the pairs of all accumulated micro-batches with each other, at the price of a second forward
            without gradients (see `losses.contrastive`). Needs an encoder without drop path and dropout.
        initializer_range (`float`, defaults to 0.02):
            Standard deviation of layers without a rule of their own.
        out_features (`list[str]`, *optional*), out_indices (`list[int]`, *optional*):
            Maps of `UniSegFormerBackbone`, among stem, stage1, ..., stage4; all four stages by default.
        kwargs:
            Fields of the mask decoder and of its losses, see `MaskDecoderConfig`, and of every configuration.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for wrong types, an encoder
            without four stages, widths that do not fit.

    Example:

    ```python
    >>> from hfseg import UniSegFormerConfig, UniSegFormerForUniversalSegmentation

    >>> configuration = UniSegFormerConfig(
    ...     encoder_config={"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8],
    ...                     "window_size": 4},
    ...     decoder_widths=[16, 16, 32, 32], feature_size=32, mask_feature_size=32, hidden_size=32, num_queries=10,
    ...     num_attention_heads=4, decoder_layers=2, dim_feedforward=64,
    ... )
    >>> model = UniSegFormerForUniversalSegmentation(configuration)

    ```
    """

    model_type = "unisegformer"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = [
        "loss_dict",
        "auxiliary_logits",
        "pixel_embedding",
        "masked_units",
        "image_embeds",
        "text_embeds",
        "hidden_states",
        "attentions",
        "cross_attentions",
        "encoder_hidden_states",
        "encoder_attentions",
    ]
    sub_configs = {"encoder_config": Swinv2Config, "text_config": SiglipTextConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    clx_enabled: bool = True
    clx_window: int | None = None
    clx_halo: int = 2
    clx_init: float | int = 0.0
    decoder_widths: list[int] | tuple[int, ...] = (192, 384, 768, 1024)
    num_queries: int = 200
    dense_loss_weights: list[float | int] | tuple[float | int, ...] = (0.4, 0.4, 0.4, 1.0)
    semantic_loss_ignore_index: int = 255
    mim_patch: int = 32
    mim_mask_ratio: float | int = 0.6
    mim_image_share: float | int = 1.0
    pooling_heads: int = 8
    contrastive_scale_init: float | int = 10.0
    contrastive_bias_init: float | int = -10.0
    mim_weight: float | int = 1.0
    contrastive_weight: float | int = 1.0
    segmentation_weight: float | int = 1.0
    contrast_accumulated: bool = False
    initializer_range: float | int = 0.02
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        if self.encoder_config is None or isinstance(self.encoder_config, dict):
            given = {key: value for key, value in (self.encoder_config or {}).items() if key != "model_type"}
            self.encoder_config = Swinv2Config(**(ENCODER_DEFAULTS | SIZES["xlarge"]["encoder_config"] | given))
        if self.text_config is None or isinstance(self.text_config, dict):
            given = {key: value for key, value in (self.text_config or {}).items() if key != "model_type"}
            self.text_config = SiglipTextConfig(**(TEXT_DEFAULTS | given))
        if self.clx_window is None:
            self.clx_window = max(1, self.encoder_config.window_size // 2)
        self.stage_names = ["stem"] + [f"stage{stage}" for stage in range(1, len(self.encoder_config.depths) + 1)]
        named = "out_features" in kwargs or "out_indices" in kwargs  # None means the last, as in every AutoBackbone
        out_features, out_indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        if not named:
            out_features = self.stage_names[1:]
        self.set_output_features_output_indices(out_indices=out_indices, out_features=out_features)
        super().__post_init__(**kwargs)

    @classmethod
    def of_size(cls, size: str, **fields) -> "UniSegFormerConfig":
        """Builds the configuration of a published size.

        Args:
            size: One of `tiny`, `base`, `large`, `xlarge`.
            fields: Further fields; an `encoder_config` dictionary is merged into that of the size.

        Raises:
            ValueError: If there is no such size.
        """
        if size not in SIZES:
            raise ValueError(f"There is no UniSegFormer of size {size!r}: choose one of {', '.join(SIZES)}.")
        encoder = ENCODER_DEFAULTS | SIZES[size]["encoder_config"] | dict(fields.pop("encoder_config", {}))
        return cls(**(SIZES[size] | {"encoder_config": encoder} | fields))

    @property
    def depths(self) -> list[int] | tuple[int, ...]:
        """Layers of the encoder's stages."""
        return sub_config(self.encoder_config, Swinv2Config).depths

    @property
    def level_channels(self) -> list[int]:
        """Channels of the encoder's levels, fine to coarse."""
        return [sub_config(self.encoder_config, Swinv2Config).embed_dim * 2**level for level in range(4)]

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        if self.query_selection == "pixels" and self.decoder_layers < 3:
            raise ValueError(
                f'query_selection="pixels" reads the third level, which decoder_layers={self.decoder_layers} does not '
                "reach (the layers take turns): give at least 3."
            )
        encoder = sub_config(self.encoder_config, Swinv2Config)
        if len(encoder.depths) != 4 or len(encoder.num_heads) != 4:
            raise ValueError(
                f"The encoder has depths {list(encoder.depths)} and num_heads {list(encoder.num_heads)}; the decoder "
                "needs four stages, at strides 4, 8, 16 and 32: give four numbers each."
            )
        if encoder.patch_size != 4:
            raise ValueError(f"The encoder's patch_size is {encoder.patch_size}; the decoder's finest stride is 4.")
        if encoder.use_absolute_embeddings:
            raise ValueError("use_absolute_embeddings ties the encoder to one image size: set it to False.")
        if len(self.decoder_widths) != 4 or min(self.decoder_widths) < 1:
            raise ValueError(
                f"decoder_widths={list(self.decoder_widths)} must be four positive numbers of channels, at strides 4, "
                "8, 16 and 32."
            )
        if len(self.dense_loss_weights) != 4:
            raise ValueError(
                f"dense_loss_weights={list(self.dense_loss_weights)} must be four weights, at strides 32, 16, 8 and 4."
            )
        if (self.clx_window or 0) < 1 or self.clx_halo < 0:
            raise ValueError(
                f"clx_window={self.clx_window} must be at least 1 and clx_halo={self.clx_halo} not negative."
            )
        if self.mim_patch != 32:
            raise ValueError(f"mim_patch={self.mim_patch}: one masked unit is one token of the last stage, 32 pixels.")
        if not 0 < self.mim_mask_ratio < 1:
            raise ValueError(f"mim_mask_ratio={self.mim_mask_ratio} must lie between 0 and 1, for example 0.6.")
        if not 0 < self.mim_image_share <= 1:
            raise ValueError(
                f"mim_image_share={self.mim_image_share} must be above 0 and at most 1; for the contrast alone, set "
                "mim_weight to 0."
            )
        if self.contrastive_scale_init <= 0:
            raise ValueError(f"contrastive_scale_init={self.contrastive_scale_init} must be above 0, for example 10.")
        random_parts = (
            encoder.drop_path_rate,
            encoder.hidden_dropout_prob,
            encoder.attention_probs_dropout_prob,
            sub_config(self.text_config, SiglipTextConfig).attention_dropout,
        )
        if self.contrast_accumulated and any(random_parts):
            raise ValueError(
                "contrast_accumulated computes every embedding twice, which must give the same: set drop_path_rate, "
                f"hidden_dropout_prob and the attention dropouts to 0 (they are {random_parts})."
            )


__all__ = ["UniSegFormerConfig"]
