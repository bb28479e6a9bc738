# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Unpair-Seg's stage 2 and inference: masks described in CLIP's space and compared with texts.

See `modeling_unpairseg` for the whole and for the letters of shapes.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, ConvNextConfig
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils.generic import ModelOutput, TransformersKwargs, can_return_tuple, maybe_autocast

from ...layers.initialization import init_linear
from ...layers.mask_decoder import (
    MaskedAttentionDecoderLayer,
    mask_logits,
)
from ...losses.region_text import alignment_loss, match_regions
from ...postprocess import mask_nms
from ..sub_configs import sub_config
from .configuration_unpairseg import UnpairSegConfig
from .encoder_unpairseg import UnpairSegPreTrainedModel
from .modeling_unpairseg import REQUESTED, UnpairSegImageEmbeddings, UnpairSegModel, UnpairSegModelOutput


@dataclass
class UnpairSegOpenVocabularyOutput(ModelOutput):
    """Output of `UnpairSegForOpenVocabularySegmentation`.

    Attributes:
        loss: Alignment loss of stage 2, scalar. Only with entities.
        loss_dict: `{"loss_align"}`. Only with entities.
        class_queries_logits: Scaled cosine of every mask with every class, `(B, N, V)`; there is no void class. Only
            with texts.
        masks_queries_logits: Mask logits, `(B, N, H/4, W/4)`, point by point, granularities inside; unless
            `output_masks=False`.
        iou_scores: Predicted quality of each mask, `(B, N)`.
        region_embeds: Normalized description of each mask in CLIP's space, `(B, N, D)`.
        text_embeds: Normalized rows of the classes, `(V, R, D)`.
        mask_embeddings: `(B, N, C)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    iou_scores: torch.Tensor | None = None
    region_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


def pool_regions(features: torch.Tensor, region_logits: torch.Tensor) -> torch.Tensor:
    """Averages features over the foreground of masks; a mask without foreground gives zeros.

    Mask *logits* are resized to the features and binarized there, as in the official code.

    Shape:
        features: `(B, D, h, w)`; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
    """
    if region_logits.shape[-2:] != features.shape[-2:]:
        region_logits = F.interpolate(region_logits, size=features.shape[-2:], mode="bilinear", align_corners=False)
    inside = (region_logits >= 0).flatten(2).to(features.dtype)  # (B, N, T)
    total = inside @ features.flatten(2).transpose(1, 2)  # (B, N, D)
    # The count and the small number that keeps it from zero are in float32: float16 knows no 1e-8.
    return (total / (inside.sum(-1, keepdim=True, dtype=torch.float32) + 1e-8)).to(features.dtype)


def normalized(embeddings: torch.Tensor) -> torch.Tensor:
    """Scales vectors to length 1 in float32; zeros stay zeros, in float16 too.

    Shape:
        embeddings: `(..., D)`, also the output.
    """
    return F.normalize(embeddings.float(), dim=-1).to(embeddings.dtype)


class UnpairSegLowRankAdapter(nn.Module):
    """Semantic adapter (equation 3.7): low-rank updates of CLIP's four maps, resized to one, fused by a perceptron.

    The first layer of the perceptron is applied to each scale before the resize: both are linear, and the
    concatenation of all scales never exists.
    """

    def __init__(self, config: UnpairSegConfig, projection_dim: int):
        super().__init__()
        channels = list(sub_config(config.backbone_config, ConvNextConfig).hidden_sizes or ())
        widths = channels if config.adapter_residual else [config.adapter_dim] * len(channels)
        self.residual, self.stride, self.widths = config.adapter_residual, config.adapter_stride, widths
        self.down = nn.ModuleList([nn.Linear(size, config.adapter_rank) for size in channels])
        self.up = nn.ModuleList([nn.Linear(config.adapter_rank, width) for width in widths])
        hidden = config.adapter_hidden_size or channels[-1]
        self.fuse = nn.Linear(sum(widths), hidden)
        self.projection = nn.Linear(hidden, projection_dim)

    def forward(self, feature_maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Describes pixels.

        Shape:
            feature_maps: each `(B, C_i, h_i, w_i)`, at strides 4, 8, 16, 32; output: `(B, D, h, w)`.
        """
        height, width = feature_maps[0].shape[-2:]
        size = (max(1, height * 4 // self.stride), max(1, width * 4 // self.stride))
        parts = zip(feature_maps, self.down, self.up, self.fuse.weight.split(self.widths, dim=1))
        fused: Any = self.fuse.bias.view(1, -1, 1, 1)
        for features, down, up, weight in parts:
            tokens = features.permute(0, 2, 3, 1)  # (B, h_i, w_i, C_i)
            update = up(F.gelu(down(tokens)))
            tokens = tokens + update if self.residual else update
            hidden = F.linear(tokens, weight).permute(0, 3, 1, 2)
            fused = fused + F.interpolate(hidden, size=size, mode="bilinear", align_corners=False)
        return self.projection(F.gelu(fused.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class UnpairSegCrossAttentionAdapter(nn.Module):
    """The ablation's adapter: CLIP's region embeddings look at CLIP's maps again, two layers, before the projection."""

    def __init__(self, config: UnpairSegConfig, projection_dim: int):
        super().__init__()
        hidden = config.hidden_size
        self.query = nn.Linear(projection_dim, hidden)
        channels = sub_config(config.backbone_config, ConvNextConfig).hidden_sizes or ()
        self.inputs = nn.ModuleList([nn.Linear(size, hidden) for size in channels[1:]])
        self.layers = nn.ModuleList(
            [
                MaskedAttentionDecoderLayer(hidden, config.num_attention_heads, config.dim_feedforward, config.dropout)
                for _ in range(config.adapter_layers)
            ]
        )
        self.projection = nn.Linear(hidden, projection_dim)

    def forward(self, region_embeds: torch.Tensor, feature_maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Shape: region_embeds `(B, N, D)`; feature_maps as above; output `(B, N, D)`."""
        maps = zip(feature_maps[1:], self.inputs)
        memory = torch.cat([project(features.flatten(2).transpose(1, 2)) for features, project in maps], dim=1)
        queries = self.query(region_embeds)
        visible = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=queries.device)
        for layer in self.layers:
            queries = layer(queries, torch.zeros_like(queries), memory, memory, visible)
        return region_embeds + self.projection(queries)


class UnpairSegVisualProjection(nn.Module):
    """CLIP's projection of normalized pooled features into the common space (F_v without its norm).

    Args:
        input_size: Channels C of the trunk's last stage.
        hidden_size: Hidden units.
        projection_dim: Dimension D of the common space.
    """

    def __init__(self, input_size: int, hidden_size: int, projection_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.fc2 = nn.Linear(hidden_size, projection_dim, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Shape: `(..., C)` to `(..., D)`."""
        return self.fc2(F.gelu(self.fc1(features)))


class UnpairSegForOpenVocabularySegmentation(UnpairSegPreTrainedModel):
    """Stage 2 and inference: masks of prompts, each described in CLIP's space and compared with texts.

    Everything but the adapter is frozen: masks come from stage 1, texts and pixels from CLIP.
    """

    accepts_loss_kwargs = False
    input_modalities = ["image", "text"]
    # The adapter has no layers to recompute, and the rest keeps no activations.
    supports_gradient_checkpointing = False

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        text_config = sub_config(config.text_config, CLIPTextConfig)
        channels = sub_config(config.backbone_config, ConvNextConfig).hidden_sizes or ()
        projection_dim = text_config.projection_dim or 0
        self.model = UnpairSegModel(config)
        self.text_model = CLIPTextModelWithProjection(text_config)
        hidden_size = config.visual_projection_hidden_size or channels[-1]
        self.visual_projection = UnpairSegVisualProjection(channels[-1], hidden_size, projection_dim)
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.requires_grad_(False)
        self.adapter: nn.Module | None = None
        if config.adapter == "low_rank":
            self.adapter = UnpairSegLowRankAdapter(config, projection_dim)
        elif config.adapter == "cross_attention":
            self.adapter = UnpairSegCrossAttentionAdapter(config, projection_dim)
        if self.adapter is not None:
            # Moving threshold of greedy matching (nan-free: 0 before the first image) and steps done.
            self.matching_state: torch.Tensor
            self.register_buffer("matching_state", torch.zeros(2))
        self.post_init()
        # CLIP's text tower also names a part of the visual tower, which is not here.
        self._no_split_modules = [name for name in self._no_split_modules if name != "CLIPVisionEmbeddings"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, UnpairSegVisualProjection):
            init_linear(module.fc1, module.fc2)
        elif isinstance(module, UnpairSegLowRankAdapter):
            init_linear(*module.down)
            for linear in cast(Iterable[nn.Linear], module.up):
                if module.residual:
                    init.zeros_(linear.weight)
                else:
                    init_linear(linear)
                init.zeros_(linear.bias)
            init_linear(module.fuse)
            self._init_adapter_output(module.projection)
        elif isinstance(module, UnpairSegCrossAttentionAdapter):
            init_linear(module.query, *module.inputs)
            self._init_adapter_output(module.projection)
        elif module is self:
            init.constant_(self.logit_scale, 2.6592600)  # ln(1 / 0.07)
            if hasattr(self, "matching_state"):
                init.zeros_(self.matching_state)

    def _init_adapter_output(self, linear: nn.Linear):
        if self.config.clip_residual:  # starts as the baseline
            init.zeros_(linear.weight)
            init.zeros_(linear.bias)
        else:
            init_linear(linear)

    def train(self, mode: bool = True) -> "UnpairSegForOpenVocabularySegmentation":
        """Sets training mode of the adapter; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in (self.model, self.text_model, self.visual_projection):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    def clip_parts(self) -> list[nn.Module | nn.Parameter]:
        """Lists CLIP's own parts, for training that is only about them."""
        return [self.model.backbone, self.visual_projection, self.text_model, self.logit_scale]

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; see `UnpairSegModel.get_image_embeddings`."""
        return self.model.get_image_embeddings(pixel_values, **kwargs)

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds texts, not normalized. Shape: input_ids `(N, L)`; output `(N, D)`."""
        return self.text_model(input_ids=input_ids, attention_mask=attention_mask).text_embeds

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embeds whole images as CLIP does, not normalized. Shape: pixel_values `(B, 3, H, W)`; output `(B, D)`."""
        return self.project_regions(self.model.extract_features(pixel_values)[-1].mean((-2, -1)))

    def project_regions(self, pooled: torch.Tensor) -> torch.Tensor:
        """Brings pooled features of CLIP's last map into the common space (F_v). Shape: `(..., C4)` to `(..., D)`."""
        return self.visual_projection(self.model.backbone.layernorm(pooled))

    def clip_regions(self, features: torch.Tensor, region_logits: torch.Tensor) -> torch.Tensor:
        """Describes masks by CLIP alone: pooling of its last map, then F_v. Not normalized.

        Shape:
            features: `(B, C4, h, w)`; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
        """
        return self.project_regions(pool_regions(features, region_logits))

    def adapter_map(self, feature_maps: tuple[torch.Tensor, ...]) -> torch.Tensor | None:
        """Describes pixels by the adapter (x^e); None for an adapter that describes masks only.

        Shape:
            feature_maps: CLIP's four maps; output: `(B, D, h, w)`.
        """
        if self.config.adapter == "cross_attention":
            return None
        assert self.adapter is not None
        described = self.adapter(feature_maps)
        if self.config.clip_residual:
            pixels = self.project_regions(feature_maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            size = (described.shape[-2], described.shape[-1])
            described = described + F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        return described

    def adapter_regions(
        self,
        feature_maps: tuple[torch.Tensor, ...],
        region_logits: torch.Tensor,
        described: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Describes masks by the adapter (r'). Not normalized.

        Args:
            feature_maps: CLIP's four maps.
            region_logits: Of the masks.
            described: What `adapter_map` gave, where it is known.

        Shape:
            region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
        """
        if self.adapter is not None and self.config.adapter == "cross_attention":  # not by type: peft wraps modules
            return self.adapter(self.clip_regions(feature_maps[-1], region_logits), feature_maps)
        described = self.adapter_map(feature_maps) if described is None else described
        assert described is not None
        return pool_regions(described, region_logits)

    def describe(
        self,
        feature_maps: tuple[torch.Tensor, ...],
        region_logits: torch.Tensor,
        described: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Describes masks as `region_source` says; normalized.

        Shape:
            feature_maps: CLIP's four maps; region_logits: `(B, N, h', w')`; described: see `adapter_regions`;
            output: `(B, N, D)`.
        """
        config = self.config
        if config.region_source == "clip":
            return normalized(self.clip_regions(feature_maps[-1], region_logits))
        regions = self.adapter_regions(feature_maps, region_logits, described)
        if config.region_source == "ensemble":
            clip = self.clip_regions(feature_maps[-1], region_logits)
            regions = config.ensemble_weight * regions + (1 - config.ensemble_weight) * clip
        return normalized(regions)

    def classify(self, region_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Compares masks with classes: the best row of a class counts.

        Args:
            region_embeds: Normalized.
            text_embeds: Normalized rows. Classes with fewer rows repeat one, which changes nothing.

        Shape:
            region_embeds: `(B, N, D)`; text_embeds: `(V, R, D)`; output: `(B, N, V)`.
        """
        similarity = region_embeds.float() @ text_embeds.flatten(0, 1).float().t()  # (B, N, V*R)
        similarity = similarity.unflatten(-1, text_embeds.shape[:2]).amax(-1)
        return similarity * self.logit_scale.float().exp().clamp(max=100)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        input_points: torch.Tensor | None = None,
        input_labels: torch.Tensor | None = None,
        input_boxes: torch.Tensor | None = None,
        original_sizes: torch.Tensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        entity_labels: list[torch.Tensor] | None = None,
        region_pixel_values: list[torch.Tensor] | None = None,
        output_masks: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegOpenVocabularyOutput:
        """Predicts masks of prompts (default: a grid of points) and compares them with texts.

        Args:
            pixel_values: Normalized images.
            input_ids: Token ids of one text per class.
            attention_mask: Of the texts.
            text_embeds: Embeddings of the classes, instead of token ids: rows are normalized here.
            input_points: See `UnpairSegModel.forward`.
            input_labels: Likewise.
            input_boxes: Likewise.
            original_sizes: Likewise.
            image_embeddings: Likewise.
            entity_labels: Per image the text embeddings of the entities in its caption. Then the loss of stage 2 is
                computed: masks are matched with entities, and the adapter learns to describe a mask like its entity.
            region_pixel_values: With entities: the images at each of the configuration's `region_sizes`, resized from
                the originals, as equation 3.5 has it. None resizes `pixel_values`.
            output_masks: See `UnpairSegModel.forward`.

        Raises:
            ValueError: If prompts do not fit, or entities are given without adapter.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(V, L)`; text_embeds: `(V, R, D)`; entity_labels: each `(E, D)`;
            region_pixel_values: each `(B, 3, S, S)`.
            Outputs: see `UnpairSegOpenVocabularyOutput`.
        """
        outputs = self.model(
            pixel_values,
            input_points,
            input_labels,
            input_boxes,
            original_sizes,
            image_embeddings,
            output_masks=False,
            **kwargs,
        )
        embeddings = outputs.mask_embeddings.flatten(1, 2)  # (B, N, C)
        learns = entity_labels is not None and self.adapter is not None
        region_embeds, described = self._regions(outputs, embeddings, learns)
        if text_embeds is None and input_ids is not None:
            text_embeds = self.get_text_features(input_ids, attention_mask).unsqueeze(1)  # (V, 1, D)
        class_logits = loss = loss_dict = None
        if text_embeds is not None:
            text_embeds = F.normalize(text_embeds.to(region_embeds.dtype), dim=-1)
            class_logits = self.classify(region_embeds, text_embeds)
        masks = mask_logits(embeddings, outputs.pixel_embedding) if output_masks else None

        if entity_labels is not None:
            assert pixel_values is not None
            loss = self.alignment(pixel_values, outputs, entity_labels, described, region_pixel_values)
            loss_dict = {"loss_align": loss}
        return UnpairSegOpenVocabularyOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=class_logits,
            masks_queries_logits=masks,
            iou_scores=outputs.iou_scores.flatten(1),
            region_embeds=region_embeds,
            text_embeds=text_embeds,
            mask_embeddings=embeddings,
            pixel_embedding=outputs.pixel_embedding,
            **{name: outputs[name] for name in REQUESTED if name in outputs},
        )

    def _regions(
        self, outputs: UnpairSegModelOutput, embeddings: torch.Tensor, learns: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Descriptions of all masks, and of pixels if the adapter learns.

        Stage 2: the adapter runs once, and only what its loss sees has gradients.

        Shape:
            embeddings: `(B, N, C)`; output: `(B, N, D)`, and `(B, D, h, w)` or None.
        """
        feature_maps = outputs.feature_maps
        # Resizing commutes with the product: masks are made at the size at which they are pooled.
        clip_only = self.adapter is None or self.config.region_source == "clip"
        size = feature_maps[-1 if clip_only else 1].shape[-2:]
        small = F.interpolate(outputs.pixel_embedding, size=size, mode="bilinear", align_corners=False)
        described = self.adapter_map(feature_maps) if learns else None
        with torch.no_grad() if learns else contextlib.nullcontext():
            shared = None if described is None else described.detach()
            return self.describe(feature_maps, mask_logits(embeddings, small), shared), described

    @torch.no_grad()
    def select_masks(self, outputs: UnpairSegModelOutput, index: int) -> torch.Tensor:
        """Selects the masks of one image as inference does: by score, then by mask non-maximum suppression.

        Shape:
            Output: mask logits `(n, H/4, W/4)`.
        """
        config = self.config
        scores = outputs.iou_scores[index].flatten()
        kept = (scores >= config.score_threshold).nonzero().flatten()
        embeddings = outputs.mask_embeddings[index].flatten(0, 1)[kept]
        logits = mask_logits(embeddings[None], outputs.pixel_embedding[index : index + 1])[0]
        fine = F.interpolate(logits[None], scale_factor=2, mode="bilinear", align_corners=False)[0] > 0
        return logits[mask_nms(fine, scores[kept], config.iou_threshold, config.cover_threshold, config.nms_rule)]

    @torch.no_grad()
    def multi_scale_regions(
        self,
        pixel_values: torch.Tensor,
        logits: list[torch.Tensor],
        region_pixel_values: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """Describes masks by CLIP at several input sizes (equation 3.5).

        Args:
            pixel_values: Normalized, padded images.
            logits: Per image the logits of its masks.
            region_pixel_values: The images at each size; None resizes `pixel_values`.

        Returns:
            Per image the embedding of each mask at each size, not normalized; zeros where a mask vanishes.

        Raises:
            ValueError: The number of sizes is not that of the configuration.

        Shape:
            pixel_values: `(B, 3, H, W)`; logits: each `(n, h, w)`; region_pixel_values: each `(B, 3, S, S)`; output:
            each `(sizes, n, D)`.
        """
        sizes = self.config.region_sizes
        if region_pixel_values is not None and len(region_pixel_values) != len(sizes):
            raise ValueError(f"Got region_pixel_values of {len(region_pixel_values)} sizes; region_sizes is {sizes}.")
        regions: list[list[torch.Tensor]] = [[] for _ in logits]
        for number, side in enumerate(sizes):
            given = None if region_pixel_values is None else region_pixel_values[number]
            images = self._resized(pixel_values, side) if given is None else given.to(pixel_values.dtype)
            features = self.model.extract_features(images)[-1]
            for index, masks in enumerate(logits):
                pooled = pool_regions(features[index : index + 1], masks[None])[0]
                present = pooled.abs().amax(-1, keepdim=True) > 0
                regions[index].append(self.project_regions(pooled) * present)
        return [torch.stack(parts) for parts in regions]

    def _resized(self, pixel_values: torch.Tensor, side: int) -> torch.Tensor:
        """Images whose longer side is `side`."""
        longest = max(pixel_values.shape[-2:])
        size = [max(32, round(length * side / longest)) for length in pixel_values.shape[-2:]]
        if size == list(pixel_values.shape[-2:]):
            return pixel_values
        # In float32: on a CPU this is not made for bfloat16.
        resized = F.interpolate(pixel_values.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        return resized.to(pixel_values.dtype)

    def alignment(
        self,
        pixel_values: torch.Tensor,
        outputs: UnpairSegModelOutput,
        entity_labels: list[torch.Tensor],
        described: torch.Tensor | None = None,
        region_pixel_values: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Computes the loss of stage 2 (equation 3.8): mean over all matched pairs of one minus their cosine."""
        config = self.config
        if self.adapter is None:
            raise ValueError('entity_labels train the adapter, but this model has none: set adapter="low_rank".')
        if len(entity_labels) != len(pixel_values):
            raise ValueError(
                f"Got entity_labels for {len(entity_labels)} of {len(pixel_values)} images: one per image."
            )
        masks = [self.select_masks(outputs, index).float() for index in range(len(pixel_values))]
        with torch.no_grad():
            targets = [F.normalize(entities.float().to(self.device), dim=-1) for entities in entity_labels]
            regions = self.multi_scale_regions(pixel_values, masks, region_pixel_values)
        regions_of_pairs, texts = [], []
        for index, (logits, entities) in enumerate(zip(masks, targets)):
            maps = tuple(features[index : index + 1] for features in outputs.feature_maps)
            pixels = None if described is None else described[index : index + 1]
            adapted = self.adapter_regions(maps, logits[None], pixels)[0].float()  # (n, D)
            with maybe_autocast(pixel_values.device.type, enabled=False):
                pairs = match_regions(
                    regions[index].float(),
                    entities,
                    self.logit_scale.float().exp().clamp(max=100),
                    matching=config.matching,
                    cost=config.matching_cost,
                    normalize_scales=config.normalize_scales,
                    topk=config.matching_topk,
                    num_sigmas=config.matching_num_sigmas,
                    momentum=config.matching_momentum,
                    min_similarity=config.min_similarity,
                    state=self.matching_state,
                    adapted=None if config.self_ensemble_steps is None else adapted.detach(),
                    total_steps=config.self_ensemble_steps,
                    update=self.training,
                )
            regions_of_pairs.append(adapted[pairs.regions])
            texts.append(entities[pairs.entities])
        if self.training:
            self.matching_state[1] += 1
        return config.align_weight * alignment_loss(
            torch.cat(regions_of_pairs), torch.cat(texts), self.adapter.parameters()
        )


__all__ = [
    "UnpairSegForOpenVocabularySegmentation",
]
