# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""PRO-SCALE for open-vocabulary segmentation: class-agnostic masks, named by CLIP (Table T2 of the paper's appendix).

The paper puts PRO-SCALE in the place of Mask2Former in MaskCLIP (Ding, Wang, Tu: "Open-Vocabulary Universal Image
Segmentation with MaskCLIP", ICML 2023): the mask model proposes masks without classes; CLIP's image tower describes
each by a mask class token and refines it (`mask_class_proscale`); descriptions are compared with texts.

Shape legend: B images, H x W padded input, Q masks, S side of CLIP's images and of the refined masks, D' dimension of
CLIP's space, V classes that are asked for, R texts of a class.

As in the official code of MaskCLIP, CLIP sees the whole padded input, stretched to a square, and refined masks have the
size of CLIP's images. Where this differs from it:

- a class is as probable as its text times the proposal's objectness, and the rest is "no object"
  (`class_queries_logits` are logarithms of these). The official code has no "no object" at inference, which leaves its
  number of masks to thresholds;
- mask class tokens are no keys, so nobody has to be kept from looking at them, and the products of attention that would
  be thrown away are not computed: 8.4 GFLOPs less of the tower's 323.7;
- proposals may learn at the same time (`freeze_proposals=False`), from masks without classes, by the loss of the mask
  model. Nothing flows from CLIP into them;
- the masks of earlier relative layers are supervised as they were; the official code adds in place, so that its
  auxiliary losses all see the last ones.
"""

import os
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils.generic import ModelOutput, TransformersKwargs, can_return_tuple, maybe_autocast

from ...layers.initialization import init_linear
from ...layers.mask_decoder import close_invalid_queries
from ...losses.mask_classification import LossWeights, count_targets, mask_classification_loss, mean_targets
from ..mask_decoding import heat_terms, mask_terms, num_queries_in_use
from ..sub_configs import sub_config
from .configuration_open_vocabulary_proscale import COLORS, ProScaleOpenVocabularyConfig, per_channel
from .encoder_proscale import ProScalePreTrainedModel
from .mask_class_proscale import ProScaleMaskClassEncoder
from .modeling_proscale import ProScaleModel, ProScaleModelOutput

# Logit of "no object" while names are learned: of matched masks only, whose class is known.
NEVER = -1e4
# Fields of the mask model's output that this model's output has too.
OF_PROPOSALS = (
    "pixel_embedding",
    "heat_logits",
    "hidden_states",
    "attentions",
    "cross_attentions",
    "encoder_hidden_states",
    "encoder_attentions",
    "gates",
)


@dataclass
class ProScaleOpenVocabularyOutput(ModelOutput):
    """Output of `ProScaleForOpenVocabularySegmentation`.

    Attributes:
        loss: Sum of all terms, scalar. Only with labels.
        loss_dict: Its weighted terms: `loss_ce`, `loss_mask`, `loss_dice` of names and refined masks, the latter two
            with `_0`, `_1`, ... of earlier refinements; `proposal_` before those of the mask model. Only with labels.
        class_queries_logits: Logarithms of probabilities, last "no object", `(B, Q, V + 1)`. Only with texts.
        masks_queries_logits: Refined mask logits, `(B, Q, S, S)`.
        input_sizes: Height and width of the padded input, which the masks cover, `(B, 2)`.
        object_logits: Logits of "object" and "no object" of the proposals, `(B, Q, 2)`.
        region_embeds: Normalized description of each mask in CLIP's space, `(B, Q, D')`.
        text_embeds: Normalized rows of the classes, `(V, R, D')`.
        auxiliary_masks: With `output_auxiliary_logits`: mask logits of earlier refinements.
        pixel_embedding, heat_logits: Of the mask model, as of `ProScaleForUniversalSegmentation`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions, gates: Of the pixel decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    input_sizes: torch.Tensor | None = None
    object_logits: torch.Tensor | None = None
    region_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    auxiliary_masks: tuple[torch.Tensor, ...] | None = None
    pixel_embedding: torch.Tensor | None = None
    heat_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None
    gates: tuple[torch.Tensor, ...] | None = None


class ProScaleProposalModel(ProScaleModel):
    """The mask model inside, as a bare model: `ProScaleModel` of a configuration with CLIP's towers."""

    config_class = ProScaleOpenVocabularyConfig


class ProScaleForOpenVocabularySegmentation(ProScalePreTrainedModel):
    """PRO-SCALE's masks with classes that are named when it is asked."""

    config_class = ProScaleOpenVocabularyConfig
    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False
    input_modalities = ["image", "text"]

    def __init__(self, config: ProScaleOpenVocabularyConfig):
        super().__init__(config)
        vision, text = (
            sub_config(config.vision_config, CLIPVisionConfig),
            sub_config(config.text_config, CLIPTextConfig),
        )
        self.model = ProScaleProposalModel(config)
        self.class_predictor = nn.Linear(config.hidden_size, 2)
        self.mask_class_encoder = ProScaleMaskClassEncoder(vision, config.relative_attention_interval)
        self.text_model = CLIPTextModelWithProjection(text)
        self.logit_scale = nn.Parameter(torch.empty(()))
        for module in self.frozen_parts():
            module.requires_grad_(False)
        if config.freeze_clip:
            self.logit_scale.requires_grad_(False)
            for module in self.mask_class_encoder.added_modules():
                module.requires_grad_(True)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self:
            init_linear(self.class_predictor)
            init.constant_(self.logit_scale, 2.6592600)  # ln(1 / 0.07), as CLIP starts

    @classmethod
    def from_clip(cls, source: "str | os.PathLike[str]", **fields: Any) -> "ProScaleForOpenVocabularySegmentation":
        """Builds a model with the two towers of a CLIP; see `clip_proscale.from_clip`."""
        from .clip_proscale import from_clip

        return from_clip(source, **fields)

    def frozen_parts(self) -> list[nn.Module]:
        """Lists what the configuration freezes; of CLIP's image tower the added parts learn nevertheless."""
        proposals = [self.model, self.class_predictor] if self.config.freeze_proposals else []
        clip = [self.mask_class_encoder, self.text_model] if self.config.freeze_clip else []
        return [*proposals, *clip]

    def clip_parts(self) -> list[nn.Module | nn.Parameter]:
        """Lists CLIP's own parts, for training that is only about them."""
        encoder = self.mask_class_encoder
        own: list[nn.Module | nn.Parameter] = [encoder.embeddings, encoder.pre_layernorm, encoder.post_layernorm]
        own += [part for layer in encoder.layers for name, part in layer.named_children() if name != "relative"]
        return [*own, encoder.visual_projection, self.text_model, self.logit_scale]

    def train(self, mode: bool = True) -> "ProScaleForOpenVocabularySegmentation":
        """Sets training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen_parts():
            module.eval()
        return self

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by; see `ProScaleForUniversalSegmentation`."""
        num_queries = num_queries_in_use(self.config, self.training)
        return count_targets(batch["class_labels"], num_queries, self.config.no_object_weight)

    def clip_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Resizes images and normalizes them as CLIP wants them. Shape: `(B, 3, H, W)` to `(B, 3, S, S)`."""
        config = self.config
        side = cast(int, sub_config(config.vision_config, CLIPVisionConfig).image_size)
        means_and_deviations = zip(*(per_channel(getattr(config, name)) for name in COLORS))
        colors = [
            channel * (deviation / clip_deviation) + (mean - clip_mean) / clip_deviation
            for channel, (mean, deviation, clip_mean, clip_deviation) in zip(
                pixel_values.float().unbind(1), means_and_deviations
            )
        ]
        # No antialiasing: the official code resizes tensors, for which torchvision had none by default.
        images = F.interpolate(torch.stack(colors, dim=1), size=(side, side), mode="bicubic", align_corners=False)
        return images.to(pixel_values.dtype)

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embeds whole images as CLIP does, not normalized. Shape: `(B, 3, H, W)` to `(B, D')`."""
        return self.mask_class_encoder.embed_images(self.clip_images(pixel_values))

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds texts, not normalized. Shape: input_ids `(N, L)`; output `(N, D')`."""
        return self.text_model(input_ids=input_ids, attention_mask=attention_mask).text_embeds

    def classify(self, region_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Compares masks with classes: the best row of a class counts.

        Shape:
            region_embeds: Normalized, `(B, Q, D')`; text_embeds: Normalized, `(V, R, D')`; output: `(B, Q, V)`.
        """
        similarity = region_embeds.float() @ text_embeds.flatten(0, 1).float().t()  # (B, Q, V*R)
        similarity = similarity.unflatten(-1, text_embeds.shape[:2]).amax(-1)
        return similarity * self.logit_scale.float().exp().clamp(max=100)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
        output_auxiliary_logits: bool | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleOpenVocabularyOutput:
        """Predicts masks, compares them with texts and, with labels, computes the loss.

        Args:
            pixel_values: Normalized images.
            input_ids: Token ids of one text per class.
            attention_mask: Of the texts.
            text_embeds: Embeddings of the classes, instead of token ids: rows are normalized here.
            mask_labels: Per image the segments, as of `ProScaleForUniversalSegmentation`.
            class_labels: Per image which of the texts names each segment, `(N,)`. N may be 0.
            output_auxiliary_logits: Returns earlier masks; defaults to the configuration's value.
            loss_normalizer: See `loss_normalizer()`; by default counted from the labels of this batch.

        Raises:
            ValueError: If labels are given without texts, or do not fit the batch, each other or the texts.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(V, L)`; text_embeds: `(V, R, D')`.
            Outputs: see `ProScaleOpenVocabularyOutput`.
        """
        config = self.config
        auxiliary = config.output_auxiliary_logits if output_auxiliary_logits is None else output_auxiliary_logits
        if (mask_labels is None) != (class_labels is None):
            raise ValueError("mask_labels and class_labels belong together: give both for the loss, or neither.")
        outputs = self.model(pixel_values, **kwargs)
        object_logits = self.class_predictor(torch.stack(outputs.queries))  # (levels, B, Q, 2)
        images = self.clip_images(pixel_values)
        proposals = outputs.masks_queries_logits.detach()
        size = (images.shape[-2], images.shape[-1])
        described = self.mask_class_encoder(
            images, F.interpolate(proposals, size=size, mode="bilinear", align_corners=False)
        )
        region_embeds = normalized(described.embeddings)
        if text_embeds is None and input_ids is not None:
            text_embeds = self.get_text_features(input_ids, attention_mask).unsqueeze(1)  # (V, 1, D')
        names = class_logits = None
        open_logits = close_invalid_queries(object_logits[-1], outputs.valid_queries)
        if text_embeds is not None:
            text_embeds = normalized(text_embeds.to(region_embeds.dtype))
            names = self.classify(region_embeds, text_embeds)
            objectness = open_logits.float().log_softmax(-1)
            class_logits = torch.cat((objectness[..., :1] + names.log_softmax(-1), objectness[..., 1:]), dim=-1)
        loss = loss_dict = None
        if mask_labels is not None and class_labels is not None:
            if names is None:
                raise ValueError("Labels need the texts of the classes: give input_ids or text_embeds too.")
            given = mask_labels, class_labels, (pixel_values.shape[-2], pixel_values.shape[-1]), loss_normalizer
            loss_dict = self.name_losses(names, described.masks, *given)
            loss_dict |= self.proposal_losses(object_logits, outputs, *given)
            loss = torch.stack(list(loss_dict.values())).sum()
        one = torch.ones_like(object_logits[-1, :, 0, 0], dtype=torch.int64)
        return ProScaleOpenVocabularyOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=class_logits,
            masks_queries_logits=described.masks[-1],
            input_sizes=torch.stack([one * side for side in pixel_values.shape[-2:]], dim=-1),
            object_logits=open_logits,
            region_embeds=region_embeds,
            text_embeds=text_embeds,
            auxiliary_masks=described.masks[:-1] if auxiliary else None,
            **{name: outputs[name] for name in OF_PROPOSALS if name in outputs},
        )

    def name_losses(
        self,
        names: torch.Tensor,
        masks: tuple[torch.Tensor, ...],
        mask_labels: list[torch.Tensor],
        class_labels: list[torch.Tensor],
        input_size: tuple[int, int],
        normalizer: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Computes the weighted losses of names and refined masks; masks that nothing is matched with count nowhere.

        Shape:
            names: `(B, Q, V)`; masks: each `(B, Q, S, S)`.
        """
        config = self.config
        weights = LossWeights(config.class_weight, config.mask_weight, config.dice_weight, 0.0)
        if normalizer is None:
            count = mean_targets(sum(len(classes) for classes in class_labels), names.device)
        else:
            count = normalizer[0].to(names.device, torch.float32).clamp(min=1)
        class_logits = F.pad(names, (0, 1), value=NEVER).unsqueeze(0)
        # A mask is the product of its own row of the identity with all masks.
        rows = torch.eye(names.shape[1], device=names.device).expand(1, names.shape[0], -1, -1)
        terms: dict[str, torch.Tensor] = {}
        levels = masks if config.use_auxiliary_loss else masks[-1:]
        for level in reversed(range(len(levels))):
            found = mask_classification_loss(
                class_logits=class_logits,
                mask_embeddings=rows,
                pixel_embedding=levels[level],
                mask_labels=mask_labels,
                class_labels=class_labels,
                padded_size=input_size,
                weights=weights,
                num_points=config.train_num_points,
                oversample_ratio=config.oversample_ratio,
                importance_sample_ratio=config.importance_sample_ratio,
                normalizer=count.expand(2),
            )
            last = level == len(levels) - 1
            # Names are predicted once, after all layers.
            terms |= found if last else {f"{key}_{level}": found[key] for key in ("loss_mask", "loss_dice")}
        return terms

    def proposal_losses(
        self,
        object_logits: torch.Tensor,
        outputs: ProScaleModelOutput,
        mask_labels: list[torch.Tensor],
        class_labels: list[torch.Tensor],
        input_size: tuple[int, int],
        normalizer: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Computes the losses of the mask model, for which all segments are of one class; none where it is frozen.

        Shape:
            object_logits: `(levels, B, Q, 2)`.
        """
        config: Any = self.config
        if config.freeze_proposals:
            return {}
        levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
        assert outputs.mask_embeddings is not None and outputs.pixel_embedding is not None
        terms = mask_terms(
            config,
            object_logits[levels],
            torch.stack(outputs.mask_embeddings[levels]),
            outputs.pixel_embedding,
            mask_labels,
            [torch.zeros_like(classes) for classes in class_labels],
            input_size,
            normalizer,
        )
        # Stuff is told by the true classes.
        terms |= heat_terms(config, outputs.heat_logits, mask_labels, class_labels, normalizer)
        return {f"proposal_{name}": value for name, value in terms.items()}


def normalized(embeddings: torch.Tensor) -> torch.Tensor:
    """Scales vectors to length 1 in float32. Shape: `(..., D')`, also the output."""
    with maybe_autocast(embeddings.device.type, enabled=False):
        return F.normalize(embeddings.float(), dim=-1).to(embeddings.dtype)


__all__ = ["ProScaleForOpenVocabularySegmentation", "ProScaleProposalModel"]
