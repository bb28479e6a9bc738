# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the classes of outputs share."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.utils import ModelOutput

__all__ = ["MaskClassificationOutput", "always_set"]


def always_set() -> Any:
    """Default of an output's field that every forward sets, so that its declared type has no None.

    `ModelOutput` demands the default None of every field but the first, set or not.

    >>> from dataclasses import dataclass
    >>> from transformers.utils import ModelOutput
    >>> @dataclass
    ... class Output(ModelOutput):
    ...     loss: float | None = None
    ...     logits: int = always_set()
    >>> Output(logits=3).to_tuple()
    (3,)
    """
    return field(default=None)


@dataclass
class MaskClassificationOutput(ModelOutput):
    """Output of models that predict masks and their classes; field names are those of transformers' Mask2Former.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only with labels.
        loss_dict: Its terms, already weighted: `loss_ce`, `loss_mask`, `loss_dice` of the last prediction, the same
            with `_0`, `_1`, ... of the auxiliary ones, `loss_heat` with queries from pixels, and what the model adds.
            Only with labels.
        class_queries_logits: Class logits, last class "no object", `(B, Q, K + 1)`.
        masks_queries_logits: Mask logits, `(B, Q, H/4, W/4)`.
        auxiliary_logits: With `output_auxiliary_logits`: a dictionary with both for each earlier prediction.
        pixel_embedding: `(B, M, H/4, W/4)`; `(B, M + 4, H/4, W/4)` with mask positions.
        heat_logits: With queries from pixels: logits of the heat map of object centers, `(B, H/8, W/8)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder or encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    auxiliary_logits: list[dict[str, torch.Tensor]] | None = None
    pixel_embedding: torch.Tensor | None = None
    heat_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None
