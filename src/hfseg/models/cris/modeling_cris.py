# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS: referring image segmentation with CLIP.

Wang, Lu, Li, Tao, Guo, Gong, Liu: "CRIS: CLIP-Driven Referring Image Segmentation", CVPR 2022 (arXiv 2111.15174). CLIP
matches whole images with sentences. CRIS brings this match down to pixels: three levels of CLIP's ResNet are fused
with the sentence (neck), a transformer lets every pixel attend to the words (decoder), and the sentence produces the
convolution that turns pixel features into a mask (projector), trained so that its output is the text-to-pixel match.

Shape legend: B images, K expressions per image, N = B K, L tokens per expression, H x W input, c3..c5 maps at strides
8, 16, 32, E width of CLIP's joint space, C `hidden_size` (of words and pixels), P = (H / 16) (W / 16) pixels of the
decoder.

Where this differs from the paper, it follows the official code, on which checkpoints depend: the last stage goes
through CLIP's attention pool (without its mean token) plus a 1x1 branch; every concatenation is followed by a 1x1
convolution; the decoder normalizes the outputs of both attentions and the hidden units of the feed-forward once more;
the match is a 3x3 convolution instead of a product; every token with id 0 is ignored, padding or not.

Where it differs from the official code, the numbers are the same:

- everything that no sentence enters (image tower, first convolutions of the neck) is computed once per image for any
  number of expressions; a convolution of concatenated maps is the sum of one per map (`PartwiseConv2d`), and a 1x1
  convolution commutes with bilinear enlargement, so it runs at the small size;
- convolutions of enlarged maps run at the small size (`layers.upsampled_convolution`);
- the sentence's 3x3 convolution is merged with the 1x1 convolution before it;
- position codes take the type of the features, so that half precision works; CLIP's unused `logit_scale` is left out;
- the text tower builds its causal mask from the given length.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextModelWithProjection
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.mask_decoder import MultiHeadAttention, eager_attention
from ...layers.token_positions import coordinate_maps, grid_positions, sequence_positions
from ...layers.upsampled_convolution import UpsampledConv2d
from ...losses.text_to_pixel import text_to_pixel_loss
from ..outputs import always_set
from ..vision_model import VisionModel
from .configuration_cris import CrisConfig

STRIDE = 32


@dataclass
class CrisDecoderOutput(ModelOutput):
    """Pixels after they attended to the words.

    Attributes:
        last_hidden_state: Normalized pixel features, `(N, P, C)`.
        hidden_states: With `output_hidden_states=True`: pixels before the first and after every layer.
        attentions: With `output_attentions=True`: attention among pixels, `(N, heads, P, P)`.
        cross_attentions: Likewise, of pixels to words, `(N, heads, P, L)`.
    """

    last_hidden_state: torch.Tensor = always_set()
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class CrisModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        pixel_features: Pixels that know the expression, channels last, `(N, H/16, W/16, C)`.
        sentence_embedding: The expression in CLIP's joint space, `(N, E)`.
        word_features: Features of its tokens, `(N, L, C)`.
        hidden_states, attentions, cross_attentions: Of the decoder, on request.
    """

    pixel_features: torch.Tensor = always_set()
    sentence_embedding: torch.Tensor = always_set()
    word_features: torch.Tensor = always_set()
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class CrisForReferringImageSegmentationOutput(ModelOutput):
    """Output of `CrisForReferringImageSegmentation`.

    Attributes:
        loss: Text-to-pixel loss, scalar. Only with labels.
        loss_dict: The same as `loss_text_to_pixel`. Only with labels.
        logits: Mask logits per expression, `(B, K, H/4, W/4)`.
        hidden_states, attentions, cross_attentions: Of the decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


