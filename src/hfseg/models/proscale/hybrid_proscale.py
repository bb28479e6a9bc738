# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""RT-DETR's hybrid encoder in the place of Mask2Former's: the paper's baseline RT-M2F.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection" (RT-DETR), CVPR 2024, section 4.2: attention within the
coarsest map (AIFI), then convolutional fusion across scales (CCFF), top-down and bottom-up. The blocks are those of
transformers' RT-DETR; the way through them is here, for maps of any size.

Nothing of RT-M2F was published but its cost, which says what it is: 130.0 GFLOPs in the encoder and 361.1 in total
(Cityscapes) are met by masks at stride 8, the finest map of the hybrid encoder, projected by a 1x1 convolution; the map
at stride 4 and Mask2Former's 3x3 convolution have no place in them (counted 129.8 and 361.2, COCO 59.68 and 158.1 where
the paper prints 59.66 and 158.3). Here
the pixel embedding is resized to stride 4 at the end, so that all options of masks mean what they mean elsewhere; the
product with a mask embedding commutes with it.

Shape legend: B images, H x W padded input, s2..s4 backbone maps at strides 8, 16, 32, T tokens of s4, C `feature_size`,
M `mask_feature_size`.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import RTDetrConfig
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.rt_detr.modeling_rt_detr import RTDetrConvNormLayer, RTDetrCSPRepLayer
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.initialization import init_feedforward, init_projection
from ...layers.mask_decoder import MultiHeadAttention, eager_attention
from ...layers.positions import grid_sine_positions
from .configuration_proscale import ProScaleConfig
from .encoder_proscale import ProScalePixelDecoderOutput, ProScalePreTrainedModel


class ProScaleIntraScaleLayer(GradientCheckpointingLayer):
    """Self-attention among the tokens of s4 and feed-forward with GELU, each followed by addition and LayerNorm."""

    def __init__(self, config: ProScaleConfig):
        super().__init__()
        channels, self.dropout = config.feature_size, config.dropout
        heads = config.encoder_attention_heads or config.num_attention_heads
        self.self_attn = MultiHeadAttention(channels, heads, config.dropout)
        self.self_attn_layer_norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, config.encoder_feedforward_dim)
        self.fc2 = nn.Linear(config.encoder_feedforward_dim, channels)
        self.final_layer_norm = nn.LayerNorm(channels)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, attend=eager_attention, **kwargs) -> torch.Tensor:
        """Updates tokens.

        Shape:
            tokens: `(B, T, C)`; positions: `(1, T, C)`; output: `(B, T, C)`.
        """

        def add(block: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return residual + F.dropout(block, p=self.dropout, training=self.training)

        positioned = tokens + positions
        attended, _ = self.self_attn(positioned, positioned, tokens, None, attend, **kwargs)
        tokens = self.self_attn_layer_norm(add(attended, tokens))
        hidden = F.dropout(F.gelu(self.fc1(tokens)), p=self.dropout, training=self.training)
        return self.final_layer_norm(add(self.fc2(hidden), tokens))


class ProScaleHybridPixelDecoder(ProScalePreTrainedModel):
    """Encodes s4 by attention, fuses three scales by convolutions, and makes the pixel embedding of the finest.

    Runs in the type of its weights even under autocast, as the other encoders.
    """

    _no_split_modules = ["ProScaleIntraScaleLayer"]
    _can_record_outputs = {
        "hidden_states": ProScaleIntraScaleLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
    }

    def __init__(self, config: ProScaleConfig, in_channels: list[int]):
        super().__init__(config)
        channels = config.feature_size
        # Of RT-DETR's configuration its blocks read the width and what is its default: SiLU, expansion 1.
        blocks = RTDetrConfig(encoder_hidden_dim=channels)
        activation = blocks.activation_function

        def convolution(kernel: int, stride: int) -> nn.Module:
            return RTDetrConvNormLayer(blocks, channels, channels, kernel, stride, activation=activation)

        self.input_projections = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(c, channels, 1), nn.GroupNorm(32, channels)) for c in reversed(in_channels[1:])]
        )
        self.intra_scale = ProScaleIntraScaleLayer(config)
        self.laterals = nn.ModuleList([convolution(1, 1) for _ in in_channels[2:]])
        self.top_down = nn.ModuleList([RTDetrCSPRepLayer(blocks) for _ in in_channels[2:]])
        self.downsamplings = nn.ModuleList([convolution(3, 2) for _ in in_channels[2:]])
        self.bottom_up = nn.ModuleList([RTDetrCSPRepLayer(blocks) for _ in in_channels[2:]])
        self.mask_projection = nn.Conv2d(channels, config.mask_feature_size, 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, RTDetrConvNormLayer):
            init.kaiming_uniform_(module.conv.weight, a=5**0.5)  # PyTorch's own, which RT-DETR leaves as it is
            init.ones_(module.norm.weight)
            init.zeros_(module.norm.bias)
        elif isinstance(module, ProScaleIntraScaleLayer):
            init_feedforward(module.fc1, module.fc2)
        elif isinstance(module, ProScaleHybridPixelDecoder):
            init_projection(*(part.get_submodule("0") for part in module.input_projections), module.mask_projection)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        feature_maps: tuple[torch.Tensor, ...],
        output_gates: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScalePixelDecoderOutput:
        """Encodes backbone maps.

        Args:
            feature_maps: s1, which is left out, s2, s3, s4.
            output_gates: There are none; taken as the other encoders do.

        Shape:
            feature_maps: `(B, C_i, H / stride_i, W / stride_i)`.
        """
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation or "eager", eager_attention)
        dtype = self.mask_projection.weight.dtype
        with maybe_autocast(feature_maps[-1].device.type, enabled=False):
            coarse_to_fine = [features.to(dtype) for features in reversed(feature_maps[1:])]
            maps = [project(features) for project, features in zip(self.input_projections, coarse_to_fine)]
            height, width = maps[0].shape[-2:]
            positions = grid_sine_positions(height, width, maps[0].shape[1], maps[0].device, dtype)
            tokens = self.intra_scale(maps[0].flatten(2).transpose(1, 2), positions, attend, **kwargs)
            maps[0] = tokens.transpose(1, 2).unflatten(2, (height, width))
            encoded = self.fuse(maps)
            pixels = self.mask_projection(encoded[-1])
            size = (2 * pixels.shape[-2], 2 * pixels.shape[-1])
            pixel_embedding = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        return ProScalePixelDecoderOutput(
            last_hidden_state=torch.cat([level.flatten(2).transpose(1, 2) for level in encoded], dim=1),
            multi_scale_features=encoded,
            pixel_embedding=pixel_embedding,
            gates=() if output_gates else None,
        )

    def fuse(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Fuses scales top-down, then bottom-up.

        Shape:
            maps: each `(B, C, h, w)`, coarse to fine; output: the same.
        """
        fused = [maps[0]]
        for lateral, block, level in zip(self.laterals, self.top_down, maps[1:]):
            fused[-1] = lateral(fused[-1])
            coarser = F.interpolate(fused[-1], size=level.shape[-2:], mode="nearest")
            fused.append(block(torch.cat((coarser, level), dim=1)))
        encoded = [fused[-1]]
        for downsampling, block, level in zip(self.downsamplings, self.bottom_up, reversed(fused[:-1])):
            encoded.append(block(torch.cat((downsampling(encoded[-1]), level), dim=1)))
        return tuple(reversed(encoded))
