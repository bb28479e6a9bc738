# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Unpair-Seg: promptable and open-vocabulary segmentation learned from unpaired masks and texts.

Wang et al., "Open-Vocabulary Segmentation with Unpaired Mask-Text Supervision" (arXiv 2402.08960). A frozen CLIP
ConvNeXt feeds two learned parts. Stage 1 learns *where*: points and boxes become short sequences of tokens, and a mask
decoder turns each into masks and a score, trained on masks without names. Stage 2 learns *what*: masks of an image are
matched with the nouns of a caption of the same image in CLIP's space, and a light adapter learns to describe a mask
like its noun, without a single mask-text pair. A name from any list of words is then the text nearest to a mask.

Shape legend: B images, H x W network input, Q prompts, P points of a prompt, K tokens of a prompt, M masks of a prompt,
C channels, D size of CLIP's common space, N masks of an image (Q M), V words.

Where the paper and the official code disagree, released weights decide: location tokens carry corner and sign
embeddings, and the type and content of the prompt are not added to the mask tokens; position codes are random Fourier
features, with three independent matrices; a 1x1 convolution and one perceptron per granularity stand between token
and mask; there is no attention from the image to the prompts. What differs from the official code without changing
numbers: the 1x1 convolution runs once per image instead of once per layer, masks that steer the attention come from a
pixel embedding resized once per level, and full masks are made at the end, for the prompts that are asked for.
What nobody published (the adapter's sizes, for example) is a field of the configuration.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import ConvNextConfig, ConvNextModel
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from ...layers.mask_decoder import (
    mask_logits,
)
from ...layers.positions import level_sizes
from ...losses.promptable import PromptableLossWeights, promptable_loss
from ..outputs import always_set
from ..sub_configs import sub_config
from .configuration_unpairseg import UnpairSegConfig
from .encoder_unpairseg import UnpairSegPixelDecoder, UnpairSegPreTrainedModel
from .prompt_decoder_unpairseg import UnpairSegMaskDecoder, merge_chunks

# What the outputs of the heads pass on from the bare model.
LOSS_SETTINGS = ("iou_target", "score_targets", "oversample_ratio", "importance_sample_ratio")
MAX_POINTS_PER_SIDE = 256  # 65,536 masks
REQUESTED = (
    "hidden_states",
    "attentions",
    "cross_attentions",
    "encoder_hidden_states",
    "encoder_attentions",
)


@dataclass
class UnpairSegImageEmbeddings(ModelOutput):
    """What prompts read of an image; made once, used for any number of prompts.

    Attributes:
        mask_features: Pixel decoder's stride-4 map, `(B, C, H/4, W/4)`.
        multi_scale_features: Its maps at strides 32, 16 and 8, each `(B, C, h, w)`.
        feature_maps: CLIP's maps at strides 4, 8, 16 and 32.
        input_size: `(H, W)` of the network input, to which prompts refer.
    """

    mask_features: torch.Tensor = always_set()
    multi_scale_features: tuple[torch.Tensor, ...] = always_set()
    feature_maps: tuple[torch.Tensor, ...] = always_set()
    input_size: tuple[int, int] = always_set()


@dataclass
class UnpairSegModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: Tokens of all prompts after the last layer, `(B, Q, K, C)`.
        iou_scores: Predicted quality of each mask, 0..1, `(B, Q, M)`.
        pred_masks: Mask logits at a quarter of the input's size, `(B, Q, M, H/4, W/4)`, unless `output_masks=False`.
        mask_embeddings: `(B, Q, M, C)`. Their product with `pixel_embedding` are the masks.
        pixel_embedding: `(B, C, H/4, W/4)`.
        all_mask_embeddings: Of every prediction level, each `(B, Q, M, C)`.
        all_iou_scores: Of every prediction level, each `(B, Q, M)`, in training; else of the last only.
        input_points: Points used, `(B, Q, P, 2)`, if prompts were points.
        image_embeddings: What was read of the image.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    last_hidden_state: torch.Tensor = always_set()
    iou_scores: torch.Tensor = always_set()
    pred_masks: torch.Tensor | None = None
    mask_embeddings: torch.Tensor = always_set()
    pixel_embedding: torch.Tensor = always_set()
    all_mask_embeddings: tuple[torch.Tensor, ...] = always_set()
    all_iou_scores: tuple[torch.Tensor, ...] = always_set()
    input_points: torch.Tensor | None = None
    feature_maps: tuple[torch.Tensor, ...] = always_set()
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UnpairSegMaskGenerationOutput(ModelOutput):
    """Output of `UnpairSegForMaskGeneration`; `iou_scores` and `pred_masks` are named as in transformers' SAM.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only with labels.
        loss_dict: Its terms, already weighted: `loss_mask`, `loss_dice`, `loss_iou` of the last prediction, and the
            same with `_0`, `_1`, ... of earlier ones. Only with labels.
        iou_scores: Predicted quality of each mask, 0..1, `(B, Q, M)`.
        pred_masks: Mask logits, `(B, Q, M, H/4, W/4)`, unless `output_masks=False`.
        mask_embeddings: `(B, Q, M, C)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
        input_points: Points used, `(B, Q, P, 2)`, if prompts were points.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    iou_scores: torch.Tensor | None = None
    pred_masks: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    input_points: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


class UnpairSegModel(UnpairSegPreTrainedModel):
    """CLIP's visual trunk, pixel decoder, prompt encoder and mask decoder: masks and scores of prompts."""

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        # A ConvNeXt has no attention, and refuses to be told how to compute it.
        backbone_config = sub_config(config.backbone_config, ConvNextConfig)
        backbone_config._attn_implementation = "eager"
        self.backbone = ConvNextModel(backbone_config)
        self.pixel_decoder = UnpairSegPixelDecoder(config, list(backbone_config.hidden_sizes or ()))
        self.mask_decoder = UnpairSegMaskDecoder(config)
        if config.freeze_backbone:
            self.backbone.requires_grad_(False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.backbone.embeddings.patch_embeddings

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.backbone.embeddings.patch_embeddings = cast(nn.Conv2d, value)

    def train(self, mode: bool = True) -> "UnpairSegModel":
        """Sets training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.config.freeze_backbone:
            self.backbone.eval()
        return self

    def extract_features(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes CLIP's maps at strides 4, 8, 16, 32, as they leave its stages (without a norm).

        Shape:
            pixel_values: `(B, 3, H, W)`; output: each `(B, C_i, H / stride_i, W / stride_i)`.
        """
        maps = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_backbone):
            features = self.backbone.embeddings(pixel_values)
            for stage in self.backbone.encoder.stages:
                features = stage(features)
                maps.append(features)
        return tuple(maps)

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; give it to `forward` as `image_embeddings`.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        return self.encode(pixel_values, **kwargs)[0]

    def encode(self, pixel_values: torch.Tensor, **kwargs: Any) -> tuple[UnpairSegImageEmbeddings, Any, Any]:
        """Computes what prompts read of images, with hidden states and attentions of the pixel decoder on request."""
        feature_maps = self.extract_features(pixel_values)
        pixels = self.pixel_decoder(feature_maps, **kwargs)
        embeddings = UnpairSegImageEmbeddings(
            mask_features=pixels.mask_features,
            multi_scale_features=pixels.multi_scale_features,
            feature_maps=feature_maps,
            input_size=(pixel_values.shape[-2], pixel_values.shape[-1]),
        )
        return embeddings, pixels.hidden_states, pixels.attentions

    def point_grid(
        self,
        batch_size: int,
        input_size: tuple[int, int],
        original_sizes: torch.Tensor | None = None,
        points_per_side: int | None = None,
    ) -> torch.Tensor:
        """Lays a regular grid of points over each image, none of them on its padding; jittered in training.

        Args:
            batch_size: B.
            input_size: `(H, W)` of the network input.
            original_sizes: (height, width) of each image before it was resized and padded; default: no padding.
            points_per_side: Default: the configuration's, in training its own.

        Shape:
            original_sizes: `(B, 2)`; output: `(B, Q, 1, 2)`, rows of the grid one after the other.

        Raises:
            ValueError: `points_per_side` is below 1 or above `MAX_POINTS_PER_SIDE`.
        """
        config, device = self.config, self.device
        side = points_per_side
        if side is None:
            side = config.train_points_per_side if self.training else config.points_per_side
        if not 1 <= side <= MAX_POINTS_PER_SIDE:
            raise ValueError(f"points_per_side must lie between 1 and {MAX_POINTS_PER_SIDE}, got {side}.")
        last = (level_sizes((input_size,), device) - 1).expand(batch_size, 2)  # (x, y) of the last pixel
        if original_sizes is None:
            extent = last
        else:
            original = (original_sizes.to(device, torch.float32).flip(-1) - 1).clamp(min=0)  # (B, 2)
            # One scale for both axes, by the longer side.
            extent = original * (last / original.amax(-1, keepdim=True).clamp(min=1)).amin(-1, keepdim=True)
        steps = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        grid = torch.stack((x, y), dim=-1).view(1, -1, 2)  # (1, Q, 2)
        if self.training and config.point_jitter:
            shift = (2 * torch.rand(batch_size, side * side, 2, device=device) - 1) * (config.point_jitter / side)
            grid = (grid + shift).clamp(0, 1)
        return (grid * extent[:, None]).unsqueeze(2)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_points: torch.Tensor | None = None,
        input_labels: torch.Tensor | None = None,
        input_boxes: torch.Tensor | None = None,
        original_sizes: torch.Tensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        output_masks: bool = True,
        points_per_side: int | None = None,
        prompt_chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegModelOutput:
        """Predicts masks of prompts; without prompts, of a grid of points.

        Args:
            pixel_values: Normalized images.
            input_points: (x, y) in pixels of the network input, P points for each of Q prompts. One point gives M
                masks of different granularity, several points of one object give one mask.
            input_labels: 1 for points on the object, 0 for points beside it. Default: all on it.
            input_boxes: (x0, y0, x1, y1) in pixels of the network input; one mask each. Instead of points.
            original_sizes: (height, width) of images before resizing, where the grid of points must avoid padding.
            image_embeddings: From `get_image_embeddings`, instead of `pixel_values`.
            output_masks: Whether to make masks of all prompts; otherwise embeddings are returned, from which the masks
                that pass a score threshold can be made.
            points_per_side: Of the grid; default: the configuration's.
            prompt_chunk_size: Prompts decoded at once; default: the configuration's. Bounds memory only.

        Raises:
            ValueError: For missing images, or points together with boxes.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_points: `(B, Q, P, 2)`; input_labels: `(B, Q, P)`; input_boxes:
            `(B, Q, 4)`; original_sizes: `(B, 2)`. Outputs: see `UnpairSegModelOutput`.
        """
        if input_points is not None and input_boxes is not None:
            raise ValueError("Give input_points or input_boxes, not both: they are prompts of their own.")
        pred_masks = encoder_hidden_states = encoder_attentions = None
        if image_embeddings is None:
            if pixel_values is None:
                raise ValueError("Give pixel_values, or image_embeddings from get_image_embeddings().")
            image_embeddings, encoder_hidden_states, encoder_attentions = self.encode(pixel_values, **kwargs)
        mask_features, size = image_embeddings.mask_features, image_embeddings.input_size
        batch_size, decoder = mask_features.shape[0], self.mask_decoder

        if input_boxes is not None:
            tokens = decoder.prompt_encoder.boxes(input_boxes, mask_features, size)
        else:
            if input_points is None:
                input_points = self.point_grid(batch_size, size, original_sizes, points_per_side)
            tokens = decoder.prompt_encoder.points(input_points, input_labels, mask_features, size)
        num_points = None if input_points is None else input_points.shape[2]
        places = decoder.readout_places(tokens.shape[2], num_points)
        memory = decoder.read_image(mask_features, image_embeddings.multi_scale_features)
        at_once = tokens.shape[1] if self.training else prompt_chunk_size or self.config.prompt_chunk_size
        chunks = [decoder(part, memory, places, **kwargs) for part in tokens.split(max(1, at_once), dim=1)]
        decoded = merge_chunks(chunks, batch_size)

        levels = decoded.readouts if self.training else decoded.readouts[-1:]
        all_iou_scores = tuple(decoder.iou_scores(readouts, places[1]) for readouts in levels)
        embeddings = decoded.mask_embeddings[-1]  # (B, Q, M, C)
        if output_masks:
            pred_masks = mask_logits(embeddings.flatten(1, 2), memory.pixel_embedding)  # (B, Q*M, H/4, W/4)
            pred_masks = pred_masks.unflatten(1, embeddings.shape[1:3])
        return UnpairSegModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            iou_scores=all_iou_scores[-1],
            pred_masks=pred_masks,
            mask_embeddings=embeddings,
            pixel_embedding=memory.pixel_embedding,
            all_mask_embeddings=decoded.mask_embeddings,
            all_iou_scores=all_iou_scores,
            input_points=input_points,
            feature_maps=image_embeddings.feature_maps,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attentions=encoder_attentions,
        )


