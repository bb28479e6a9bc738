# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How much a frozen map knows about classes: logistic regression on its pixels, measured by mean IoU."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F

from ..metrics.mean_iou import MeanIoU

Features = Callable[[torch.Tensor], torch.Tensor]


def thinned(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Takes the label nearest to the center of every cell. Shape: `(B, H, W)` to `(B, *size)`."""
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()


def fit_linear_probe(
    features: torch.Tensor, labels: torch.Tensor, num_labels: int, weight_decay: float = 1e-3, max_iterations: int = 60
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fits multinomial logistic regression by L-BFGS; convex, so it does not depend on luck.

    Shape:
        features: `(N, C)`, standardised; labels: `(N,)`; output: `(K, C)` and `(K,)`.
    """
    weight = features.new_zeros(num_labels, features.shape[1], requires_grad=True)
    bias = features.new_zeros(num_labels, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=max_iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.t() + bias, labels) + weight_decay * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(cast(Callable[[], float], closure))  # the loss may be a tensor
    return weight.detach(), bias.detach()


@torch.no_grad()
def linear_probe(
    features: Features,
    train: Iterable[tuple[torch.Tensor, torch.Tensor]],
    validation: Iterable[tuple[torch.Tensor, torch.Tensor]],
    num_labels: int,
    ignore_index: int = 255,
    pixels_per_image: int = 256,
    seed: int = 0,
) -> float:
    """Measures the mean IoU, in percent, that a linear classifier of pixels reaches on held-out images.

    Args:
        features: From images to maps.
        train: Batches of images and class maps to fit on; a random sample of pixels is used.
        validation: Likewise, to measure on, at the resolution of the maps.
        num_labels: K.
        ignore_index: Label of pixels left out.
        pixels_per_image: Sampled for the fit.
        seed: Of the sample.

    Shape:
        images: `(B, 3, H, W)`; class maps: `(B, H, W)`; maps: `(B, C, h, w)`.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, classes = [], []
    for images, labels in train:
        maps = features(images).float()
        truth = thinned(labels.to(maps.device), (maps.shape[-2], maps.shape[-1])).flatten(1)
        for table, target in zip(maps.flatten(2).transpose(1, 2), truth):
            chosen = torch.randperm(len(target), generator=generator)[:pixels_per_image].to(maps.device)
            rows.append(table[chosen])
            classes.append(target[chosen])
    table, target = torch.cat(rows), torch.cat(classes)
    known = target != ignore_index
    table, target = table[known], target[known]
    mean, deviation = table.mean(0), table.std(0).clamp(min=1e-6)
    weight, bias = fit_linear_probe((table - mean) / deviation, target, num_labels)
    metric = MeanIoU({number: str(number) for number in range(num_labels)}, ignore_index)
    for images, labels in validation:
        maps = features(images).float()
        scores = ((maps.permute(0, 2, 3, 1) - mean) / deviation) @ weight.t() + bias
        truth = thinned(labels.to(maps.device), (maps.shape[-2], maps.shape[-1]))
        metric.add_batch(predictions=list(scores.argmax(-1).cpu().numpy()), references=list(truth.cpu().numpy()))
    return float(metric.compute()["mean_iou"])
