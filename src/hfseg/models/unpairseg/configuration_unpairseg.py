# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of Unpair-Seg."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, CLIPTextConfig, PreTrainedConfig
from transformers.backbone_utils import consolidate_backbone_kwargs_to_config

from ...files.bounds import check_counts
from ..sub_configs import SubConfigSpec

# OpenCLIP's convnext_large_d_320. The library's defaults differ in the epsilon (1e-12) and the text tower's activation.
DEFAULT_BACKBONE = {
    "hidden_sizes": [192, 384, 768, 1536],
    "depths": [3, 3, 27, 3],
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
}
DEFAULT_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
CHOICES = {
    "iou_target": ("dice", "iou"),
    "score_targets": ("matched", "all"),
    "adapter": ("low_rank", "cross_attention", "none"),
    "region_source": ("adapter", "clip", "ensemble"),
    "matching": ("bipartite", "greedy"),
    "matching_cost": ("neg_softmax", "eq36", "cosine", "legacy"),
    "nms_rule": ("or", "and", "iou"),
}


@strict
class UnpairSegConfig(PreTrainedConfig):
    r"""
    Configuration of Unpair-Seg (Wang et al., "Open-Vocabulary Segmentation with Unpaired Mask-Text Supervision",
    arXiv 2402.08960). The defaults are the published model on CLIP's ConvNeXt-L.

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*):
            CLIP's visual trunk, a `ConvNextConfig`. Defaults to ConvNeXt-L.
        text_config (`CLIPTextConfig | dict`, *optional*):
            CLIP's text tower. Its `projection_dim` is the size of the common space.
        freeze_backbone (`bool`, defaults to `True`):
            Keeps the visual trunk in evaluation mode and without gradients, as in both stages of training.
        feature_size (`int`, defaults to 256):
            Channels of the pixel decoder.
        mask_feature_size (`int`, defaults to 256):
            Channels of the pixel embedding, from which prompts also read their content.
        encoder_layers (`int`, defaults to 6):
            Deformable layers of the pixel decoder.
        encoder_feedforward_dim (`int`, defaults to 1024):
            Hidden units of these layers.
        encoder_num_points (`int`, defaults to 4):
            Points per head and level of the deformable attention.
        hidden_size (`int`, defaults to 256):
            Channels of the prompt tokens; equals `mask_feature_size`, since content is added to tokens.
        decoder_layers (`int`, defaults to 9):
            Decoder layers after the first self-attention. The authors' `DEC_LAYERS` counts one more.
        num_attention_heads (`int`, defaults to 8):
            Heads of all attention outside CLIP.
        dim_feedforward (`int`, defaults to 2048):
            Hidden units of the decoder layers.
        dropout (`float`, defaults to 0.0):
            Dropout probability.
        visual_projection_hidden_size (`int`, *optional*):
            Hidden units of CLIP's visual projection. Defaults to twice the dimension of the common space, as in
            OpenCLIP's ConvNeXts with an MLP (1536 for L, 1280 for base_w).
        num_masks (`int`, defaults to 4):
            Granularities M: masks per point.
        enforce_input_projection (`bool`, defaults to `False`):
            1x1 convolutions before the mask decoder also where the channels agree.
        point_anchor_size (`int`, defaults to 4):
            Side, in pixels of the network input, of the box that stands for a point.
        legacy_multipoint_readout (`bool`, defaults to `False`):
            Reads the mask of several points from the token that the released code reads, a corner token. By default it
            is read from the mask token.
        points_per_side (`int`, defaults to 20):
            Grid of points when no prompt is given.
        train_points_per_side (`int`, defaults to 10):
            The same in training.
        prompt_chunk_size (`int`, defaults to 100):
            Prompts decoded at once outside training. Prompts do not see each other, so it only bounds memory.
        point_jitter (`float`, defaults to 0.5):
            In training the points of an automatic grid move by up to this share of a cell.
        mask_weight, dice_weight, iou_weight (`float`, defaults to 2, 1, 5):
            Weights of the losses of stage 1, as printed. The released configuration has 2, 1, 1.
        iou_target (`str`, defaults to `"dice"`):
            What the score of a mask learns: `"dice"` is the soft Dice coefficient (official code), `"iou"` the
            intersection over union of the binary masks (as the text says).
        score_targets (`str`, defaults to `"matched"`):
            Whose scores learn: those of the masks of a point that are `"matched"` with a true mask (official code), or
            of `"all"` its masks. Where true masks do not overlap only one mask of a point is matched, and what the
            others' scores say is left to chance: use `"all"` there.
        train_num_points (`int`, defaults to 12544):
            Points per mask at which masks are compared.
        oversample_ratio (`float`, defaults to 3.0):
            Candidate points per kept point.
        importance_sample_ratio (`float`, defaults to 0.75):
            Share of points chosen for their uncertainty; the rest is uniform.
        use_auxiliary_loss (`bool`, defaults to `True`):
            Supervises the prediction before every decoder layer too.
        adapter (`str`, defaults to `"low_rank"`):
            Semantic adapter of stage 2: `"low_rank"` (figure 3.5), `"cross_attention"` (the ablation) or `"none"`.
        adapter_rank (`int`, defaults to 8):
            Rank r of the low-rank adapters.
        adapter_stride (`int`, defaults to 8):
            Stride of the map on which scales meet.
        adapter_hidden_size (`int`, *optional*):
            Hidden units of the fusing perceptron. Defaults to the channels of the coarsest map.
        adapter_residual (`bool`, defaults to `True`):
            Adds the low-rank update to the features; otherwise it replaces them, with `adapter_dim` channels.
        adapter_dim (`int`, defaults to 256):
            Channels of each scale without `adapter_residual`.
        adapter_layers (`int`, defaults to 2):
            Layers of the cross-attention adapter.
        clip_residual (`bool`, defaults to `False`):
            Adds CLIP's own embedding of each pixel and starts from it (the last layer is zero). Advisable for small
            data.
        region_source (`str`, *optional*):
            What describes a mask at inference: `"adapter"`, `"clip"` (the baseline without adapter) or `"ensemble"`.
            Defaults to `"adapter"` where there is one.
        ensemble_weight (`float`, defaults to 0.5):
            Share of the adapter in the ensemble.
        region_sizes (`tuple[int, ...]`, defaults to `(896, 1024, 1152)`):
            Input sizes S of the multi-scale regions (equation 3.5), in training.
        normalize_scales (`bool`, defaults to `False`):
            Normalizes the region embedding of each scale before the mean.
        matching (`str`, defaults to `"bipartite"`):
            How masks find entities: `"bipartite"`, one to one, or `"greedy"`, each mask its best, kept below a moving
            threshold.
        matching_cost (`str`, defaults to `"neg_softmax"`):
            `"neg_softmax"` is minus the probability over entities (the official code), `"eq36"` the printed softmax of
            distances, `"cosine"` one minus the cosine, `"legacy"` probabilities averaged over scales.
        matching_topk (`float`, defaults to 1.0):
            Share of the cheapest pairs kept with the `"legacy"` cost.
        matching_num_sigmas (`float`, defaults to 1.0):
            Deviations above the mean of the greedy threshold.
        matching_momentum (`float`, defaults to 0.999):
            Momentum of the greedy threshold.
        min_similarity (`float`, *optional*):
            Smallest cosine of a matched pair.
        self_ensemble_steps (`int`, *optional*):
            Total training steps; if given, matching mixes the adapter's embeddings in, with a share growing to one
            half.
        align_weight (`float`, defaults to 1.0):
            Weight of the alignment loss.
        score_threshold (`float`, defaults to 0.6190392084062235):
            Smallest predicted score of a mask used in stage 2: what the authors' 0.65 after a second sigmoid means.
        nms_rule (`str`, defaults to `"or"`):
            How masks are suppressed when stage 2 selects them: `"or"` as the official code, `"and"` as Algorithm 1 is
            printed, `"iou"` without cover. The image processor that is saved takes it over.
        iou_threshold, cover_threshold (`float`, defaults to 0.5, 0.7):
            Thresholds of mask non-maximum suppression in stage 2.
        scale (`float`, defaults to 1.0):
            Standard deviation of the matrices of the random Fourier position codes.
        init_std (`float`, defaults to 0.02):
            Standard deviation of layers that have no rule of their own.

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for values outside the lists
            above, wrong types, or sizes that do not fit together.

    Example:

    ```python
    >>> from hfseg import UnpairSegConfig, UnpairSegForMaskGeneration

    >>> configuration = UnpairSegConfig(
    ...     backbone_config={"model_type": "convnext", "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
    ...                      "layer_norm_eps": 1e-6},
    ...     feature_size=32, mask_feature_size=32, hidden_size=32, encoder_layers=1, encoder_feedforward_dim=32,
    ...     decoder_layers=2, num_attention_heads=4, dim_feedforward=32,
    ... )
    >>> model = UnpairSegForMaskGeneration(configuration)

    ```
    """

    model_type = "unpairseg"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = [
        "loss_dict",
        "mask_embeddings",
        "pixel_embedding",
        "input_points",
        "region_embeds",
        "text_embeds",
        "hidden_states",
        "attentions",
        "cross_attentions",
        "encoder_hidden_states",
        "encoder_attentions",
    ]
    if SubConfigSpec is None:
        sub_configs = {"backbone_config": AutoConfig, "text_config": CLIPTextConfig}
    else:
        sub_configs_defaults = {
            "backbone_config": SubConfigSpec(
                config_class=AutoConfig, model_type="convnext", init_kwargs=dict(DEFAULT_BACKBONE)
            ),
            "text_config": SubConfigSpec(config_class=CLIPTextConfig, init_kwargs=dict(DEFAULT_TEXT)),
        }
    attribute_map = {"num_hidden_layers": "decoder_layers"}

    backbone_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    freeze_backbone: bool = True
    feature_size: int = 256
    mask_feature_size: int = 256
    encoder_layers: int = 6
    encoder_feedforward_dim: int = 1024
    encoder_num_points: int = 4
    hidden_size: int = 256
    decoder_layers: int = 9
    num_attention_heads: int = 8
    dim_feedforward: int = 2048
    dropout: float | int = 0.0
    visual_projection_hidden_size: int | None = None
    num_masks: int = 4
    enforce_input_projection: bool = False
    point_anchor_size: int = 4
    legacy_multipoint_readout: bool = False
    points_per_side: int = 20
    train_points_per_side: int = 10
    prompt_chunk_size: int = 100
    point_jitter: float | int = 0.5
    mask_weight: float | int = 2.0
    dice_weight: float | int = 1.0
    iou_weight: float | int = 5.0
    iou_target: str = "dice"
    score_targets: str = "matched"
    train_num_points: int = 12544
    oversample_ratio: float | int = 3.0
    importance_sample_ratio: float | int = 0.75
    use_auxiliary_loss: bool = True
    adapter: str = "low_rank"
    adapter_rank: int = 8
    adapter_stride: int = 8
    adapter_hidden_size: int | None = None
    adapter_residual: bool = True
    adapter_dim: int = 256
    adapter_layers: int = 2
    clip_residual: bool = False
    region_source: str | None = None
    ensemble_weight: float | int = 0.5
    region_sizes: list[int] | tuple[int, ...] = (896, 1024, 1152)
    normalize_scales: bool = False
    matching: str = "bipartite"
    matching_cost: str = "neg_softmax"
    matching_topk: float | int = 1.0
    matching_num_sigmas: float | int = 1.0
    matching_momentum: float | int = 0.999
    min_similarity: float | int | None = None
    self_ensemble_steps: int | None = None
    align_weight: float | int = 1.0
    score_threshold: float | int = 0.6190392084062235
    iou_threshold: float | int = 0.5
    cover_threshold: float | int = 0.7
    nms_rule: str = "or"
    scale: float | int = 1.0
    init_std: float | int = 0.02

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        if SubConfigSpec is None:
            self.backbone_config, kwargs = consolidate_backbone_kwargs_to_config(
                backbone_config=self.backbone_config,
                default_config_type="convnext",
                default_config_kwargs=dict(DEFAULT_BACKBONE),
                **kwargs,
            )
            if not isinstance(self.text_config, PreTrainedConfig):
                self.text_config = CLIPTextConfig(**{**DEFAULT_TEXT, **(self.text_config or {})})
        if self.region_source is None:
            self.region_source = "clip" if self.adapter == "none" else "adapter"
        super().__post_init__(**kwargs)
        if self.visual_projection_hidden_size is None:
            text: Any = self.text_config
            self.visual_projection_hidden_size = 2 * text.projection_dim

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        for name, legal in CHOICES.items():
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: choose one of {', '.join(legal)}.")
        for name in ("feature_size", "hidden_size"):
            if getattr(self, name) % self.num_attention_heads or getattr(self, name) % 2:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be even and a multiple of num_attention_heads="
                    f"{self.num_attention_heads}."
                )
        if self.hidden_size != self.mask_feature_size:
            raise ValueError(
                f"hidden_size={self.hidden_size} and mask_feature_size={self.mask_feature_size} must agree: prompts "
                "add the pixel embedding at their place to their tokens."
            )
        if self.feature_size % 32:
            raise ValueError(
                f"feature_size={self.feature_size} must be a multiple of 32, the number of normalization groups."
            )
        for name in ("num_masks", "points_per_side", "train_points_per_side", "prompt_chunk_size", "adapter_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.adapter == "none" and self.region_source != "clip":
            raise ValueError(f"region_source={self.region_source!r} needs an adapter, but adapter='none': use 'clip'.")
        if not self.region_sizes or min(self.region_sizes) < 1:
            raise ValueError(f"region_sizes={self.region_sizes}: give at least one positive input size.")
        sizes = getattr(self.backbone_config, "hidden_sizes", None)
        if getattr(self.backbone_config, "model_type", None) != "convnext" or len(sizes or ()) != 4:
            raise ValueError(
                "backbone_config must be a ConvNeXt with four stages (model_type='convnext'), got "
                f"{getattr(self.backbone_config, 'model_type', None)!r} with hidden_sizes={sizes}."
            )


__all__ = ["UnpairSegConfig"]
