# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fresh weights for tensors of a timm backbone that a file lacks. Imports timm: load it when needed.

transformers takes for granted that a file holds all of them: it builds the network without values, calls what is
missing newly initialized, and leaves in it what was in memory.
"""

from typing import Any

import timm
import torch
from torch import nn
from transformers import TimmBackbone
from transformers import initialization as init

__all__ = ["FreshTimmBackbone"]


class FreshTimmBackbone(TimmBackbone):
    """transformers' wrapper of a timm network, whose missing tensors are timm's own initialization.

    Attributes:
        timm_kwargs: Further arguments of `timm.create_model` that the network was built with.
    """

    timm_kwargs: dict[str, Any]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is not self:
            return
        network: Any = self._backbone
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        held = set(network.state_dict())  # of a file, unlike buffers that are made anew
        missing = [name for name in held if not getattr(tensors[name], "_is_hf_initialized", False)]
        if not missing:
            return
        with torch.device("cpu"):
            fresh = timm.create_model(
                str(self.config.backbone),
                pretrained=False,
                features_only=self.config.features_only,
                in_chans=self.config.num_channels,
                out_indices=self.config.out_indices,
                output_stride=self.config.output_stride,
                **self.timm_kwargs,
            ).state_dict()
        for name in missing:
            init.copy_(tensors[name], fresh[name])