class UnpairSegForMaskGeneration(UnpairSegPreTrainedModel):
    """Stage 1: masks and scores of points and boxes, with the loss that learns them from masks without names."""

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False
    # A folder of the open-vocabulary model serves this class too.
    _keys_to_ignore_on_load_unexpected = [
        r"^text_model\.",
        r"^visual_projection\.",
        r"^adapter\.",
        r"^logit_scale$",
        r"^matching_state$",
    ]

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        self.model = UnpairSegModel(config)
        self.post_init()

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; see `UnpairSegModel.get_image_embeddings`."""
        return self.model.get_image_embeddings(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_points: torch.Tensor | None = None,
        input_labels: torch.Tensor | None = None,
        input_boxes: torch.Tensor | None = None,
        original_sizes: torch.Tensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        mask_labels: list[torch.Tensor] | None = None,
        box_labels: torch.Tensor | None = None,
        output_masks: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegMaskGenerationOutput:
        """Predicts masks of prompts and, with labels, the loss.

        Args:
            pixel_values: Normalized images.
            input_points: See `UnpairSegModel.forward`.
            input_labels: Likewise.
            input_boxes: Likewise.
            original_sizes: Likewise.
            image_embeddings: Likewise.
            mask_labels: Per image T masks without names: binary `(T, H, W)`, which may overlap, or an integer map
                `(H, W)` whose value n is mask n, counted from 1. T may be 0.
            box_labels: With boxes: index of the mask that each box frames, -1 for a box that fills the batch up.
            output_masks: See `UnpairSegModel.forward`.

        Raises:
            ValueError: If prompts or labels do not fit.

        Shape:
            pixel_values: `(B, 3, H, W)`; prompts: see `UnpairSegModel.forward`; box_labels: `(B, Q)`.
            Outputs: see `UnpairSegMaskGenerationOutput`.
        """
        config = self.config
        outputs = self.model(
            pixel_values,
            input_points,
            input_labels,
            input_boxes,
            original_sizes,
            image_embeddings,
            output_masks=output_masks,
            **kwargs,
        )
        loss = loss_dict = None
        if mask_labels is not None:
            if input_boxes is not None and box_labels is None:
                raise ValueError("Training with input_boxes needs box_labels: which mask each box frames.")
            # The model refuses calls without either.
            known = cast(UnpairSegImageEmbeddings, image_embeddings) if pixel_values is None else None
            size = cast(torch.Tensor, pixel_values).shape[-2:] if known is None else known.input_size
            levels = slice(None) if config.use_auxiliary_loss and self.training else slice(-1, None)
            loss_dict = promptable_loss(
                mask_embeddings=torch.stack(outputs.all_mask_embeddings[levels]),
                iou_scores=torch.stack(outputs.all_iou_scores[levels]),
                pixel_embedding=outputs.pixel_embedding,
                mask_labels=mask_labels,
                points=None if outputs.input_points is None else outputs.input_points[:, :, 0],
                box_labels=box_labels,
                padded_size=(size[0], size[1]),
                weights=PromptableLossWeights(config.mask_weight, config.dice_weight, config.iou_weight),
                num_points=config.train_num_points,
                **{name: getattr(config, name) for name in LOSS_SETTINGS},
            )
            # Points and boxes use different parameters; a gradient of zero keeps distributed training in step.
            unused = sum(parameter.sum() for parameter in self.model.mask_decoder.parameters()) * 0.0
            loss = torch.stack(list(loss_dict.values())).sum() + unused
        return UnpairSegMaskGenerationOutput(
            loss=loss,
            loss_dict=loss_dict,
            iou_scores=outputs.iou_scores,
            pred_masks=outputs.pred_masks,
            mask_embeddings=outputs.mask_embeddings,
            pixel_embedding=outputs.pixel_embedding,
            input_points=outputs.input_points,
            **{name: outputs[name] for name in REQUESTED if name in outputs},
        )


__all__ = [
    "UnpairSegForMaskGeneration",
    "UnpairSegModel",
    "UnpairSegPreTrainedModel",
]