# ----------------------------------------------------------------------------------------------------------------------
# Image tower
# ----------------------------------------------------------------------------------------------------------------------
def build_clip_resnet(config: CrisConfig) -> nn.Module:
    """Builds CLIP's modified ResNet, giving c3, c4 and the last stage, with timm."""
    try:
        import timm
        from timm.models.byobnet import ByoBlockCfg
    except ImportError as error:
        raise ImportError("CRIS needs timm for CLIP's ResNet; install it with: pip install 'hfseg[timm]'") from error

    width = config.vision_width
    blocks = tuple(
        ByoBlockCfg(type="bottle", d=depth, c=4 * width * 2**stage, s=1 if stage == 0 else 2, br=0.25)
        for stage, depth in enumerate(config.vision_layers)
    )
    return timm.create_model(
        "resnet50_clip",
        features_only=True,
        out_indices=(2, 3, 4),
        stem_chs=(width // 2, width // 2, width),
        blocks=blocks,
    )


class CrisAttentionPool(nn.Module):
    """CLIP's attention pool on every position instead of their mean, plus a 1x1 branch beside it."""

    is_causal = False

    def __init__(self, config: CrisConfig):
        super().__init__()
        width, embedding = config.vision_hidden_size, config.projection_dim
        self.grid = config.image_size // STRIDE
        self.num_heads = config.vision_width // 2  # 64 channels each
        # The first row belongs to the mean token, which is not used here.
        self.positional_embedding = nn.Parameter(torch.empty(self.grid**2 + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embedding)
        self.connect = nn.Sequential(nn.Conv2d(width, embedding, 1, bias=False), nn.BatchNorm2d(embedding))

    def forward(self, features: torch.Tensor, attend: Any = eager_attention) -> torch.Tensor:
        """Maps the last stage into the joint space.

        Shape:
            features: `(B, 32 vision_width, H/32, W/32)`; output: `(B, E, H/32, W/32)`.
        """
        height, width = features.shape[-2:]
        table = self.positional_embedding[1:].float().T.unflatten(1, (self.grid, self.grid))[None]
        # Interpolated in float32: bicubic weights are not exact in half precision.
        table = F.interpolate(table, size=(height, width), mode="bicubic", align_corners=False).to(features.dtype)
        tokens = (features + table).flatten(2).transpose(1, 2)  # (B, P, channels)

        def heads(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, P, 64)

        query, key, value = heads(self.q_proj(tokens)), heads(self.k_proj(tokens)), heads(self.v_proj(tokens))
        mixed, _ = attend(self, query, key, value, None, scaling=query.shape[-1] ** -0.5, dropout=0.0, is_causal=False)
        pooled = self.c_proj(mixed.flatten(2)).transpose(1, 2).unflatten(2, (height, width))  # (B, E, h, w)
        return F.relu(pooled + self.connect(features))


# ----------------------------------------------------------------------------------------------------------------------
# Neck (thesis, from equation 2.1 on)
# ----------------------------------------------------------------------------------------------------------------------
class CrisConvolution(nn.Sequential):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class PartwiseConv2d(nn.Conv2d):
    """Convolution of concatenated maps, computed map by map: the sum of the parts is the convolution of the whole.

    Args:
        sizes: Channels of each map.
        out_channels: Channels of the result.
        kernel_size: Side of the kernel.
    """

    def __init__(self, sizes: tuple[int, ...], out_channels: int, kernel_size: int):
        super().__init__(sum(sizes), out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.sizes = sizes

    def part(self, index: int, features: torch.Tensor) -> torch.Tensor:
        """Convolves one of the maps with its share of the kernel."""
        start = sum(self.sizes[:index])
        weight = self.weight[:, start : start + self.sizes[index]]
        return F.conv2d(features, weight, padding=self.padding)


class CrisFusion(nn.Module):
    """Convolution of concatenated maps, batch normalization, ReLU; the caller sums the parts."""

    def __init__(self, sizes: tuple[int, ...], out_channels: int, kernel_size: int = 1):
        super().__init__()
        self.conv = PartwiseConv2d(sizes, out_channels, kernel_size)
        self.norm = nn.BatchNorm2d(out_channels)

    def part(self, index: int, features: torch.Tensor) -> torch.Tensor:
        """Convolves one of the maps."""
        return self.conv.part(index, features)

    def finish(self, total: torch.Tensor) -> torch.Tensor:
        """Normalizes the sum."""
        return F.relu(self.norm(total))


def enlarge(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Doubles a map bilinearly; a map of twice the size says so, which `torch.export` cannot derive."""
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


class CrisNeck(nn.Module):
    """Fuses three levels of the image and the sentence into one map at stride 16.

    `describe_image` does what no sentence enters, `forward` the rest.
    """

    def __init__(self, config: CrisConfig):
        super().__init__()
        embedding, width = config.projection_dim, config.vision_width
        fine, middle, coarse = config.neck_sizes
        self.text_projection = nn.Sequential(nn.Linear(embedding, coarse, bias=False), nn.BatchNorm1d(coarse))
        self.project_c5 = CrisConvolution(embedding, coarse, 1)
        self.norm_c5 = nn.BatchNorm2d(coarse)
        self.project_c4 = CrisConvolution(16 * width, middle, 3)
        self.fuse_c4 = CrisFusion((middle, coarse), middle)
        self.project_c3 = CrisConvolution(8 * width, fine, 3)
        self.fuse_c3 = CrisFusion((fine, middle), middle)
        self.smooth_f3 = CrisConvolution(middle, middle, 3)
        self.smooth_f4 = CrisConvolution(middle, middle, 3)
        self.smooth_f5 = CrisConvolution(coarse, middle, 3)
        self.aggregate = CrisFusion((middle, middle, middle), middle)
        self.locate = CrisFusion((middle, 2), middle, 3)
        self.refine = CrisConvolution(middle, middle, 3)

    def describe_image(self, c3: torch.Tensor, c4: torch.Tensor, c5: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes the image's share of each fusion.

        Shape:
            c3, c4, c5: see `CrisVisionModel`; output: `(B, middle, H/16, W/16)` twice (of c3 and c4) and
            `(B, coarse, H/32, W/32)`.
        """
        from_c3 = self.fuse_c3.part(0, F.avg_pool2d(self.project_c3(c3), 2))
        from_c4 = self.fuse_c4.part(0, self.project_c4(c4))
        return from_c3, from_c4, self.project_c5(c5)

    def forward(self, image_features: tuple[torch.Tensor, ...], sentence: torch.Tensor) -> torch.Tensor:
        """Fuses.

        Args:
            image_features: From `describe_image`.
            sentence: Sentence embeddings of all expressions, those of one image after the other.

        Shape:
            sentence: `(B K, E)`; output: `(B K, middle, H/16, W/16)`.
        """
        # The K expressions of an image share its maps by broadcasting.
        from_c3, from_c4, from_c5 = (features[:, None] for features in image_features)  # (B, 1, channels, h, w)
        per_image = (from_c5.shape[0], sentence.shape[0] // from_c5.shape[0])
        scale = F.relu(self.text_projection(sentence)).unflatten(0, per_image)[..., None, None]  # (B, K, coarse, 1, 1)
        f5 = F.relu(self.norm_c5((from_c5 * scale).flatten(0, 1)))  # (N, coarse, H/32, W/32)
        of_f5 = enlarge(self.fuse_c4.part(1, f5), from_c4).unflatten(0, per_image)  # (B, K, middle, H/16, W/16)
        f4 = self.fuse_c4.finish((from_c4 + of_f5).flatten(0, 1))  # (N, middle, H/16, W/16)
        of_f4 = self.fuse_c3.part(1, f4).unflatten(0, per_image)
        f3 = self.fuse_c3.finish((from_c3 + of_f4).flatten(0, 1))
        total = self.aggregate.part(0, self.smooth_f3(f3))
        total = total + self.aggregate.part(1, self.smooth_f4(f4))
        total = total + enlarge(self.aggregate.part(2, self.smooth_f5(f5)), f4)
        fused = self.aggregate.finish(total)
        coordinates = coordinate_maps(fused.shape[-2], fused.shape[-1], fused.device, fused.dtype)
        located = self.locate.finish(self.locate.part(0, fused) + self.locate.part(1, coordinates))
        return self.refine(located)


# ----------------------------------------------------------------------------------------------------------------------
# Decoder (equations 2.5 to 2.7)
# ----------------------------------------------------------------------------------------------------------------------
class CrisDecoderLayer(GradientCheckpointingLayer):
    """Attention among pixels, attention of pixels to words, feed-forward; each normalized before and after."""

    def __init__(self, config: CrisConfig):
        super().__init__()
        channels, hidden = config.hidden_size, config.dim_feedforward
        self.dropout = config.dropout
        self.self_attn_norm = nn.LayerNorm(channels)
        self.self_attn = MultiHeadAttention(channels, config.num_attention_heads, config.dropout)
        self.self_attn_output_norm = nn.LayerNorm(channels)
        self.cross_attn_norm = nn.LayerNorm(channels)
        self.cross_attn = MultiHeadAttention(channels, config.num_attention_heads, config.dropout)
        self.cross_attn_output_norm = nn.LayerNorm(channels)
        self.feedforward_norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.hidden_norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def drop(self, states: torch.Tensor) -> torch.Tensor:
        """Applies dropout."""
        return F.dropout(states, p=self.dropout, training=self.training)

    def forward(
        self,
        pixels: torch.Tensor,
        pixel_positions: torch.Tensor,
        words: torch.Tensor,
        located_words: torch.Tensor,
        word_mask: torch.Tensor,
        attend: Any = eager_attention,
    ) -> torch.Tensor:
        """Updates the pixels (equations 2.5 to 2.7).

        Shape:
            pixels: `(N, P, C)`; pixel_positions: `(P, C)`; words and located_words (with position code): `(N, L, C)`;
            word_mask: `(N, 1, 1, L)`, true where pixels may look; output: `(N, P, C)`.
        """
        normed = self.self_attn_norm(pixels)
        located = normed + pixel_positions
        attended, _ = self.self_attn(located, located, normed, attend=attend)
        pixels = pixels + self.drop(self.self_attn_output_norm(attended))
        normed = self.cross_attn_norm(pixels)
        attended, _ = self.cross_attn(normed + pixel_positions, located_words, words, word_mask, attend=attend)
        pixels = pixels + self.drop(self.cross_attn_output_norm(attended))
        hidden = self.drop(F.relu(self.fc1(self.feedforward_norm(pixels))))
        return pixels + self.drop(self.fc2(self.hidden_norm(hidden)))


# ----------------------------------------------------------------------------------------------------------------------
# Projector (what equation 2.9 compares)
# ----------------------------------------------------------------------------------------------------------------------
class CrisProjector(nn.Module):
    """Brings pixels to stride 4 and matches them with the sentence.

    The sentence produces a 3x3 convolution with one output, `(channels, 3, 3)` and a bias. The pixels' last layer is a
    1x1 convolution; both are linear, so the kernel that acts on its input is computed instead of its output.
    """

    def __init__(self, config: CrisConfig):
        super().__init__()
        channels, half = config.hidden_size, config.hidden_size // 2
        self.enlarge_1 = UpsampledConv2d(channels, channels)
        self.norm_1 = nn.BatchNorm2d(channels)
        self.enlarge_2 = UpsampledConv2d(channels, half)
        self.norm_2 = nn.BatchNorm2d(half)
        self.embed = nn.Conv2d(half, half, 1)
        if config.use_text_to_pixel:
            self.text_kernel = nn.Linear(config.projection_dim, half * 9 + 1)
        else:
            self.kernel = nn.Conv2d(half, 1, 3, padding=1)

    def kernels(self, sentence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gives the last convolution per expression.

        Shape:
            sentence: `(N, E)`; output: `(N or 1, channels, 9)` and `(N or 1, 1)`.
        """
        if hasattr(self, "text_kernel"):
            produced = self.text_kernel(sentence)
            return produced[:, :-1].unflatten(1, (-1, 9)), produced[:, -1:]
        return self.kernel.weight.flatten(2), cast(torch.Tensor, self.kernel.bias)[None]

    def forward(self, pixels: torch.Tensor, sentence: torch.Tensor) -> torch.Tensor:
        """Computes mask logits.

        Shape:
            pixels: `(N, h, w, C)`; sentence: `(N, E)`; output: `(N, 4 h, 4 w)`.
        """
        for convolution, norm in ((self.enlarge_1, self.norm_1), (self.enlarge_2, self.norm_2)):
            large = convolution(pixels).permute(0, 3, 1, 2)  # (N, channels, 2 h, 2 w), channels last in memory
            pixels = F.relu(norm(large)).permute(0, 2, 3, 1)
        height, width = pixels.shape[1:3]
        taps, bias = self.kernels(sentence)
        merged = self.embed.weight.flatten(1).T @ taps  # (N, channels, 9)
        embed_bias: Any = self.embed.bias
        # A vector times a matrix rounds by where the bias lies in memory, which loading changes; this sum does not.
        of_bias = (embed_bias[:, None] * taps).sum(1)  # (N, 9)
        products = pixels.flatten(1, 2) @ merged + of_bias[:, None]  # (N, 4 h 4 w, 9)
        # What tap k of the kernel sees at a pixel lies one step in direction k; beyond the border there is nothing.
        products = F.pad(products.transpose(1, 2).unflatten(2, (height, width)), (1, 1, 1, 1))
        shifted = [
            products[:, 3 * row + column, row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        ]
        return torch.stack(shifted).sum(0) + bias[..., None]


# ----------------------------------------------------------------------------------------------------------------------
# Models
# ----------------------------------------------------------------------------------------------------------------------
class CrisPreTrainedModel(VisionModel):
    """Weight initialization (CLIP's for the image tower, PyTorch's elsewhere) and what the model family supports."""

    config: CrisConfig
    input_modalities = ["image", "text"]
    _no_split_modules = ["CrisDecoderLayer", "CLIPEncoderLayer", "CLIPTextEmbeddings", "CrisAttentionPool"]

    def post_init(self):
        """Finishes building. Of the names that sub-models bring along (CLIP's vision ones), only real ones stay."""
        super().post_init()
        present = {type(module).__name__ for module in self.modules()}
        names = self._no_split_modules or ()
        self._no_split_modules = type(names)(name for name in names if name in present)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, MultiHeadAttention):
            # torch's attention draws the three input projections as one (3C, C) matrix, hence the smaller bound.
            for projection in (module.q_proj, module.k_proj, module.v_proj):
                init.xavier_uniform_(projection.weight, gain=0.5**0.5)
                init.zeros_(projection.bias)
            init.zeros_(module.out_proj.bias)
        elif isinstance(module, CrisAttentionPool):
            scale = module.q_proj.in_features**-0.5
            init.normal_(module.positional_embedding, std=scale)
            for projection in (module.q_proj, module.k_proj, module.v_proj, module.c_proj):
                init.normal_(projection.weight, std=scale)
        elif hasattr(module, "conv3_1x1"):  # a bottleneck starts as the identity
            init.zeros_(cast(nn.BatchNorm2d, module.get_submodule("conv3_1x1.bn")).weight)


class CrisVisionModel(CrisPreTrainedModel):
    """CLIP's ResNet with the attention pool."""

    supports_gradient_checkpointing = False  # timm's stages are no layers that transformers could recompute

    def __init__(self, config: CrisConfig):
        super().__init__(config)
        self.backbone = build_clip_resnet(config)
        self.attention_pool = CrisAttentionPool(config)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes c3, c4 and c5.

        Shape:
            pixel_values: `(B, 3, H, W)`; output: `(B, 8 width, H/8, W/8)`, `(B, 16 width, H/16, W/16)`,
            `(B, E, H/32, W/32)`.
        """
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        if not self.training:
            # The faster layout in memory, and the one in which pixels become tokens. Not in training: there, batch
            # normalization would add up in another order than the authors', which small batches make visible (1e-3).
            pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        c3, c4, last = self.backbone(pixel_values)
        return c3, c4, self.attention_pool(last, attend)


class CrisDecoder(CrisPreTrainedModel):
    """Vision-language decoder: pixels attend to each other and to the words."""

    _can_record_outputs = {
        "hidden_states": CrisDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: CrisConfig):
        super().__init__(config)
        self.layers = nn.ModuleList([CrisDecoderLayer(config) for _ in range(config.num_decoder_layers)])
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixels: torch.Tensor,
        grid: tuple[int, int],
        words: torch.Tensor,
        word_mask: torch.Tensor,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CrisDecoderOutput:
        """Refines the pixels.

        Shape:
            pixels: `(N, P, C)`, row-major on a grid (height, width); words: `(N, L, C)`; word_mask: `(N, L)`, true for
            words that count.
        """
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        channels = pixels.shape[-1]
        positions = grid_positions(*grid, channels, pixels.device, pixels.dtype)
        located_words = words + sequence_positions(words.shape[1], channels, words.device, words.dtype)
        for layer in self.layers:
            pixels = layer(pixels, positions, words, located_words, word_mask[:, None, None], attend)
        return CrisDecoderOutput(last_hidden_state=self.norm(pixels))


class CrisModel(CrisPreTrainedModel):
    """Image tower, text tower, neck and decoder: pixel features that know the expression."""

    def __init__(self, config: CrisConfig):
        super().__init__(config)
        self.vision_model = CrisVisionModel(config)
        self.text_model = CLIPTextModelWithProjection._from_config(config.text_config)
        self.neck = CrisNeck(config)
        self.decoder = CrisDecoder(config) if config.use_decoder else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the token embedding."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the token embedding."""
        self.text_model.set_input_embeddings(value)

    def encode_image(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes everything that no expression enters; give the result to `forward` as `image_features`.

        Raises:
            ValueError: If height or width is not a multiple of 32.

        Shape:
            pixel_values: `(B, 3, H, W)`; output: see `CrisNeck.describe_image`.
        """
        height, width = pixel_values.shape[-2:]
        # A program for any size cannot ask; it fails where maps of one scale differ.
        if not torch.compiler.is_exporting() and (height % STRIDE or width % STRIDE):
            raise ValueError(
                f"pixel_values are {height} x {width} pixels; both sides must be multiples of {STRIDE}, the stride of "
                "the last stage. CrisImageProcessor makes such images (416 x 416)."
            )
        return self.neck.describe_image(*self.vision_model(pixel_values))

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        image_features: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CrisModelOutput:
        """Computes pixel features.

        Args:
            pixel_values: Normalized images, height and width multiples of 32.
            input_ids: Tokens of the expressions: one per image, or K per image. The id 0 is padding; a genuine token 0
                is ignored by pixels, too.
            image_features: From `encode_image`, in place of `pixel_values`.

        Raises:
            ValueError: If images or expressions are missing, or their numbers differ.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(B, L)` or `(B, K, L)`.
        """
        if (pixel_values is None) == (image_features is None) or input_ids is None:
            raise ValueError("Give input_ids, and either pixel_values or image_features (of encode_image).")
        if pixel_values is not None:
            features = self.encode_image(pixel_values)
        else:
            features = cast(tuple[torch.Tensor, ...], image_features)
        if input_ids.dim() not in (2, 3) or input_ids.shape[0] != features[0].shape[0]:
            raise ValueError(
                f"input_ids has the shape {tuple(input_ids.shape)} for {features[0].shape[0]} image(s): give "
                "(images, tokens), or (images, expressions per image, tokens)."
            )
        tokens = input_ids.flatten(0, -2)  # (N, L)
        text = self.text_model(tokens)
        fused = self.neck(features, text.text_embeds)  # (N, C, h, w)
        height, width = fused.shape[-2:]
        pixels = fused.flatten(2).transpose(1, 2)  # (N, P, C)
        decoded = CrisDecoderOutput(last_hidden_state=pixels)
        if self.decoder is not None:
            decoded = self.decoder(pixels, (height, width), text.last_hidden_state, tokens != 0, **kwargs)
        return CrisModelOutput(
            pixel_features=decoded.last_hidden_state.unflatten(1, (height, width)),
            sentence_embedding=text.text_embeds,
            word_features=text.last_hidden_state,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
        )


class CrisForReferringImageSegmentation(CrisPreTrainedModel):
    """CRIS with projector and loss: the mask of what an expression refers to."""

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False

    def __init__(self, config: CrisConfig):
        super().__init__(config)
        self.model = CrisModel(config)
        self.projector = CrisProjector(config)
        self.post_init()

    @classmethod
    def from_clip(cls, source: Any, **overrides) -> "CrisForReferringImageSegmentation":
        """Builds a trainable model from CLIP's weights; what CLIP does not have is randomly initialized.

        Args:
            source: OpenAI's archive (`RN50.pt`, `RN101.pt`), or a state dict or file with its names, such as
                OpenCLIP's; the folder of an OpenCLIP ResNet; timm's image tower by name (`"resnet50_clip.openai"`),
                file or folder; or the folder of a CLIP of transformers, which gives the text tower.
            overrides: Fields of `CrisConfig`, for example `num_decoder_layers=2`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If these are not the weights of a CLIP with a ResNet.
        """
        from .convert_cris import from_clip

        return from_clip(cls, source, **overrides)

    def encode_image(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes everything that no expression enters; see `CrisModel.encode_image`."""
        return self.model.encode_image(pixel_values)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        mask_labels: torch.Tensor | None = None,
        image_features: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CrisForReferringImageSegmentationOutput:
        """Predicts a mask per expression and, with labels, the loss.

        Args:
            pixel_values: Normalized images, height and width multiples of 32.
            input_ids: Tokens of the expressions: one per image, or K per image. The id 0 is padding.
            mask_labels: Probability of every pixel to belong to the referent, in [0, 1]; hard or soft.
            image_features: From `encode_image`, in place of `pixel_values`.

        Raises:
            ValueError: If images or expressions are missing, or numbers differ.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(B, L)` or `(B, K, L)`; mask_labels: `(B, H, W)` for K = 1, or
            `(B, K, H, W)`. Outputs: see `CrisForReferringImageSegmentationOutput`.
        """
        outputs = self.model(pixel_values, input_ids, image_features, **kwargs)
        logits = self.projector(outputs.pixel_features, outputs.sentence_embedding)  # (N, 4 h, 4 w)
        expressions = input_ids.shape[1] if input_ids is not None and input_ids.dim() == 3 else 1
        logits = logits.unflatten(0, (-1, expressions))  # (B, K, 4 h, 4 w)
        loss = loss_dict = None
        if mask_labels is not None:
            loss = text_to_pixel_loss(logits, mask_labels, self.config.mask_label_resize)
            loss_dict = {"loss_text_to_pixel": loss}
        return CrisForReferringImageSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
        )


__all__ = ["CrisForReferringImageSegmentation", "CrisModel", "CrisPreTrainedModel"]
