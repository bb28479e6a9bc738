# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of PRO-SCALE for open-vocabulary segmentation."""

from collections.abc import Sequence
from typing import Any, cast

from huggingface_hub.dataclasses import strict
from transformers import CLIPTextConfig, CLIPVisionConfig, PreTrainedConfig
from transformers.utils.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from ...files.bounds import check_counts
from ..sub_configs import SubConfigSpec, sub_config
from .configuration_proscale import ProScaleConfig

# The paper's table has ResNet-50 only.
DEFAULT_BACKBONE = {"model_type": "resnet", "out_features": ["stage1", "stage2", "stage3", "stage4"]}
# OpenAI's ViT-L/14 for images of 336 pixels. The library's defaults are those of ViT-B/32.
DEFAULT_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
DEFAULT_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
# Sub-configurations of the mask model; older releases of transformers declare them otherwise.
MASK_MODEL_SPECS: Any = getattr(ProScaleConfig, "sub_configs_defaults", {})
COLORS = ("image_mean", "image_std", "clip_image_mean", "clip_image_std")


def per_channel(value: float | Sequence[float]) -> tuple[float, ...]:
    """Mean or deviation of red, green and blue; a number stands for all three."""
    return (value,) * 3 if isinstance(value, (int, float)) else tuple(value)


@strict
class ProScaleOpenVocabularyConfig(ProScaleConfig):
    r"""
    Configuration of PRO-SCALE's class-agnostic masks with MaskCLIP's classifier (Table T2 of the paper's appendix). The
    defaults are the paper's model: ResNet-50, (p1, p2, p3) = (3, 3, 3), CLIP ViT-L/14 for images of 336 pixels.

    Args:
        vision_config (`CLIPVisionConfig | dict`, *optional*):
            CLIP's image tower, a ViT. Its `image_size` is that of the masks.
        text_config (`CLIPTextConfig | dict`, *optional*):
            CLIP's text tower, of the same `projection_dim`.
        relative_attention_interval (`int`, defaults to 6):
            Every so many layers of the image tower attend by relative mask attention, and refine the masks.
        freeze_clip (`bool`, defaults to `True`):
            CLIP's own weights stay as they are; the added ones learn.
        freeze_proposals (`bool`, defaults to `False`):
            Also keeps the model of masks, as MaskCLIP does once it has been trained. Otherwise both learn together;
            what CLIP refines has no gradient with respect to the masks it started from.
        image_mean, image_std (`float` or `tuple[float, ...]`, default to ImageNet's):
            With what `pixel_values` are normalized; a number stands for all channels.
        clip_image_mean, clip_image_std (`float` or `tuple[float, ...]`, default to CLIP's):
            With what CLIP wants images to be normalized.
        kwargs:
            Fields of `ProScaleConfig`, which describe the model of masks. Classes of `id2label` are those of training
            data only; any others can be asked for.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for values outside the lists
            above, wrong types, or towers that do not fit together.

    Example:

    ```python
    >>> from hfseg import ProScaleForOpenVocabularySegmentation, ProScaleOpenVocabularyConfig

    >>> configuration = ProScaleOpenVocabularyConfig(
    ...     backbone_config={"model_type": "resnet", "layer_type": "basic", "embedding_size": 8, "depths": [1, 1, 1, 1],
    ...                      "hidden_sizes": [8, 16, 32, 64], "out_features": ["stage1", "stage2", "stage3", "stage4"]},
    ...     vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "image_size": 32,
    ...                    "num_attention_heads": 4, "patch_size": 8, "projection_dim": 16},
    ...     text_config={"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    ...                  "num_attention_heads": 2, "max_position_embeddings": 8, "projection_dim": 16,
    ...                  "bos_token_id": 62, "eos_token_id": 63, "pad_token_id": 63},
    ...     relative_attention_interval=2, encoder_stage_layers=(1, 1, 1), feature_size=32, mask_feature_size=32,
    ...     hidden_size=32, num_attention_heads=4, decoder_layers=2, dim_feedforward=64, num_queries=10,
    ... )
    >>> model = ProScaleForOpenVocabularySegmentation(configuration)

    ```
    """

    model_type = "proscale_open_vocabulary"
    keys_to_ignore_at_inference = [
        *ProScaleConfig.keys_to_ignore_at_inference,
        "object_logits",
        "region_embeds",
        "text_embeds",
        "auxiliary_masks",
    ]
    if SubConfigSpec is None:
        sub_configs = {**ProScaleConfig.sub_configs, "vision_config": CLIPVisionConfig, "text_config": CLIPTextConfig}
    else:
        sub_configs_defaults = {
            **MASK_MODEL_SPECS,
            "vision_config": SubConfigSpec(config_class=CLIPVisionConfig, init_kwargs=dict(DEFAULT_VISION)),
            "text_config": SubConfigSpec(config_class=CLIPTextConfig, init_kwargs=dict(DEFAULT_TEXT)),
        }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    relative_attention_interval: int = 6
    freeze_clip: bool = True
    freeze_proposals: bool = False
    image_mean: float | list[float] | tuple[float, ...] = tuple(IMAGENET_DEFAULT_MEAN)
    image_std: float | list[float] | tuple[float, ...] = tuple(IMAGENET_DEFAULT_STD)
    clip_image_mean: float | list[float] | tuple[float, ...] = tuple(OPENAI_CLIP_MEAN)
    clip_image_std: float | list[float] | tuple[float, ...] = tuple(OPENAI_CLIP_STD)

    def __post_init__(self, **kwargs: Any):
        check_counts({**vars(self), **kwargs})
        if self.backbone_config is None:
            self.backbone_config = dict(DEFAULT_BACKBONE)
        if SubConfigSpec is None:
            if not isinstance(self.vision_config, PreTrainedConfig):
                self.vision_config = CLIPVisionConfig(**{**DEFAULT_VISION, **(self.vision_config or {})})
            if not isinstance(self.text_config, PreTrainedConfig):
                self.text_config = CLIPTextConfig(**{**DEFAULT_TEXT, **(self.text_config or {})})
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        vision, text = sub_config(self.vision_config, CLIPVisionConfig), sub_config(self.text_config, CLIPTextConfig)
        if vision.projection_dim != text.projection_dim:
            raise ValueError(
                f"projection_dim is {vision.projection_dim} in vision_config and {text.projection_dim} in text_config: "
                "both towers of a CLIP end in one space."
            )
        if cast(int, vision.image_size) % cast(int, vision.patch_size):
            raise ValueError(
                f"image_size={vision.image_size} of vision_config must be a multiple of patch_size="
                f"{vision.patch_size}: every pixel of a mask belongs to a patch."
            )
        if self.relative_attention_interval < 1:
            raise ValueError(
                f"relative_attention_interval={self.relative_attention_interval} must be 1 or more, for example 6."
            )
        for name in COLORS:
            values = per_channel(getattr(self, name))
            if len(values) != 3 or (name.endswith("std") and min(values) <= 0):
                raise ValueError(f"{name}={tuple(values)} must be three numbers, deviations above 0.")


__all__ = ["ProScaleOpenVocabularyConfig"]
