# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of CRIS."""

from huggingface_hub.dataclasses import strict
from transformers import CLIPTextConfig, PreTrainedConfig

from ...files.bounds import check_counts
from ..sub_configs import SubConfigSpec, sub_config

# Width of the joint embedding space of CLIP with ResNet-50; ResNet-101 has 512.
DEFAULT_TEXT = {"projection_dim": 1024}


@strict
class CrisConfig(PreTrainedConfig):
    r"""
    Configuration of CRIS (Wang et al., "CRIS: CLIP-Driven Referring Image Segmentation", CVPR 2022). The defaults are
    the published model with CLIP's ResNet-50. With ResNet-101: `vision_layers=(3, 4, 23, 3)` and
    `text_config={"projection_dim": 512}`.

    Args:
        text_config (`CLIPTextConfig | dict`, *optional*):
            CLIP's text transformer. Its `hidden_size` is the width of word features, its `projection_dim` that of the
            joint embedding space, and its `eos_token_id` marks the token whose feature stands for the sentence.
        vision_layers (`tuple[int, int, int, int]`, defaults to `(3, 4, 6, 3)`):
            Bottleneck blocks per stage of CLIP's ResNet.
        vision_width (`int`, defaults to 64):
            Channels after the stem; the last stage has 32 times as many.
        image_size (`int`, defaults to 224):
            Side of the images that CLIP was trained on, in pixels. It fixes the grid of learned positions of the
            attention pool, which are resized to the actual one.
        neck_sizes (`tuple[int, int, int]`, defaults to `(256, 512, 1024)`):
            Channels of the neck at strides 8, 16 and 32. The second equals `hidden_size`.
        hidden_size (`int`, defaults to 512):
            Channels of pixel features and words in the decoder. Equals the `hidden_size` of `text_config`.
        use_decoder (`bool`, defaults to `True`):
            Whether the vision-language decoder runs. Off in the thesis's rows "baseline" and "contrastive".
        num_decoder_layers (`int`, defaults to 3):
            Layers of the decoder, the paper's n.
        num_attention_heads (`int`, defaults to 8):
            Heads of its attention.
        dim_feedforward (`int`, defaults to 2048):
            Hidden units of its layers.
        dropout (`float`, defaults to 0.1):
            Dropout probability of the decoder, also of its attention weights.
        use_text_to_pixel (`bool`, defaults to `True`):
            Whether the sentence produces the last convolution ("contrastive" in the paper's tables). Off, that
            convolution is learned, the same for all sentences.
        mask_label_resize (`str`, defaults to `"nearest"`):
            How masks are brought to the size of the logits for the loss: `"nearest"` as the authors do, or `"aligned"`
            with where post-processing reads the logits, which gives finer borders (`losses.text_to_pixel`).

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for sizes that do not fit each
            other and wrong types.

    Example:

    ```python
    >>> from hfseg import CrisConfig, CrisForReferringImageSegmentation

    >>> configuration = CrisConfig(
    ...     text_config={"vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    ...                  "num_attention_heads": 1, "projection_dim": 24, "bos_token_id": 97, "eos_token_id": 98},
    ...     vision_layers=(1, 1, 1, 1), vision_width=8, image_size=64, neck_sizes=(16, 32, 48), hidden_size=32,
    ...     num_decoder_layers=1, num_attention_heads=2, dim_feedforward=64,
    ... )
    >>> model = CrisForReferringImageSegmentation(configuration)

    ```
    """

    model_type = "cris"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = ["loss_dict", "hidden_states", "attentions", "cross_attentions"]
    if SubConfigSpec is None:
        sub_configs = {"text_config": CLIPTextConfig}
    else:
        sub_configs_defaults = {
            "text_config": SubConfigSpec(
                config_class=CLIPTextConfig, model_type="clip_text_model", init_kwargs=dict(DEFAULT_TEXT)
            )
        }
    attribute_map = {"num_hidden_layers": "num_decoder_layers"}

    text_config: dict | PreTrainedConfig | None = None
    vision_layers: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    vision_width: int = 64
    image_size: int = 224
    neck_sizes: list[int] | tuple[int, ...] = (256, 512, 1024)
    hidden_size: int = 512
    use_decoder: bool = True
    num_decoder_layers: int = 3
    num_attention_heads: int = 8
    dim_feedforward: int = 2048
    dropout: float | int = 0.1
    use_text_to_pixel: bool = True
    mask_label_resize: str = "nearest"

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        if SubConfigSpec is None and not isinstance(self.text_config, PreTrainedConfig):
            self.text_config = CLIPTextConfig(**{**DEFAULT_TEXT, **(self.text_config or {})})
        super().__post_init__(**kwargs)

    @property
    def projection_dim(self) -> int:
        """Width of CLIP's joint space, E."""
        return sub_config(self.text_config, CLIPTextConfig).projection_dim or 0

    @property
    def vision_hidden_size(self) -> int:
        """Channels of the last stage of the image tower."""
        return 32 * self.vision_width

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        if len(self.vision_layers) != 4 or min(self.vision_layers) < 1:
            raise ValueError(
                f"vision_layers={tuple(self.vision_layers)} must be four positive block counts, for example "
                "(3, 4, 6, 3)."
            )
        if self.vision_width < 8 or self.vision_width % 2:
            raise ValueError(
                f"vision_width={self.vision_width} must be even and at least 8: the attention pool has a head per 64 "
                "of its 32 * vision_width channels, and bottlenecks are not narrower than 8."
            )
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size={self.image_size} must be a multiple of 32, the stride of the last stage.")
        words = getattr(self.text_config, "hidden_size", self.hidden_size)
        if len(self.neck_sizes) != 3 or self.neck_sizes[1] != self.hidden_size or words != self.hidden_size:
            raise ValueError(
                f"neck_sizes={tuple(self.neck_sizes)} must be three widths whose second is "
                f"hidden_size={self.hidden_size}, and so must be the hidden_size of text_config ({words}): pixels "
                "attend to words."
            )
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 4:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of num_attention_heads={self.num_attention_heads} "
                "and of 4 (the position code interleaves sine and cosine of two axes)."
            )
        if self.mask_label_resize not in ("nearest", "aligned"):
            raise ValueError(f"mask_label_resize={self.mask_label_resize!r} is not known: choose nearest or aligned.")
        if self.use_decoder and self.num_decoder_layers < 1:
            raise ValueError(
                f"num_decoder_layers={self.num_decoder_layers} must be 1 or more; use_decoder=False leaves the decoder "
                "out."
            )


__all__ = ["CrisConfig"]
