# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""UniSegFormer's pre-training by masks, texts and a share of annotated images.

See `modeling_unisegformer` for the whole and for the letters of shapes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import SiglipTextConfig, SiglipTextModel
from transformers import initialization as init
from transformers.modeling_outputs import BackboneOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from ...files.remote_code import RemoteCodeModel
from ...layers.mask_decoder import (
    MultiHeadAttention,
    eager_attention,
)
from ...losses.contrastive import gather_with_gradient, sigmoid_contrastive_loss
from ...losses.masked_image import draw_masked_units, masked_reconstruction_loss
from ..sub_configs import sub_config
from .configuration_unisegformer import UniSegFormerConfig
from .encoder_unisegformer import STRIDES, UniSegFormerPreTrainedModel
from .heads_unisegformer import UniSegFormerDenseHead, UniSegFormerMaskHead, universal_losses
from .modeling_unisegformer import UniSegFormerModel


@dataclass
class UniSegFormerForPreTrainingOutput(ModelOutput):
    """Output of `UniSegFormerForPreTraining`.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only in training, or when texts or targets are given.
        loss_dict: `loss_mim`, `loss_contrastive` and the segmentation terms, those that apply, already weighted.
        reconstruction: Predicted pixels, normalized like `pixel_values`, `(B, 3, H, W)` padded to whole units.
        masked_units: 1 for units that were hidden, else 0, `(B, units)`, row by row.
        image_embeds: L2-normalized image embeddings, `(B, projection_size)`.
        text_embeds: L2-normalized text embeddings, `(B, projection_size)`. Only with texts.
        hidden_states, attentions: Of the encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    reconstruction: torch.Tensor | None = None
    masked_units: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def selected_states(
    states: tuple[torch.Tensor, ...] | None, wanted: bool | int | list[int] | None
) -> tuple[torch.Tensor | None, ...] | None:
    """Keeps the hidden states that the caller wants: all, none, or those of some indices, None in place of others."""
    if states is None or not wanted or wanted is True:
        return states if wanted else None
    wanted = [wanted] if isinstance(wanted, int) else wanted
    kept = {index % len(states) for index in wanted if -len(states) <= index < len(states)}
    return tuple(state if index in kept else None for index, state in enumerate(states))


class UniSegFormerAttentionPooling(nn.Module):
    """One learned query attends to the coarsest map; the result is projected to the text's space."""

    def __init__(self, config: UniSegFormerConfig, projection_size: int):
        super().__init__()
        channels = config.level_channels[3]
        self.query = nn.Parameter(torch.zeros(1, 1, channels))
        self.attention = MultiHeadAttention(channels, config.pooling_heads)
        self.projection = nn.Linear(channels, projection_size)

    def forward(self, tokens: torch.Tensor, attend: Callable = eager_attention) -> torch.Tensor:
        """Pools. Shape: `(B, T, C)` to `(B, projection_size)`."""
        query = self.query.expand(tokens.shape[0], -1, -1)
        return self.projection(self.attention(query, tokens, tokens, None, attend)[0][:, 0])


class UniSegFormerTextModel(RemoteCodeModel, SiglipTextModel):
    """SigLIP's text tower; as part of a model outside transformers' tree it keeps its rules of initialization."""

    _no_split_modules = ["SiglipTextEmbeddings", "SiglipEncoderLayer"]


