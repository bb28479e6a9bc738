# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MedDenseViT: a plain vision transformer for dense prediction in MRI, CT and X-ray.

The source is a one-page description without code: a scaled-up vision transformer, adapted for dense prediction by a
decoder that aggregates several encoder stages at several scales, trained on 2-D slices with Dice and cross-entropy
under dynamic weights. What it leaves open is decided here. The encoder keeps one stride (16 pixels) and four taps. A
convolutional stem keeps the detail that patches lose. Multi-scale feature aggregation (MSFA) makes one map for each of
four scales, in which every pixel chooses, by a softmax, how much of which tap it takes. A top-down path joins the
scales and the stem. Volumes are worked off slice by slice (`hfseg.inference.volumes`).

Shape legend: B images, H x W input (padded at right and bottom to whole patches), P patch size, h x w = H/P x W/P
tokens, C encoder channels, D `feature_size`, K classes. Scales are named by their fraction of the input for P = 16:
1/4, 1/8, 1/16 and 1/32; in general they are 4/P, 2/P, 1/P and 1/(2P).
"""

import math
import re
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedConfig
from transformers import initialization as init
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.generic import maybe_autocast

from ...layers.channel_norm import ChannelLayerNorm
from ...losses.dice_cross_entropy import (
    ClassBalance,
    count_classes,
    cross_entropy_sum,
    dice_loss,
    generalized_dice_loss,
    marginal_logits,
    visible_labels,
)
from ..backbone import build_backbone
from ..sub_configs import sub_config
from ..vision_model import VisionModel
from .configuration_meddensevit import MedDenseViTConfig

TAPS = 4


@dataclass
class MedDenseViTModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: Decoder map at scale 1/2 (8/P), `(B, D/2, 8H/P, 8W/P)`.
        feature_maps: Decoder maps at 1/4, 1/8 and 1/16, each `(B, D, ., .)`.
        hidden_states, attentions: Of the encoder, on request.
    """

    last_hidden_state: torch.Tensor | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class MedDenseViTForSemanticSegmentationOutput(SemanticSegmenterOutput):
    """Output of `MedDenseViTForSemanticSegmentation`.

    Attributes:
        loss: Sum of the terms below, scalar. Only with labels.
        logits: Class logits at the input's size, `(B, K, H, W)`.
        hidden_states, attentions: Of the encoder, on request.
        loss_dict: Weighted terms: `loss_dice`, `loss_ce` and, in training, `loss_aux_0` (fine) to `loss_aux_2`.
    """

    loss_dict: dict[str, torch.Tensor] | None = None


class ConvNormActivation(nn.Sequential):
    """CNA: 3x3 convolution, normalization over channels, GELU."""

    def __init__(self, inputs: int, outputs: int, eps: float, stride: int = 1, bias: bool = False):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias),
            ChannelLayerNorm(outputs, eps=eps),
            nn.GELU(),
        )


