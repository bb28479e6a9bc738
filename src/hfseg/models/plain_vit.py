# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Plain vision transformers as backbones: which they are, their patches, and how their layers are trained."""

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = [
    "freeze_mask_tokens",
    "layer_depth",
    "num_blocks",
    "pad_to_patches",
    "parameters_without_decay",
    "patch_embedding_name",
    "patch_embedding_names",
    "plain_patch_size",
    "plain_stride",
]

# Their images must fit windows of their own, or they give tokens in place of maps.
_OTHER_VITS = ("lw_detr_vit", "rf_detr_dinov2", "vitpose_backbone")
_BLOCK = re.compile(r"(?:^|\.)(?:layer|layers|blocks)\.(\d+)\.")


def plain_patch_size(config: Any) -> int | None:
    """Gives the patch size of a backbone's configuration whose maps all have the stride of its patches.

    Returns:
        The size; None for backbones of stages, for a BEiT with its own pyramid (`add_fpn`), and for timm's, of which
        only the built network knows it (`plain_stride`).
    """
    patch_size = getattr(config, "patch_size", None)
    plain = isinstance(getattr(config, "num_hidden_layers", None), int) and not hasattr(config, "depths")
    if getattr(config, "add_fpn", False) or getattr(config, "model_type", None) in _OTHER_VITS:
        return None
    return patch_size if plain and isinstance(patch_size, int) else None


def plain_stride(backbone: Any) -> int | None:
    """Gives the patch size of a built backbone of timm whose maps all have the stride of its patches, else None."""
    info = getattr(getattr(backbone, "_backbone", None), "feature_info", None)
    names = patch_embedding_names(backbone)
    if info is None or len(names) != 1:
        return None
    patch_size = backbone.get_submodule(names[0]).kernel_size[0]
    return patch_size if set(info.reduction()) == {patch_size} else None


def patch_embedding_names(backbone: nn.Module, num_channels: int = 3) -> list[str]:
    """Lists the convolutions of pixels whose kernel is square and their stride."""
    return [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d)
        and module.in_channels == num_channels
        and module.kernel_size == module.stride
        and module.kernel_size[0] == module.kernel_size[1] > 1
    ]


def patch_embedding_name(backbone: nn.Module, num_channels: int = 3) -> str:
    """Finds the backbone's patch embedding: its one convolution of pixels whose kernel is square and its stride.

    Raises:
        ValueError: If there is none or several.
    """
    found = patch_embedding_names(backbone, num_channels)
    if len(found) != 1:
        raise ValueError(
            f"{type(backbone).__name__} has {len(found)} convolutions of {num_channels}-channel pixels whose stride is "
            f"their square kernel{': ' + ', '.join(found) if found else ''}; a plain ViT has exactly one, its patch "
            "embedding: choose dinov3_vit, dinov2, beit or a plain ViT of timm."
        )
    return found[0]


def freeze_mask_tokens(backbone: nn.Module) -> None:
    """Takes the gradients of the mask tokens of pre-training: they never get one, which would stop DDP."""
    for name, parameter in backbone.named_parameters():
        if name.endswith("mask_token"):
            parameter.requires_grad_(False)


def pad_to_patches(pixel_values: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Pads images with zeros at the right and bottom to whole patches.

    Raises:
        ValueError: For images smaller than a patch.

    Shape:
        `(B, 3, H, W)`.
    """
    height, width = pixel_values.shape[-2:]
    if height < patch_size or width < patch_size:
        raise ValueError(
            f"pixel_values are {height} x {width} pixels (height x width), smaller than one patch of "
            f"{patch_size} x {patch_size}: enlarge the image."
        )
    return F.pad(pixel_values, (0, -width % patch_size, 0, -height % patch_size))


def num_blocks(backbone: nn.Module) -> int:
    """Counts the blocks of a plain ViT."""
    numbers = [int(block.group(1)) for name, _ in backbone.named_parameters() if (block := _BLOCK.search(name))]
    return max(numbers, default=-1) + 1


def layer_depth(name: str, deepest: int) -> int:
    """Gives a parameter's depth for layer-wise decay: embeddings 0, block b (from 0) b + 1, else the largest.

    Args:
        name: Of a parameter of a model whose ViT is called `backbone`.
        deepest: Depth of everything after the blocks.
    """
    _, inside, rest = name.partition("backbone.")
    block = _BLOCK.search(rest)
    if not inside:
        return deepest
    if block:
        return int(block.group(1)) + 1
    return deepest if re.search(r"(?:^|\.)(?:norm|layernorm)\.", rest) else 0


def parameters_without_decay(model: nn.Module, patch_embedding: str) -> set[str]:
    """Names parameters of a model's `backbone` that weight decay leaves alone: patch embedding, tokens, vectors."""
    return {
        name
        for name, parameter in model.named_parameters()
        if "backbone." in name and (patch_embedding in name or name.endswith("_tokens") or parameter.dim() < 2)
    }