class UniSegFormerForPreTraining(UniSegFormerPreTrainedModel):
    """Masked reconstruction, image-text contrast, and segmentation of a share of images.

    One view of an image serves reconstruction and contrast: masked, or (`mim_image_share`) whole for the contrast
    alone. Images with segments come beside them (`segmentation_pixel_values`) and are not masked. Contrast sees the
    pairs of one micro-batch of all processes: accumulation adds up separate contrasts, unlike a larger batch, unless
    `contrast_accumulated` is set.
    """

    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected: list[str] = []

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        self.model = UniSegFormerModel(config, use_mask_token=True)
        self.dense_head = UniSegFormerDenseHead(config)
        self.mask_head = UniSegFormerMaskHead(config)
        self.reconstruction = nn.Linear(config.level_channels[3], 3 * config.mim_patch**2)
        text_config = sub_config(config.text_config, SiglipTextConfig)
        self.text_model = UniSegFormerTextModel(text_config)
        self.pooling = UniSegFormerAttentionPooling(config, text_config.projection_size or text_config.hidden_size)
        # One element instead of none: FSDP shards no scalars.
        self.contrastive_scale = nn.Parameter(torch.full((1,), math.log(config.contrastive_scale_init)))
        self.contrastive_bias = nn.Parameter(torch.full((1,), float(config.contrastive_bias_init)))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, UniSegFormerAttentionPooling):
            init.normal_(module.query, std=self.config.initializer_range)
        elif module is self:
            init.constant_(self.contrastive_scale, math.log(self.config.contrastive_scale_init))
            init.constant_(self.contrastive_bias, self.config.contrastive_bias_init)

    def draw_mask(self, pixel_values: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draws the units to hide. Shape: `(B, 3, H, W)` to boolean `(B, ceil(H/32) * ceil(W/32))`."""
        height, width = (-(-side // self.config.mim_patch) for side in pixel_values.shape[-2:])
        return draw_masked_units(
            len(pixel_values), height * width, self.config.mim_mask_ratio, pixel_values.device, generator
        )

    def draw_batch_mask(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Draws the units to hide in a batch of training: in the first `mim_image_share` of it, at least one image.

        Shape: as `draw_mask`.
        """
        hidden = self.draw_mask(pixel_values)
        if self.training:
            hidden[max(1, round(self.config.mim_image_share * len(hidden))) :] = False
        return hidden

    def image_features(
        self, pixel_values: torch.Tensor, masked_units: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, BackboneOutput]:
        """Encodes images for reconstruction and contrast.

        Args:
            pixel_values: Normalized images.
            masked_units: Units to hide; None hides nothing.

        Returns:
            F4, normalized, channels last, L2-normalized embeddings, and all that the encoder gave.

        Shape:
            pixel_values: `(B, 3, H, W)`; masked_units: `(B, units)`.
            Output: `(B, h, w, 8 C)` and `(B, projection_size)`.
        """
        patches = None
        rows, columns = (-(-side // self.config.mim_patch) for side in pixel_values.shape[-2:])
        if masked_units is not None:
            units = masked_units.unflatten(1, (rows, columns))
            per_unit = self.config.mim_patch // STRIDES[0]
            patches = units.repeat_interleave(per_unit, 1).repeat_interleave(per_unit, 2)
            height, width = (-(-side // STRIDES[0]) for side in pixel_values.shape[-2:])
            patches = patches[:, :height, :width].flatten(1)
        encoded = self.model.encoder(
            pixel_values, patches, downwards=False, **{**kwargs, "output_hidden_states": True, "return_dict": True}
        )
        tokens = encoded.hidden_states[-1]  # (B, h w, 8C)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        pooled = self.pooling(tokens, attend)
        return tokens.unflatten(1, (rows, columns)), F.normalize(pooled.float(), dim=-1), encoded

    def text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes texts, L2-normalized. Shape: `(B, L)` to `(B, projection_size)`."""
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return F.normalize(outputs.pooler_output.float(), dim=-1)

    @torch.no_grad()
    def accumulation_inputs(
        self, batches: list[dict[str, Any]], model: Callable, device: torch.device
    ) -> list[dict[str, torch.Tensor]]:
        """Computes what each micro-batch has to know of the others: their embeddings, and its own hidden units.

        Args:
            batches: The micro-batches of one update.
            model: This model, as it is called (wrapped for several processes).
            device: Where it computes.

        Returns:
            Further arguments of `forward` per micro-batch; none without `contrast_accumulated`.
        """
        if not self.config.contrast_accumulated or len(batches) == 1 or "input_ids" not in batches[0]:
            return [{} for _ in batches]
        extras, embeddings = [], []
        for batch in batches:
            inputs = {
                name: batch[name].to(device)
                for name in ("pixel_values", "input_ids", "attention_mask", "masked_units")
                if batch.get(name) is not None
            }
            inputs.setdefault("masked_units", self.draw_batch_mask(inputs["pixel_values"]))
            extras.append({"masked_units": inputs["masked_units"]})
            outputs = model(**inputs, embeddings_only=True)
            embeddings.append(torch.stack((outputs["image_embeds"], outputs["text_embeds"])))  # (2, B, D)
        of_all = torch.stack(embeddings)  # (micro-batches, 2, B, D)
        gathered = gather_with_gradient(of_all.unsqueeze(0))  # (processes, micro-batches, 2, B, D)
        for number, extra in enumerate(extras):
            others = torch.cat((gathered[:, :number], gathered[:, number + 1 :]), dim=1)
            images, texts = others.unbind(2)  # (processes, micro-batches - 1, B, D)
            extra["other_image_embeds"], extra["other_text_embeds"] = images.flatten(0, 2), texts.flatten(0, 2)
        return extras

    def idle(self, no_texts: bool, no_segments: bool) -> torch.Tensor:
        """Computes a zero that depends on every parameter without work in a batch that lacks texts or segments.

        Processes then agree on which gradients there are, whatever their batches hold.
        """
        modules: list[nn.Module] = []
        if no_segments:
            encoder = self.model.encoder
            modules += [self.model.decoder, self.dense_head, self.mask_head, encoder.clx_down, encoder.norms]
        if no_texts:
            modules += [self.text_model, self.pooling]
        if not modules:
            return self.contrastive_scale.new_zeros(())
        parameters = [parameter for part in modules for parameter in part.parameters()]
        # A sharded module that does not run keeps its shards.
        local = [one.to_local() if isinstance(one, DTensor) else one for one in parameters]
        idle = torch.stack([one.float().sum() * 0.0 for one in local]).sum()
        return idle + 0.0 * (self.contrastive_scale + self.contrastive_bias).sum() if no_texts else idle

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        masked_units: torch.Tensor | None = None,
        segmentation_pixel_values: torch.Tensor | None = None,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
        void_masks: list[torch.Tensor] | None = None,
        known_classes: torch.Tensor | None = None,
        other_image_embeds: torch.Tensor | None = None,
        other_text_embeds: torch.Tensor | None = None,
        embeddings_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UniSegFormerForPreTrainingOutput:
        """Computes the losses that the batch allows.

        Args:
            pixel_values: Normalized images.
            input_ids: Tokens of each image's text.
            attention_mask: 1 at tokens, 0 at padding. SigLIP's towers were trained without one.
            masked_units: Units to hide; drawn if not given. All false trains the contrast on whole images.
            segmentation_pixel_values: Normalized images with segments.
            mask_labels, class_labels, void_masks, known_classes: Of these; see `UniSegFormerForUniversalSegmentation`.
            other_image_embeds, other_text_embeds: Embeddings of other micro-batches; see `accumulation_inputs`.
            embeddings_only: Returns the embeddings of images and texts and nothing else.

        Raises:
            ValueError: If labels come without their images or do not fit, or texts and images differ in number.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(B, L)`; masked_units: `(B, units)`;
            segmentation_pixel_values: `(S, 3, H', W')`.
        """
        config = self.config
        self.check(pixel_values, input_ids, segmentation_pixel_values, mask_labels, class_labels)
        wanted = kwargs.get("output_hidden_states", config.output_hidden_states)
        if masked_units is None:
            masked_units = self.draw_batch_mask(pixel_values)
        coarsest, image_embeds, encoded = self.image_features(pixel_values, masked_units, **kwargs)
        if embeddings_only:
            text_embeds = None if input_ids is None else self.text_features(input_ids, attention_mask)
            return UniSegFormerForPreTrainingOutput(image_embeds=image_embeds, text_embeds=text_embeds)
        predicted = self.reconstruction(coarsest).permute(0, 3, 1, 2)
        reconstruction = F.pixel_shuffle(predicted, config.mim_patch)  # (B, 3, H, W)
        terms = {
            "loss_mim": config.mim_weight
            * masked_reconstruction_loss(reconstruction, pixel_values, masked_units, config.mim_patch)
        }
        text_embeds = None
        if input_ids is not None:
            text_embeds = self.text_features(input_ids, attention_mask)
            terms["loss_contrastive"] = config.contrastive_weight * sigmoid_contrastive_loss(
                image_embeds,
                text_embeds,
                self.contrastive_scale,
                self.contrastive_bias,
                gather=self.training,  # in evaluation processes may have different numbers of images
                other_image_embeds=other_image_embeds,
                other_text_embeds=other_text_embeds,
            )
        if segmentation_pixel_values is not None and mask_labels is not None and class_labels is not None:
            labels = (mask_labels, class_labels, void_masks, known_classes)
            terms |= self.segmentation_losses(segmentation_pixel_values, *labels)
        loss = torch.stack(list(terms.values())).sum()
        if self.training:
            loss = loss + self.idle(input_ids is None, segmentation_pixel_values is None)
        return UniSegFormerForPreTrainingOutput(
            loss=loss,
            loss_dict=terms,
            reconstruction=reconstruction,
            masked_units=masked_units.long(),
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            hidden_states=selected_states(encoded.hidden_states, wanted),
            attentions=encoded.attentions,
        )

    def segmentation_losses(
        self,
        pixel_values: torch.Tensor,
        mask_labels: list[torch.Tensor],
        class_labels: list[torch.Tensor],
        void_masks: list[torch.Tensor] | None,
        known_classes: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Computes the weighted losses of images with segments. Shape: pixel_values: `(S, 3, H', W')`."""
        outputs = self.model(pixel_values)
        predictions = self.mask_head(outputs.decoder_maps, self.config.use_auxiliary_loss)
        dense_logits = self.dense_head(outputs.decoder_maps)
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        losses = universal_losses(
            self.config, predictions, dense_logits, mask_labels, class_labels, size, void_masks, known_classes
        )
        return {name: self.config.segmentation_weight * value for name, value in losses.items()}

    @staticmethod
    def check(
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None,
        segmentation_pixel_values: torch.Tensor | None,
        mask_labels: list[torch.Tensor] | None,
        class_labels: list[torch.Tensor] | None,
    ) -> None:
        """Checks that what belongs together is there.

        Raises:
            ValueError: Naming what is missing.
        """
        if input_ids is not None and len(input_ids) != len(pixel_values):
            raise ValueError(
                f"Got {len(input_ids)} texts for {len(pixel_values)} images: every image-text pair needs both. Drop "
                "images without text, or give them in a batch of their own."
            )
        given = [segmentation_pixel_values is not None, mask_labels is not None, class_labels is not None]
        if any(given) and not all(given):
            raise ValueError(
                "segmentation_pixel_values, mask_labels and class_labels belong together: give all three for the "
                "segmentation term, or none."
            )


__all__ = [
    "UniSegFormerForPreTraining",
]
