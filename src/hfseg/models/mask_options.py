# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What configurations of mask-classification models say about the mask decoder and its losses."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ..files.stuff_classes import StuffClassesMixin

QUERY_SELECTIONS = ("learned", "pixels")
POSITION_CODES = ("normalized", "pixels")


@strict
class MaskDecoderConfig(StuffClassesMixin, PreTrainedConfig):
    r"""
    Fields of the mask decoder and of its losses. Defaults are Mask2Former's, where it has them; the options that help
    with small, look-alike objects are off.

    Args:
        feature_size (`int`, defaults to 256):
            Channels of the maps that the queries attend to; a multiple of 32, the number of normalization groups.
        mask_feature_size (`int`, defaults to 256):
            Channels of the pixel embedding, whose product with a query's mask embedding is a mask.
        hidden_size (`int`, defaults to 256):
            Channels of the queries.
        num_queries (`int`, defaults to 100):
            Queries, the upper bound of segments per image.
        decoder_layers (`int`, defaults to 9):
            Layers of the mask decoder; there is one more prediction, from the queries as they are learned. Checkpoints
            and configurations of Mask2Former count one more.
        num_attention_heads (`int`, defaults to 8):
            Heads of the mask decoder's attention.
        dim_feedforward (`int`, defaults to 2048):
            Hidden units of the mask decoder's layers.
        dropout (`float`, defaults to 0.0):
            Dropout probability.
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
            With queries from pixels: smallest heat of a query; colder ones become "no object" in evaluation. Other
            queries look at local maxima of this heat only.
        heat_weight (`float`, defaults to 2.0):
            Weight of the focal loss of the heat map.
        position_code (`str`, defaults to `"normalized"`):
            Sine position codes: `"normalized"` by the size of the map, as in DETR, or in `"pixels"`, which mean the
            same in a crop and in a whole image. Queries from pixels always use the latter in the decoder.
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
    """

    attribute_map = {"num_hidden_layers": "decoder_layers"}

    feature_size: int = 256
    mask_feature_size: int = 256
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

    def validate_architecture(self):
        """Checks what types cannot express.

        Raises:
            ValueError: Naming the value, what it must be, and the fix.
        """
        super().validate_architecture()
        self._validate_queries()
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 4:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of num_attention_heads={self.num_attention_heads} "
                "and of 4 (the position code interleaves sine and cosine of two axes)."
            )
        if self.feature_size % 32:
            raise ValueError(
                f"feature_size={self.feature_size} must be a multiple of 32, the number of normalization groups."
            )
        stuff, num_labels = self.stuff_class_ids or (), self.num_labels or 0
        if any(not 0 <= class_id < num_labels for class_id in stuff):
            raise ValueError(
                f"stuff_class_ids={list(stuff)} has ids outside the {num_labels} classes of id2label "
                f"(0..{num_labels - 1})."
            )

    def _validate_queries(self):
        """Checks the options of the queries."""
        for name, choices in (("query_selection", QUERY_SELECTIONS), ("position_code", POSITION_CODES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not known: it must be one of {', '.join(choices)}."
                )
        if self.query_selection == "learned":
            return
        if not 1 <= self.num_learned_queries < self.num_queries:
            raise ValueError(
                f"num_learned_queries={self.num_learned_queries} must be at least 1 and below num_queries="
                f"{self.num_queries}, which counts learned queries and those from pixels together."
            )
        if self.max_queries is not None and self.max_queries <= self.num_learned_queries:
            raise ValueError(
                f"max_queries={self.max_queries} must be above num_learned_queries={self.num_learned_queries}."
            )
        if not 0 <= self.heat_threshold < 1:
            raise ValueError(f"heat_threshold={self.heat_threshold} must be at least 0 and below 1, for example 0.05.")
