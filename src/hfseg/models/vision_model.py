# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What all models of images have in common, as transformers asks for it."""

from transformers import PreTrainedModel

from ..files.remote_code import RemoteCodeModel

__all__ = ["VisionModel"]


class VisionModel(RemoteCodeModel, PreTrainedModel):
    """Base of the families' `PreTrainedModel`s.

    Their own are `config`, `_no_split_modules`, the initialization of weights, and what they support besides.
    """

    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
