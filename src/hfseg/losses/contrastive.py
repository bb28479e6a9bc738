# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses of image-text pairs: sigmoid (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023), and
the softmax of CLIP.

Sigmoid: every image is compared with every text, each pair on its own: is it a pair or not? The loss is a sum over
pairs, so it may be computed in blocks, and the texts of other processes are only more columns.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import distributed

# Columns compared at once: bounds memory, does not change results.
TEXTS_AT_ONCE = 4096


class _Gather(torch.autograd.Function):
    """Collects a tensor of every process; the gradient of each part is the sum of what all processes want of it."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, tensor.contiguous())
        ctx.rows = len(tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        first = distributed.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """Joins a tensor of equal size of all processes, in order of rank; alone, it is the tensor itself.

    Shape:
        `(B, D)` to `(processes * B, D)`.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return tensor
    return _Gather.apply(tensor)


def own_rank() -> int:
    """Returns this process's number, 0 alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def _sum_over_pairs(
    images: torch.Tensor,
    texts: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    first_pair: int | None,
    texts_at_once: int,
) -> torch.Tensor:
    """Adds up the losses of all combinations; image i belongs to text `first_pair + i`, or none does."""
    total = images.new_zeros(())
    row = torch.arange(len(images), device=images.device)[:, None]
    for first in range(0, len(texts), texts_at_once):
        block = texts[first : first + texts_at_once]
        logits = scale * images @ block.t() + bias  # (B, block)
        if first_pair is None:
            total = total - F.logsigmoid(-logits).sum()
        else:
            column = torch.arange(first, first + len(block), device=images.device)
            total = total - F.logsigmoid(torch.where(row + first_pair == column, logits, -logits)).sum()
    return total


def sigmoid_contrastive_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    log_scale: torch.Tensor,
    bias: torch.Tensor,
    gather: bool = True,
    texts_at_once: int = TEXTS_AT_ONCE,
    other_image_embeds: torch.Tensor | None = None,
    other_text_embeds: torch.Tensor | None = None,
) -> torch.Tensor:
    """Computes `-1/B sum_ij log sigmoid(z_ij (t <v_i, w_j> + b))`, z = 1 for pairs, else -1, in float32.

    With the embeddings of the other micro-batches of an accumulated batch, computed beforehand and without gradients,
    the mean over micro-batches is the loss of the whole batch, and their gradients add up to its gradient: a
    micro-batch differentiates what its own images and its own texts contribute.

    Args:
        image_embeds: L2-normalized; row i belongs to row i of the texts.
        text_embeds: L2-normalized.
        log_scale: Logarithm of t.
        bias: b.
        gather: Whether the texts of all processes are compared; the mean over processes is then the loss of the whole.
        texts_at_once: Texts per block.
        other_image_embeds, other_text_embeds: Of the other micro-batches, of all processes.

    Raises:
        ValueError: If there are not as many images as texts.

    Shape:
        image_embeds, text_embeds: `(B, D)`; other_image_embeds, other_text_embeds: `(N, D)`; output: scalar.
    """
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(
            f"Image embeddings {tuple(image_embeds.shape)} and text embeddings {tuple(text_embeds.shape)} are no pairs."
        )
    with torch.autocast(image_embeds.device.type, enabled=False):
        images, own = image_embeds.float(), text_embeds.float()
        texts = gather_with_gradient(own) if gather else own
        first_pair = own_rank() * len(images) if gather else 0
        scale, bias = log_scale.float().exp(), bias.float()
        total = _sum_over_pairs(images, texts, scale, bias, first_pair, texts_at_once)
        if other_text_embeds is not None and other_image_embeds is not None:
            others = other_text_embeds.detach().float()
            total = total + _sum_over_pairs(images, others, scale, bias, None, texts_at_once)
            # Seen from the texts these pairs count in other micro-batches; only their gradient belongs here.
            others = other_image_embeds.detach().float()
            columns = _sum_over_pairs(own, others, scale.detach(), bias.detach(), None, texts_at_once)
            total = total + columns - columns.detach()
        return total / len(images)


def softmax_contrastive_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    scale: torch.Tensor,
    texts: torch.Tensor | None = None,
    gather: bool = True,
) -> torch.Tensor:
    """Computes CLIP's loss (Radford et al., 2021): cross-entropy of images over texts and of texts over images, halved.

    Short captions repeat: images with the very same text are partners of each other's text, in equal shares, instead of
    contradicting each other.

    Args:
        image_embeds: L2-normalized; row i belongs to row i of the texts.
        text_embeds: L2-normalized.
        scale: Inverse temperature.
        texts: Token ids, by which equal texts are found; default: all texts differ.
        gather: Whether the pairs of all processes are compared; the mean over processes is then the loss of the whole.

    Raises:
        ValueError: If there are not as many images as texts.

    Shape:
        image_embeds, text_embeds: `(B, D)`; texts: `(B, L)`; output: scalar.
    """
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(
            f"Image embeddings {tuple(image_embeds.shape)} and text embeddings {tuple(text_embeds.shape)} are no pairs."
        )
    with torch.autocast(image_embeds.device.type, enabled=False):
        images, words = image_embeds.float(), text_embeds.float()
        all_images, all_words = (gather_with_gradient(part) if gather else part for part in (images, words))
        if texts is None:
            first = own_rank() * len(images) if gather else 0
            own = torch.arange(first, first + len(images), device=images.device)
            partners = F.one_hot(own, len(all_words)).float()  # (B, processes * B)
        else:
            all_texts = gather_with_gradient(texts) if gather else texts
            partners = (texts[:, None] == all_texts).all(-1).float()
            partners = partners / partners.sum(-1, keepdim=True)
        scale = scale.float()
        of_images = F.cross_entropy(scale * images @ all_words.t(), partners)
        of_texts = F.cross_entropy(scale * words @ all_images.t(), partners)
        return (of_images + of_texts) / 2
