# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of VPNeXt."""

import copy
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import consolidate_backbone_kwargs_to_config

from ...files.bounds import check_counts
from ..sub_configs import SubConfigSpec, sub_config

DEFAULT_BACKBONE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_register_tokens": 4,
    "key_bias": False,
    "drop_path_rate": 0.3,
    "apply_layernorm": False,
}
VCR_MODES = ("replay", "ds", "align")
UPSAMPLERS = ("hiclr", "mock_pyramid")
DECODERS = ("linear", "mask_transformer")
DCN_IMPLEMENTATIONS = ("auto", "torchvision", "gather", "grid_sample")


@strict
class VPNeXtConfig(PreTrainedConfig):
    r"""
    Configuration of VPNeXt (Tang, Huang, Yin, Duan, "VPNeXt - Rethinking Dense Decoding for Plain Vision Transformer",
    arXiv 2502.16654). The defaults are the paper's ViT-L/16 with ViTUp, three HiCLR iterations and VCR. Where the paper
    gives no number (widths, offsets, scales), the value is ours; `modeling_vpnext` says which.

    Args:
        backbone_config (`PreTrainedConfig | dict`, *optional*):
            A plain ViT whose maps all have the stride of its patches: DINOv3, DINOv2, BEiT, or a ViT of timm
            (`timm_backbone`, with `out_indices` naming the tapped blocks from 0). Defaults to DINOv3 ViT-L/16. Which
            blocks it gives out follows from `vcr_layers`.
        timm_kwargs (`dict`, *optional*):
            Arguments of `timm.create_model` that `TimmBackboneConfig` does not keep, such as `patch_size`, `img_size`,
            `dynamic_img_size`, `drop_path_rate`.
        use_vitup (`bool`, defaults to `True`):
            Upsamples to the grid of `vitup_stride` before the classifier. Without it the classifier reads the ViT's
            own grid (`vpnext-vcr`).
        vitup_stride (`int`, defaults to 4):
            Stride of the fine run of the patch embedding; divides the patch size.
        vitup_pad_before (`int`, defaults to 4):
            Pixels of zero padding at the top and left of the fine run, a multiple of the stride below the patch size,
            so that the fine map contains the ViT's own patch embeddings. The smallest shift against the pixel grid is
            that of 4 for patches of 16.
        vitup_upsampler (`str`, defaults to `"hiclr"`):
            `"hiclr"` refines the fine patch embedding. `"mock_pyramid"` is a baseline that makes its fine map from the
            last block alone.
        hiclr_iterations (`int`, defaults to 3):
            The paper's T. 0 leaves ViTUp out, as `use_vitup=False` does.
        hiclr_channels (`int`, defaults to 512):
            Channels D of the refined map.
        hiclr_context_channels (`int`, *optional*):
            Channels of the last block's map as HiCLR sees it, by a 1x1 convolution. Default: the backbone's, without.
        decoder_type (`str`, defaults to `"linear"`):
            `"linear"`, one 1x1 convolution, or `"mask_transformer"`, the paper's baseline: Segmenter's mask transformer
            on the ViT's own grid, without ViTUp. (To transformers `decoder`, its name before, is a configuration.)
        mask_transformer_channels (`int`, defaults to 256):
            Its channels, a multiple of 64.
        mask_transformer_layers (`int`, defaults to 2):
            Its layers.
        use_vcr (`bool`, defaults to `True`):
            Builds the auxiliary heads of training. Saving leaves them out (see `save_vcr`), and evaluation never runs
            them.
        save_vcr (`bool`, defaults to `False`):
            Keeps the auxiliary heads in saved folders, for checkpoints from which training goes on.
        vcr_mode (`str`, defaults to `"replay"`):
            What the auxiliary heads do: `"replay"` is VCR, `"ds"` plain deep supervision, `"align"` deep supervision
            with the mean squared difference to the last block.
        vcr_layers (`tuple[int, ...]`, *optional*):
            Supervised blocks, counted from 1. Default: a third and two thirds of the depth, 8 and 16 of 24.
        vcr_affinity_dim (`int`, defaults to 256):
            Channels of the queries and keys of the replayed affinity.
        vcr_detach_context (`bool`, defaults to `False`):
            Cuts the auxiliary losses' gradient to the last block.
        aux_loss_weight (`float`, defaults to 0.4):
            Weight of every auxiliary loss.
        loss_focal_weight, loss_dice_weight, loss_ce_weight (`float`, defaults to 20, 1, 1):
            Weights of the three losses of a prediction. The paper names the first two only: 0 for the third is its
            strict reading.
        focal_gamma (`float`, defaults to 2.0):
            Exponent of the focal loss.
        semantic_loss_ignore_index (`int`, defaults to 255):
            Label that counts nowhere.
        dcn_impl (`str`, defaults to `"auto"`):
            How the deformable convolutions compute: `"torchvision"`, `"gather"`, `"grid_sample"` (standard operators
            only), or `"auto"`: the second on a CPU, else the first (`layers.deformable_convolution`).

    Raises:
        StrictDataclassError: (of huggingface_hub, caused by a ValueError or TypeError) for wrong types, unknown modes,
            a stride that does not divide the patch, blocks outside the backbone, or a backbone whose maps are tokens
            or a pyramid.

    Example:

    ```python
    >>> from hfseg import VPNeXtConfig, VPNeXtForSemanticSegmentation

    >>> configuration = VPNeXtConfig(
    ...     backbone_config={"model_type": "dinov3_vit", "hidden_size": 32, "intermediate_size": 64,
    ...                      "num_hidden_layers": 3, "num_attention_heads": 2},
    ...     hiclr_iterations=1, hiclr_channels=16, vcr_affinity_dim=16, num_labels=5,
    ... )
    >>> configuration.vcr_layers
    (1, 2)
    >>> model = VPNeXtForSemanticSegmentation(configuration)

    ```
    """

    model_type = "vpnext"
    # What `Trainer` leaves out of predictions: only what metrics are computed from stays.
    keys_to_ignore_at_inference = ["loss_dict", "auxiliary_logits", "hidden_states", "attentions"]
    if SubConfigSpec is None:
        sub_configs = {"backbone_config": AutoConfig}
    else:
        sub_configs_defaults = {
            "backbone_config": SubConfigSpec(
                config_class=AutoConfig, model_type="dinov3_vit", init_kwargs=dict(DEFAULT_BACKBONE)
            )
        }

    backbone_config: dict | PreTrainedConfig | None = None
    timm_kwargs: dict | None = None
    use_vitup: bool = True
    vitup_stride: int = 4
    vitup_pad_before: int = 4
    vitup_upsampler: str = "hiclr"
    hiclr_iterations: int = 3
    hiclr_channels: int = 512
    hiclr_context_channels: int | None = None
    decoder_type: str = "linear"
    mask_transformer_channels: int = 256
    mask_transformer_layers: int = 2
    use_vcr: bool = True
    save_vcr: bool = False
    vcr_mode: str = "replay"
    vcr_layers: list[int] | tuple[int, ...] | None = None
    vcr_affinity_dim: int = 256
    vcr_detach_context: bool = False
    aux_loss_weight: float | int = 0.4
    loss_focal_weight: float | int = 20.0
    loss_dice_weight: float | int = 1.0
    loss_ce_weight: float | int = 1.0
    focal_gamma: float | int = 2.0
    semantic_loss_ignore_index: int = 255
    dcn_impl: str = "auto"

    def __post_init__(self, **kwargs):
        check_counts({**vars(self), **kwargs})
        self.decoder_type = kwargs.pop("decoder", self.decoder_type)  # of folders that were saved before
        if isinstance(self.backbone_config, PreTrainedConfig):
            self.backbone_config = copy.deepcopy(self.backbone_config)  # its outputs are set below
        if SubConfigSpec is None:
            self.backbone_config, kwargs = consolidate_backbone_kwargs_to_config(
                backbone_config=self.backbone_config,
                default_config_type="dinov3_vit",
                default_config_kwargs=dict(DEFAULT_BACKBONE),
                **kwargs,
            )
        super().__post_init__(**kwargs)
        if self.vcr_layers is None:
            self.vcr_layers = self._default_layers()
        self.vcr_layers = tuple(self.vcr_layers)
        self.tap_backbone()

    # ------------------------------------------------------------------------------------------------- the backbone
    @property
    def num_blocks(self) -> int | None:
        """Blocks of the backbone; None for timm's without `out_indices`."""
        backbone: Any = self.backbone_config
        if getattr(backbone, "model_type", None) == "timm_backbone":
            indices = backbone.out_indices or [-1]
            return indices[-1] + 1 if indices[-1] >= 0 else None
        return getattr(backbone, "num_hidden_layers", None)

    def _default_layers(self) -> tuple[int, ...]:
        depth = self.num_blocks
        if depth is None:
            return ()
        return tuple(sorted({layer for layer in (round(depth / 3), round(2 * depth / 3)) if 0 < layer < depth}))

    @property
    def supervised_layers(self) -> tuple[int, ...]:
        """Blocks with an auxiliary head, counted from 1; none without VCR."""
        return tuple(self.vcr_layers or ()) if self.use_vcr else ()

    def tap_backbone(self) -> None:
        """Makes the backbone give out the supervised blocks and the last one; called again if `use_vcr` changes."""
        backbone: Any = self.backbone_config
        depth = self.num_blocks
        layers = self.supervised_layers
        if depth is None or not is_increasing_below(layers, depth) or getattr(backbone, "add_fpn", False):
            return  # validation has the message
        if backbone.model_type == "timm_backbone":
            backbone.out_indices = [*(layer - 1 for layer in layers), depth - 1]
        else:
            # The last stage has the last block, and the backbone's final norm if it has one.
            backbone.set_output_features_output_indices(
                out_features=[f"stage{layer}" for layer in (*layers, depth)], out_indices=None
            )

    @property
    def classifier_stride(self) -> int | None:
        """Pixels per logit along each axis; None where only the built backbone knows its patch size."""
        return self.vitup_stride if self.upsamples else getattr(self.backbone_config, "patch_size", None)

    @property
    def upsamples(self) -> bool:
        """Whether logits are finer than the ViT's grid."""
        return self.use_vitup and self.hiclr_iterations > 0

    def validate_architecture(self):
        """Checks what types cannot express."""
        super().validate_architecture()
        for name, legal in (
            ("vcr_mode", VCR_MODES),
            ("vitup_upsampler", UPSAMPLERS),
            ("decoder_type", DECODERS),
            ("dcn_impl", DCN_IMPLEMENTATIONS),
        ):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: choose one of {', '.join(legal)}.")
        if self.hiclr_iterations < 0:
            raise ValueError(f"hiclr_iterations={self.hiclr_iterations} must be 0 (no ViTUp) or more.")
        if self.decoder_type == "mask_transformer" and self.upsamples:
            raise ValueError('decoder_type="mask_transformer" reads the ViT\'s own grid: set use_vitup=False.')
        if self.mask_transformer_channels % 64 or self.mask_transformer_layers < 0:
            raise ValueError(
                f"mask_transformer_channels={self.mask_transformer_channels} must be a multiple of 64, the size of a "
                f"head, and mask_transformer_layers={self.mask_transformer_layers} 0 or more."
            )
        for name in ("hiclr_channels", "hiclr_context_channels", "vcr_affinity_dim", "mask_transformer_channels"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more.")
        backbone = self.backbone_config
        if getattr(backbone, "reshape_hidden_states", True) is False:
            raise ValueError(
                "backbone_config.reshape_hidden_states=False gives tokens, among which prefix tokens cannot be told "
                "from patches: set it to True."
            )
        if getattr(backbone, "add_fpn", False):
            raise ValueError(
                "backbone_config.add_fpn=True makes a pyramid, but VPNeXt needs the plain maps: set it to False."
            )
        if getattr(backbone, "model_type", None) != "timm_backbone":
            plain = self.num_blocks is not None and not hasattr(backbone, "depths")
            if not plain or not isinstance(getattr(backbone, "patch_size", None), int):
                raise ValueError(
                    f"backbone_config is a {getattr(backbone, 'model_type', None)!r}, which is no plain ViT with "
                    "`num_hidden_layers` and one square `patch_size`: choose dinov3_vit, dinov2, "
                    "dinov2_with_registers, beit or timm_backbone."
                )
            check_fine_grid(sub_config(backbone, PreTrainedConfig).patch_size, self)
        depth = self.num_blocks
        if depth is None:
            raise ValueError(
                "backbone_config.out_indices of a timm_backbone must name the tapped blocks from 0, the last block "
                "last, for example [7, 15, 23] for 24 blocks."
            )
        layers = tuple(self.vcr_layers or ())
        if not is_increasing_below(layers, depth):
            raise ValueError(
                f"vcr_layers={layers} must be increasing blocks counted from 1 and before the last of {depth}, for "
                f"example {self._default_layers()}."
            )
        if self.use_vcr and not layers:
            raise ValueError(
                f"use_vcr=True needs vcr_layers, and a backbone of {depth} block(s) has no default: give blocks before "
                "the last, or set use_vcr=False."
            )


def is_increasing_below(layers: tuple[int, ...], depth: int) -> bool:
    """Tells whether blocks, counted from 1, are increasing and before the last."""
    return all(low < high for low, high in zip((0, *layers), (*layers, depth)))


def check_fine_grid(patch_size: int, config: VPNeXtConfig) -> None:
    """Checks that the fine patch embedding exists and contains the ViT's own.

    Raises:
        ValueError: The stride does not divide the patch, or the padding is no multiple of it.
    """
    if not config.upsamples:
        return
    stride, before = config.vitup_stride, config.vitup_pad_before
    if stride < 1 or patch_size % stride:
        legal = [value for value in range(1, patch_size + 1) if patch_size % value == 0]
        raise ValueError(
            f"vitup_stride={stride} does not divide the patch size {patch_size}: choose one of {legal}"
            + (", 7 for a grid of a seventh, or weights with patches of 16." if patch_size == 14 else ".")
        )
    ratio = patch_size // stride
    if config.vitup_upsampler == "mock_pyramid" and ratio & (ratio - 1):
        raise ValueError(f'vitup_upsampler="mock_pyramid" doubles the map, and cannot enlarge it {ratio} times.')
    if before % stride or not 0 <= before < patch_size:
        raise ValueError(
            f"vitup_pad_before={before} must be a multiple of vitup_stride={stride} from 0 to {patch_size - stride}, "
            "or the fine map does not contain the ViT's own patch embeddings."
        )


__all__ = ["VPNeXtConfig"]
