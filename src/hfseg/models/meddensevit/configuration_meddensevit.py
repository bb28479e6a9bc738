# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of MedDenseViT."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import consolidate_backbone_kwargs_to_config

from ...files.bounds import check_counts
from ..sub_configs import SubConfigSpec, sub_config

# Width, depth, heads and hidden units of the encoder, and channels of the decoder.
SIZES = {
    "small": (384, 12, 6, 1536, 128),
    "base": (768, 12, 12, 3072, 192),
    "large": (1024, 24, 16, 4096, 256),
    "huge": (1280, 32, 20, 5120, 320),
    "giant": (1408, 40, 16, 6144, 384),
}
NECKS = ("msfa", "last", "dpt")
LOSSES = ("dice_ce", "dice_focal", "gdl_focal", "monai_dice_ce")


def encoder_arguments(hidden_size: int, depth: int, heads: int, intermediate_size: int) -> dict[str, Any]:
    """Arguments of a DINOv3 backbone with taps at a quarter, half, three quarters and all of its depth."""
    return {
        "hidden_size": hidden_size,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": intermediate_size,
        "patch_size": 16,
        "image_size": 512,
        "num_register_tokens": 4,
        "apply_layernorm": False,
        "out_indices": [depth // 4, depth // 2, 3 * depth // 4, depth],
    }


DEFAULT_BACKBONE = encoder_arguments(*SIZES["giant"][:4])


@strict
class MedDenseViTConfig(PreTrainedConfig):
    r"""
    Configuration of MedDenseViT, a scaled-up plain vision transformer whose decoder chooses per place and scale which
    encoder stages to trust. The defaults are the "giant" size; `MedDenseViTConfig.of_size("small")` gives the others.

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*):
            Any plain vision transformer of `AutoBackbone` with four maps of one stride. Defaults to a DINOv3 encoder
            (patch 16, rotary positions, 4 registers) with taps at L/4, L/2, 3L/4 and L.
        neck (`str`, defaults to `"msfa"`):
            `"msfa"` aggregates all taps with weights per pixel and scale. `"last"` sees the last tap alone (ablation).
            `"dpt"` is the reassemble-and-fuse neck of DPT (ablation).
        feature_size (`int`, defaults to 384):
            D, channels of the decoder.
        stem_sizes (`tuple[int, int]`, defaults to `(32, 64)`):
            Channels of the convolutional detail stem at an eighth and a quarter of the patch size.
        use_auxiliary_heads (`bool`, defaults to `True`):
            Supervises the three coarser decoder maps too, in training. Their keys `aux.*` may be left out of a
            checkpoint.
        auxiliary_weights (`tuple[float, float, float]`, defaults to `(0.5, 0.25, 0.125)`):
            Weights of these losses, fine to coarse.
        loss (`str`, defaults to `"dice_ce"`):
            `"dice_ce"`, `"dice_focal"` (cross-entropy times (1 - p)^gamma), `"gdl_focal"` (generalized Dice of Sudre et
            al. 2017 instead of Dice), or `"monai_dice_ce"`, MONAI's `DiceCELoss` as it is (needs MONAI; no ignore
            label, no dynamic weights).
        dynamic_class_weights (`bool`, defaults to `True`):
            Weights classes by a moving average of their frequency.
        dynamic_term_balance (`bool`, defaults to `True`):
            Shifts weight from the cross-entropy to the Dice term as imbalance grows.
        dice_weight, ce_weight (`float`, defaults to 1.0):
            Constant factors of the two terms.
        focal_gamma (`float`, defaults to 2.0):
            Exponent of the focal losses.
        class_frequency_decay (`float`, defaults to 0.99):
            Decay per update of the moving average.
        class_weight_power (`float`, defaults to 0.5):
            Exponent of (median frequency / frequency).
        class_weight_limits (`tuple[float, float]`, defaults to `(0.1, 10.0)`):
            Smallest and largest class weight, before the mean weight of a pixel is made 1.
        label_sets (`dict[str, list[int]]`, *optional*):
            Class ids (0, background, included) that each dataset annotates, for training on several of them. What the
            others may hold is then counted as background of unknown kind (marginal loss).
        semantic_loss_ignore_index (`int`, defaults to 255):
            Label of pixels without annotation.
        layer_norm_eps (`float`, defaults to 1e-6):
            Of the decoder's norms.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for values outside the lists
            above, wrong types, a backbone without four maps, or label sets that do not fit the classes.

    Example:

    ```python
    >>> from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation

    >>> configuration = MedDenseViTConfig(
    ...     backbone_config={"model_type": "dinov3_vit", "hidden_size": 32, "num_hidden_layers": 4,
    ...                      "num_attention_heads": 2, "intermediate_size": 64, "out_indices": [1, 2, 3, 4]},
    ...     feature_size=16, stem_sizes=(8, 16), num_labels=3,
    ... )
    >>> model = MedDenseViTForSemanticSegmentation(configuration)

    ```
    """

    model_type = "meddensevit"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = ["loss_dict", "hidden_states", "attentions"]
    if SubConfigSpec is None:
        sub_configs = {"backbone_config": AutoConfig}
    else:
        sub_configs_defaults = {
            "backbone_config": SubConfigSpec(
                config_class=AutoConfig, model_type="dinov3_vit", init_kwargs=dict(DEFAULT_BACKBONE)
            )
        }

    backbone_config: dict | PreTrainedConfig | None = None
    neck: str = "msfa"
    feature_size: int = 384
    stem_sizes: list[int] | tuple[int, ...] = (32, 64)
    use_auxiliary_heads: bool = True
    auxiliary_weights: list[float | int] | tuple[float | int, ...] = (0.5, 0.25, 0.125)
    loss: str = "dice_ce"
    dynamic_class_weights: bool = True
    dynamic_term_balance: bool = True
    dice_weight: float | int = 1.0
    ce_weight: float | int = 1.0
    focal_gamma: float | int = 2.0
    class_frequency_decay: float | int = 0.99
    class_weight_power: float | int = 0.5
    class_weight_limits: list[float | int] | tuple[float | int, ...] = (0.1, 10.0)
    label_sets: dict[str, list[int]] | None = None
    semantic_loss_ignore_index: int = 255
    layer_norm_eps: float | int = 1e-6

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        if SubConfigSpec is None:
            self.backbone_config, kwargs = consolidate_backbone_kwargs_to_config(
                backbone_config=self.backbone_config,
                default_config_type="dinov3_vit",
                default_config_kwargs=dict(DEFAULT_BACKBONE),
                **kwargs,
            )
        super().__post_init__(**kwargs)

    @classmethod
    def of_size(cls, size: str, **fields: Any) -> "MedDenseViTConfig":
        """Builds the configuration of a named size.

        Args:
            size: `small`, `base`, `large`, `huge` or `giant`.
            **fields: Other fields of the configuration.

        Raises:
            ValueError: If there is no such size.
        """
        if size not in SIZES:
            raise ValueError(f"There is no size {size!r}: choose one of {', '.join(SIZES)}.")
        *encoder, feature_size = SIZES[size]
        backbone = {"model_type": "dinov3_vit", **encoder_arguments(*encoder)}
        return cls(**{"backbone_config": backbone, "feature_size": feature_size, **fields})

    @property
    def patch_size(self) -> int:
        """Stride of the encoder's maps in pixels."""
        patch = getattr(self.backbone_config, "patch_size", 16)
        return int(patch if isinstance(patch, int) else patch[0])

    @property
    def hidden_size(self) -> int:
        """Channels of the encoder."""
        return sub_config(self.backbone_config, PreTrainedConfig).hidden_size

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        for name, legal in (("neck", NECKS), ("loss", LOSSES)):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: choose one of {', '.join(legal)}.")
        if self.feature_size < 8 or self.feature_size % 4:
            raise ValueError(f"feature_size={self.feature_size} must be a multiple of 4, at least 8.")
        if len(self.stem_sizes) != 2 or min(self.stem_sizes) < 1:
            raise ValueError(f"stem_sizes={tuple(self.stem_sizes)} must be two positive channel counts, e.g. (32, 64).")
        if len(self.auxiliary_weights) != 3 or min(self.auxiliary_weights) < 0:
            raise ValueError(f"auxiliary_weights={tuple(self.auxiliary_weights)} must be three numbers, 0 or above.")
        if len(self.class_weight_limits) != 2 or not 0 < self.class_weight_limits[0] <= self.class_weight_limits[1]:
            raise ValueError(
                f"class_weight_limits={tuple(self.class_weight_limits)} must be (smallest, largest), both positive."
            )
        if not 0 <= self.class_frequency_decay < 1:
            raise ValueError(f"class_frequency_decay={self.class_frequency_decay} must be in [0, 1), e.g. 0.99.")
        outputs = getattr(self.backbone_config, "out_indices", None)
        if outputs is not None and len(outputs) != 4:
            raise ValueError(
                f"The backbone gives {len(outputs)} map(s) ({list(outputs)}), the decoder aggregates four: set "
                "out_indices of backbone_config, for example [3, 6, 9, 12] of twelve layers."
            )
        for name, classes in (self.label_sets or {}).items():
            if 0 not in classes or len(set(classes)) != len(classes) or max(classes) >= (self.num_labels or 0):
                raise ValueError(
                    f"label_sets[{name!r}]={list(classes)} must list different ids below num_labels={self.num_labels}, "
                    "among them 0, the background."
                )


__all__ = ["MedDenseViTConfig"]