def resize_like(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resizes a map bilinearly to the height and width of another."""
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


def reduced_labels(labels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Takes the labels at the pixel centers of a coarser map.

    Shape:
        labels: `(B, H, W)`; like: `(B, K, h, w)`; output: `(B, h, w)`.
    """
    return F.interpolate(labels[:, None].float(), size=like.shape[-2:], mode="nearest-exact")[:, 0].long()


class MedDenseViTStem(nn.Module):
    """Detail stem: maps at 1/2 and 1/4 straight from the pixels."""

    def __init__(self, config: MedDenseViTConfig, num_channels: int):
        super().__init__()
        half, quarter = config.stem_sizes
        eps = float(config.layer_norm_eps)
        # Patches of 8 have a decoder of twice the resolution.
        stride = 1 if config.patch_size <= 8 else 2
        self.first = ConvNormActivation(num_channels, half, eps, stride, bias=True)
        self.second = None
        if config.neck != "dpt":  # which has its finest map at 1/2
            self.second = nn.Sequential(
                ConvNormActivation(half, quarter, eps, stride=2, bias=True),
                ConvNormActivation(quarter, quarter, eps, bias=True),
            )

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes both maps.

        Shape:
            pixel_values: `(B, 3, H, W)`; outputs: `(B, S1, 8H/P, 8W/P)` and `(B, S2, 4H/P, 4W/P)`.
        """
        half = self.first(pixel_values)
        return half, half if self.second is None else self.second(half)


class MedDenseViTAggregation(nn.Module):
    """Multi-scale feature aggregation: for each of four scales, a mixture of all taps chosen per pixel."""

    def __init__(self, config: MedDenseViTConfig, channels: list[int]):
        super().__init__()
        size, eps = config.feature_size, float(config.layer_norm_eps)
        # The ablation without aggregation has the same path for the last tap alone, and nothing to choose.
        self.first_tap = TAPS - 1 if config.neck == "last" else 0
        taps = range(self.first_tap, TAPS)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[tap], size, 1), ChannelLayerNorm(size, eps=eps)) for tap in taps
        )
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(TAPS * size, size // 4, 1), nn.GELU(), nn.Conv2d(size // 4, TAPS, 3, padding=1))
            for _ in range(TAPS)
            if config.neck == "msfa"
        )
        self.values = nn.ModuleList(nn.ModuleList(nn.Conv2d(size, size, 1) for _ in taps) for _ in range(TAPS))
        self.resamples = nn.ModuleList(
            [
                nn.ConvTranspose2d(size, size, 4, stride=4),
                nn.ConvTranspose2d(size, size, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(size, size, 3, stride=2, padding=1),
            ]
        )
        self.outputs = nn.ModuleList(ConvNormActivation(size, size, eps) for _ in range(TAPS))

    def forward(self, taps: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Aggregates.

        Shape:
            taps: each `(B, C, h, w)`; outputs: `(B, D, ., .)` at 1/4, 1/8, 1/16, 1/32.
        """
        projected = [project(tap) for project, tap in zip(self.projections, taps[self.first_tap :])]
        joined = torch.cat(projected, dim=1)  # (B, 4D, h, w)
        maps = []
        for scale, (values, resample, output) in enumerate(zip(self.values, self.resamples, self.outputs)):
            contributions = [value(features) for value, features in zip(cast(nn.ModuleList, values), projected)]
            if self.gates:
                gate = self.gates[scale](joined).float().softmax(1).to(joined.dtype)  # (B, 4, h, w)
                mixed = sum(gate[:, tap : tap + 1] * value for tap, value in enumerate(contributions))
            else:
                mixed = contributions[0]
            maps.append(output(resample(mixed)))
        return maps


class MedDenseViTDecoder(nn.Module):
    """Aggregation, top-down path and detail: maps at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self, config: MedDenseViTConfig, channels: list[int]):
        super().__init__()
        size, eps = config.feature_size, float(config.layer_norm_eps)
        self.aggregation = MedDenseViTAggregation(config, channels)
        self.top_down = nn.ModuleList(ConvNormActivation(2 * size, size, eps) for _ in range(TAPS - 1))
        self.detail = ConvNormActivation(size + config.stem_sizes[1], size, eps)
        # With patches of 8 or 16 the maps of encoder and stem have one size; else they are brought to it.
        self.aligned = config.patch_size in (8, 16)

    def forward(
        self, taps: tuple[torch.Tensor, ...], quarter: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Decodes.

        Shape:
            taps: each `(B, C, h, w)`; quarter: stem at 1/4; outputs: `(B, D, ., .)` at 1/4 with the detail of the stem,
            and at 1/4, 1/8 and 1/16 without.
        """
        *finer, features = self.aggregation(taps)
        maps = []
        for join, current in zip(self.top_down, reversed(finer)):
            features = join(torch.cat((current, resize_like(features, current)), dim=1))
            maps.append(features)
        if not self.aligned:
            features = resize_like(features, quarter)
        return self.detail(torch.cat((features, quarter), dim=1)), tuple(reversed(maps))


class MedDenseViTDPTDecoder(nn.Module):
    """Ablation: reassemble and fuse as DPT (Ranftl et al., ICCV 2021) does, with transformers' own layers."""

    def __init__(self, config: MedDenseViTConfig, channels: list[int]):
        super().__init__()
        from transformers import DPTConfig
        from transformers.models.dpt.modeling_dpt import DPTFeatureFusionStage, DPTReassembleLayer

        size = config.feature_size
        settings = DPTConfig(hidden_size=channels[0], neck_hidden_sizes=[size] * TAPS, fusion_hidden_size=size)
        factors = (4, 2, 1, 0.5)
        self.reassemble = nn.ModuleList(DPTReassembleLayer(settings, size, cast(int, factor)) for factor in factors)
        self.convolutions = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1, bias=False) for _ in factors)
        self.fusion = DPTFeatureFusionStage(settings)
        self.fusion.layers[0].residual_layer1 = nn.Identity()  # has nothing to add to at the coarsest scale

    def forward(
        self, taps: tuple[torch.Tensor, ...], quarter: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Decodes; the first output is at 1/2. Shapes: see `MedDenseViTDecoder`."""
        maps = [
            convolve(reassemble(tap)) for convolve, reassemble, tap in zip(self.convolutions, self.reassemble, taps)
        ]
        *coarse, half = self.fusion(maps)  # at 1/16, 1/8, 1/4 and 1/2
        return half, tuple(reversed(coarse))


class MedDenseViTPreTrainedModel(VisionModel):
    """Weight initialization and what the model family supports."""

    config: MedDenseViTConfig
    _no_split_modules = ["MedDenseViTAggregation", "ConvNormActivation"]
    _supports_flash_attn = True
    _supports_flex_attn = True
    # Auxiliary heads serve training alone.
    _keys_to_ignore_on_load_missing = [r"^aux\."]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """Draws convolutions with deviation (number of inputs per output)^-0.5; gates begin with equal shares."""
        super()._init_weights(module)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            inputs = module.in_channels
            if isinstance(module, nn.Conv2d):  # of a transposed one, each output sees one place of the kernel
                inputs *= math.prod(module.kernel_size) // module.groups
            init.normal_(module.weight, std=inputs**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, MedDenseViTAggregation):
            for gate in module.gates:
                init.zeros_(cast(torch.Tensor, cast(nn.Sequential, gate)[2].weight))
        elif isinstance(module, MedDenseViTForSemanticSegmentation):
            for head in (module.classifier, *(module.aux if module.aux is not None else ())):
                init.normal_(head.weight, std=0.01)
        elif isinstance(module, ClassBalance):
            init.zeros_(module.average)
            init.zeros_(module.updates)


class MedDenseViTModel(MedDenseViTPreTrainedModel):
    """Encoder, stem and decoder: a feature map at half the input's size."""

    def __init__(self, config: MedDenseViTConfig):
        super().__init__(config)
        self.backbone: Any = build_backbone(config.backbone_config)
        if len(self.backbone.channels) != TAPS:
            raise ValueError(
                f"The backbone gives {len(self.backbone.channels)} maps, the decoder aggregates four of one stride: "
                "set out_indices of backbone_config, for example [3, 6, 9, 12]."
            )
        eps, size = float(config.layer_norm_eps), config.feature_size
        self.stem = MedDenseViTStem(config, getattr(config.backbone_config, "num_channels", 3))
        decoder = MedDenseViTDPTDecoder if config.neck == "dpt" else MedDenseViTDecoder
        self.decoder = decoder(config, list(self.backbone.channels))
        self.refine = nn.Sequential(
            ConvNormActivation(size + config.stem_sizes[0], size // 2, eps),
            ConvNormActivation(size // 2, size // 2, eps),
        )
        self.freeze_unused()
        self.post_init()

    def freeze_unused(self) -> None:
        """Freezes the mask token of self-supervised encoders: nothing depends on it here, checkpoints have it."""
        for name, parameter in self.backbone.named_parameters():
            if name.endswith("mask_token"):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "MedDenseViTModel":
        """Sets training mode; loading weights, which ends here, has thawed every parameter."""
        super().train(mode)
        self.freeze_unused()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.backbone.set_input_embeddings(value)

    @can_return_tuple
    def forward(self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> MedDenseViTModelOutput:
        """Computes decoder maps.

        Args:
            pixel_values: Normalized slices or images. Sides that are no multiple of the patch size are padded with
                zeros at right and bottom.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        recorded = {}
        for name in ("output_hidden_states", "output_attentions"):
            wanted = kwargs.get(name, getattr(self.config, name, False))
            if wanted:
                recorded[name] = wanted
        dtype = cast(nn.Conv2d, self.refine.get_submodule("0.0")).weight.dtype
        patch = self.config.patch_size
        pixels = F.pad(pixel_values, (0, -pixel_values.shape[-1] % patch, 0, -pixel_values.shape[-2] % patch)).to(dtype)
        encoded = self.backbone(pixels, **recorded)
        half, quarter = self.stem(pixels)
        taps = tuple(features.to(dtype) for features in encoded.feature_maps)
        features, maps = self.decoder(taps, quarter)
        refined = self.refine(torch.cat((resize_like(features, half), half), dim=1))
        return MedDenseViTModelOutput(
            last_hidden_state=refined,
            feature_maps=maps,
            hidden_states=encoded.hidden_states if "output_hidden_states" in recorded else None,
            attentions=encoded.attentions,
        )


class MedDenseViTForSemanticSegmentation(MedDenseViTPreTrainedModel):
    """MedDenseViT with a classifier per pixel and the loss with dynamic weights.

    Accumulation and data parallelism: `loss_normalizer` counts the pixels of every class in a batch. Given the sum of
    these counts over an update (as `hfseg.training` does), the moving average of class frequencies moves once per
    update with the counts of all its batches, the cross-entropy is divided by the weight of all its pixels, and the
    Dice terms of the batches are averaged. Called without, every call in training mode is an update of its own,
    with counts added up over the processes of an initialized process group.
    """

    # A moving average in half precision would stand still.
    _keep_in_fp32_modules_strict = ["class_balance"]
    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False

    def __init__(self, config: MedDenseViTConfig):
        super().__init__(config)
        self.model = MedDenseViTModel(config)
        num_labels, size = len(config.id2label or ()), config.feature_size
        self.classifier = nn.Conv2d(size // 2, num_labels, 1)
        heads = [nn.Conv2d(size, num_labels, 1) for _ in config.auxiliary_weights]
        self.aux = nn.ModuleList(heads) if config.use_auxiliary_heads else None
        low, high = config.class_weight_limits
        self.class_balance = ClassBalance(
            num_labels, config.class_frequency_decay, config.class_weight_power, (float(low), float(high))
        )
        # Counting begins an update; the first forward pass after it moves the average.
        self._counted = False
        self.post_init()

    @property
    def max_layer_depth(self) -> int:
        """Depth of everything after the encoder, for layer-wise learning-rate decay."""
        return sub_config(self.config.backbone_config, PreTrainedConfig).num_hidden_layers + 1

    def layer_depth(self, name: str) -> int:
        """Depth of a parameter: 0 in the patch embedding, i + 1 in encoder layer i, the largest after the encoder."""
        if not name.startswith("model.backbone."):
            return self.max_layer_depth
        layer = re.search(r"\.layers?\.(\d+)\.", name)
        if layer:
            return int(layer[1]) + 1
        return 0 if "embed" in name else self.max_layer_depth

    def predict_volume(self, source: Any, image_processor: Any, output: Any = None, **options: Any) -> Any:
        """Segments a volume slice by slice, with memory for one batch of slices; see `hfseg.inference.predict_volume`.

        Args:
            source: NIfTI file, DICOM folder or file, `hfseg.volumes.Volume`, or registered ones in a list.
            image_processor: The model's.
            output: `.nii.gz` file to write, with the affine of the source.
            **options: `batch_size`, `flips`, `sliding_window`, `largest_component`, `modality`, ...
        """
        from ...inference.volumes import predict_volume

        return predict_volume(self, image_processor, source, output, **options)

    # The loss.

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts of a batch that add up over an update; what `forward` takes as `loss_normalizer`.

        Every entry is one more than its count, and the last is one: sums that are at least 1 whatever is absent, from
        which `forward` subtracts the number of batches again.

        Shape:
            output: `(2K + 1,)`: pixels per class, images that annotate the class, one.
        """
        self._counted = True
        return self._counts(batch["labels"], batch.get("annotated_classes"))

    def _counts(self, labels: torch.Tensor, annotated: torch.Tensor | None) -> torch.Tensor:
        ignore, num_labels = self.config.semantic_loss_ignore_index, int(self.config.num_labels or 0)
        pixels = count_classes(visible_labels(labels, annotated, ignore), num_labels, ignore)
        images = torch.full_like(pixels, float(len(labels))) if annotated is None else annotated.sum(0).to(pixels)
        return torch.cat((pixels + 1, images + 1, torch.ones_like(pixels[:1])))

    def _normalization(
        self, labels: torch.Tensor, annotated: torch.Tensor | None, normalizer: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels per class `(K,)` and number of batches of the update, both per process; moves the average."""
        new_update = normalizer is None or self._counted
        ranks = 1
        if normalizer is None:
            normalizer = self._counts(labels, annotated)
            if self.training and torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(normalizer)
                ranks = torch.distributed.get_world_size()
        batches = normalizer[-1]
        pixels, images = (normalizer[:-1] - batches).clamp(min=0).chunk(2)
        if self.training and new_update:
            self.class_balance.update(pixels, images > 0)
            self._counted = False
        return pixels / ranks, batches / ranks

    def _terms(
        self, logits: torch.Tensor, labels: torch.Tensor, annotated: torch.Tensor | None, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Dice term and sum of weighted cross-entropies of one prediction."""
        config = self.config
        ignore = config.semantic_loss_ignore_index
        logits = logits.float()
        if annotated is not None:
            logits = marginal_logits(logits, annotated)
        log_probabilities = logits.log_softmax(1)
        probabilities = log_probabilities.exp()
        gamma = 0.0 if config.loss == "dice_ce" else float(config.focal_gamma)
        if config.loss == "gdl_focal":
            overlap = generalized_dice_loss(probabilities, labels, ignore)
        else:
            overlap = dice_loss(probabilities, labels, weights, ignore)
        return overlap, cross_entropy_sum(log_probabilities, labels, weights, ignore, gamma)

    def compute_loss(
        self,
        logits: torch.Tensor,
        auxiliary_logits: list[torch.Tensor],
        labels: torch.Tensor,
        annotated_classes: torch.Tensor | None = None,
        loss_normalizer: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Computes the weighted terms of the loss in float32; see `losses.dice_cross_entropy`.

        Auxiliary predictions are compared with labels reduced to their size (nearest by pixel centers), their
        cross-entropy divided by the same share of the weight of all pixels.

        Args:
            logits: At the size of the labels.
            auxiliary_logits: Coarser ones, fine to coarse.
            labels: Class ids or the ignore label.
            annotated_classes: Which classes the annotation of each image knows; default all.
            loss_normalizer: See `loss_normalizer()`; default: from these labels.

        Shape:
            logits: `(B, K, H, W)`; labels: `(B, H, W)`; annotated_classes: `(B, K)`, boolean.
        """
        config = self.config
        if config.loss == "monai_dice_ce":
            return self._monai_loss(logits, auxiliary_logits, labels)
        labels = visible_labels(labels, annotated_classes, config.semantic_loss_ignore_index)
        pixels, batches = self._normalization(labels, annotated_classes, loss_normalizer)
        weights = self.class_balance.weights() if config.dynamic_class_weights else torch.ones_like(pixels)
        dice_factor: float | torch.Tensor = float(config.dice_weight)
        ce_factor: float | torch.Tensor = float(config.ce_weight)
        if config.dynamic_term_balance:
            alpha = self.class_balance.balance()
            dice_factor, ce_factor = 2 * alpha * dice_factor, 2 * (1 - alpha) * ce_factor
        total = (pixels * weights).sum().clamp(min=torch.finfo(torch.float32).tiny)

        overlap, entropy = self._terms(logits, labels, annotated_classes, weights)
        terms = {"loss_dice": dice_factor * overlap / batches, "loss_ce": ce_factor * entropy / total}
        padded = self._padded(labels)
        for level, (factor, coarse) in enumerate(zip(config.auxiliary_weights, auxiliary_logits)):
            reduced = reduced_labels(padded, coarse)
            share = reduced[0].numel() / padded[0].numel()
            overlap, entropy = self._terms(coarse, reduced, annotated_classes, weights)
            terms[f"loss_aux_{level}"] = factor * (
                dice_factor * overlap / batches + ce_factor * entropy / (total * share)
            )
        return terms

    def _monai_loss(
        self, logits: torch.Tensor, auxiliary_logits: list[torch.Tensor], labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """MONAI's own Dice and cross-entropy. It knows no ignore label: an id of 255 is an error of its own."""
        from monai.losses import DiceCELoss

        criterion = DiceCELoss(to_onehot_y=True, softmax=True)
        terms = {"loss_dice_ce": criterion(logits.float(), labels[:, None].long())}
        for level, (factor, coarse) in enumerate(zip(self.config.auxiliary_weights, auxiliary_logits)):
            reduced = reduced_labels(self._padded(labels, value=0), coarse)
            terms[f"loss_aux_{level}"] = factor * criterion(coarse.float(), reduced[:, None])
        return terms

    def _padded(self, labels: torch.Tensor, value: int | None = None) -> torch.Tensor:
        """Pads labels like the input of the encoder: without annotation, or with a given class."""
        patch = self.config.patch_size
        value = self.config.semantic_loss_ignore_index if value is None else value
        return F.pad(labels, (0, -labels.shape[-1] % patch, 0, -labels.shape[-2] % patch), value=value)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        annotated_classes: torch.Tensor | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MedDenseViTForSemanticSegmentationOutput:
        """Predicts class logits and, with labels, the loss.

        Args:
            pixel_values: Normalized slices or images.
            labels: Class id of every pixel, `semantic_loss_ignore_index` where unknown.
            annotated_classes: Which classes the annotation of each image knows (its label set); default all.
            loss_normalizer: Counts of the whole update, see `loss_normalizer()`; default: those of these labels.

        Raises:
            ValueError: If labels do not fit the batch.

        Shape:
            pixel_values: `(B, 3, H, W)`; labels: `(B, H, W)`; annotated_classes: `(B, K)`.
        """
        if labels is not None and (labels.shape[0], *labels.shape[1:]) != (
            pixel_values.shape[0],
            *pixel_values.shape[-2:],
        ):
            raise ValueError(
                f"labels have the shape {tuple(labels.shape)}, pixel_values {tuple(pixel_values.shape)}: give one "
                "class map (H, W) per image, of its size."
            )
        outputs = self.model(pixel_values, **kwargs)
        logits = self.classifier(outputs.last_hidden_state)  # (B, K, ., .) at half the padded size
        patch = self.config.patch_size
        height, width = pixel_values.shape[-2:]
        padded = (height + -height % patch, width + -width % patch)
        if self.config.patch_size > 8:
            logits = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        # A negative padding: slicing would tie exported programs to whole patches.
        logits = F.pad(logits, (0, width - padded[1], 0, height - padded[0]))

        loss = loss_dict = None
        if labels is not None:
            auxiliary = []
            if self.aux is not None and self.training:
                auxiliary = [head(features) for head, features in zip(self.aux, outputs.feature_maps)]
            with maybe_autocast(logits.device.type, enabled=False):
                loss_dict = self.compute_loss(logits, auxiliary, labels, annotated_classes, loss_normalizer)
            loss = torch.stack(list(loss_dict.values())).sum()
        return MedDenseViTForSemanticSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = ["MedDenseViTForSemanticSegmentation", "MedDenseViTModel", "MedDenseViTPreTrainedModel"]
