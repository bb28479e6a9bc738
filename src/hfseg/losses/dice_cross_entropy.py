# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Dice plus cross-entropy over class maps, with weights that follow the imbalance of classes.

From frequencies f of the classes (shares of valid pixels, a moving average over updates):

* class weights `w_c = clip((median f / f_c)^power, limits)`, 0 for classes never seen, then scaled so that a pixel's
  mean weight `sum f_c w_c` is 1;
* imbalance `rho = 1 - H(f) / ln K` (0 for equal shares, 1 for a single class) and balance `alpha = 0.5 + 0.4 rho`.

With softmax probabilities p, labels y and one-hot labels g over the valid pixels of a batch:

* `CE = sum_i w_{y_i} l_i / sum_i w_{y_i}`, with `l_i = -ln p_{y_i}`, for focal losses times `(1 - p_{y_i})^gamma`;
* `Dice = sum_c w_c (1 - (2 sum pg + eps) / (sum p + sum g + eps)) / sum_c w_c` over foreground classes c in the batch;
* `L = 2 (alpha Dice + (1 - alpha) CE)`.

Everything is computed in float32: the sums over a 512 x 512 slice exceed half precision.

Shape legend: B images, K classes (0 is background), (H, W) pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "ClassBalance",
    "class_weights",
    "count_classes",
    "cross_entropy_sum",
    "dice_loss",
    "generalized_dice_loss",
    "imbalance",
    "marginal_logits",
    "visible_labels",
]

EPSILON = 1e-5


def class_weights(frequencies: Tensor, power: float = 0.5, limits: tuple[float, float] = (0.1, 10.0)) -> Tensor:
    """Weights of classes from their frequencies; see the module.

    The median is that of the frequencies above 0, the lower one of two.

    Shape:
        frequencies: `(K,)`; output: `(K,)`.
    """
    seen = frequencies > 0
    ordered = torch.where(seen, frequencies, torch.inf).sort().values
    median = ordered.gather(0, ((seen.sum() - 1) // 2).clamp(min=0).view(1))
    weights = (median / torch.where(seen, frequencies, 1.0)).pow(power).clamp(*limits)
    weights = torch.where(seen, weights, 0.0)
    return weights / (frequencies * weights).sum().clamp(min=torch.finfo(weights.dtype).tiny)


def imbalance(frequencies: Tensor) -> Tensor:
    """Distance of a distribution over classes from the uniform one, 0 to 1: one minus its relative entropy.

    Shape:
        frequencies: `(K,)`; output: scalar.
    """
    entropy = -torch.special.xlogy(frequencies, frequencies).sum()
    return (1 - entropy / math.log(max(len(frequencies), 2))).clamp(0, 1)


def count_classes(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Counts the pixels of every class, without those of the ignore label.

    Shape:
        labels: any, integers; output: `(K,)`, float32.
    """
    values = torch.where(labels == ignore_index, num_classes, labels).flatten()
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=labels.device)
    # scatter_add, unlike bincount, does not wait for the device.
    counts.scatter_add_(0, values.long(), torch.ones_like(values, dtype=torch.int64))
    return counts[:-1].float()


def marginal_logits(logits: Tensor, annotated: Tensor) -> Tensor:
    """Adds the probability of classes that an image's annotation does not know to its background.

    Afterwards the softmax of these classes is 0 and that of background the sum of theirs and its own.

    Args:
        logits: Class logits.
        annotated: Whether the annotation of each image knows each class; background (0) always is.

    Shape:
        logits: `(B, K, H, W)`; annotated: `(B, K)`, boolean; output: `(B, K, H, W)`.
    """
    known = annotated[:, :, None, None]
    as_background = ~known
    as_background[:, 0] = True
    background = logits.masked_fill(~as_background, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat((background, logits[:, 1:].masked_fill(~known[:, 1:], -torch.inf)), 1)


def visible_labels(labels: Tensor, annotated: Tensor | None, ignore_index: int) -> Tensor:
    """Ignores labels of classes that the image's annotation is said not to know.

    Shape:
        labels: `(B, H, W)`; annotated: `(B, K)`, boolean; output: `(B, H, W)`.
    """
    if annotated is None:
        return labels
    valid = labels != ignore_index
    flat = torch.where(valid, labels, 0).flatten(1).long()
    known = annotated.gather(1, flat).view_as(labels)
    return torch.where(known, labels, ignore_index)


def cross_entropy_sum(
    log_probabilities: Tensor, labels: Tensor, weights: Tensor, ignore_index: int, gamma: float = 0.0
) -> Tensor:
    """Sum over valid pixels of weighted (focal) cross-entropy; the caller divides by the sum of weights.

    Shape:
        log_probabilities: `(B, K, H, W)`; labels: `(B, H, W)`; weights: `(K,)`; output: scalar.
    """
    if gamma == 0:
        return F.nll_loss(log_probabilities, labels.long(), weights, ignore_index=ignore_index, reduction="sum")
    valid = labels != ignore_index
    target = torch.where(valid, labels, 0).long()
    picked = log_probabilities.gather(1, target[:, None])[:, 0]  # (B, H, W)
    focal = (1 - picked.exp()).clamp(min=0).pow(gamma)
    return -(picked * focal * weights[target] * valid).sum()


def _overlaps(probabilities: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of p g, p and g per class over the valid pixels, each `(K,)`."""
    valid = labels != ignore_index
    target = torch.where(valid, labels, 0).long()
    num_classes = probabilities.shape[1]
    picked = probabilities.gather(1, target[:, None])[:, 0] * valid  # (B, H, W)
    flat = target.flatten()
    intersection = picked.new_zeros(num_classes).index_add(0, flat, picked.flatten())
    volume = (probabilities * valid[:, None]).sum((0, 2, 3))
    return intersection, volume, count_classes(labels, num_classes, ignore_index)


def dice_loss(probabilities: Tensor, labels: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    """Weighted Dice loss over the foreground classes that occur in the labels; 0 if none does.

    Shape:
        probabilities: `(B, K, H, W)`; labels: `(B, H, W)`; weights: `(K,)`; output: scalar.
    """
    intersection, volume, truth = _overlaps(probabilities, labels, ignore_index)
    per_class = 1 - (2 * intersection + EPSILON) / (volume + truth + EPSILON)
    weights = weights * (truth > 0)
    weights = torch.cat((torch.zeros_like(weights[:1]), weights[1:]))
    return (weights * per_class).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def generalized_dice_loss(probabilities: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Generalized Dice loss (Sudre et al. 2017): classes weighted by the inverse square of their size, foreground only.

    Classes that the labels lack are left out; 0 if none occurs.

    Shape:
        probabilities: `(B, K, H, W)`; labels: `(B, H, W)`; output: scalar.
    """
    intersection, volume, truth = _overlaps(probabilities, labels, ignore_index)
    present = truth > 0
    weights = torch.where(present, truth.clamp(min=1).pow(-2), 0.0)[1:]
    dice = (2 * (weights * intersection[1:]).sum() + EPSILON) / ((weights * (volume + truth)[1:]).sum() + EPSILON)
    return torch.where(present[1:].any(), 1 - dice, 0.0)


class ClassBalance(nn.Module):
    """Moving average of class frequencies, and the weights that follow from it.

    `e_c <- decay e_c + (1 - decay) n_c / sum n` once per update, corrected for its start at 0:
    `f_c = e_c / (1 - decay^t_c)`. A class that no image of an update annotates keeps its average, and its own t.

    Args:
        num_classes: K.
        decay: Of the average.
        power, limits: See `class_weights`.
    """

    def __init__(self, num_classes: int, decay: float, power: float, limits: tuple[float, float]):
        super().__init__()
        self.decay, self.power, self.limits = decay, power, limits
        self.average: Tensor
        self.updates: Tensor
        self.register_buffer("average", torch.zeros(num_classes))
        self.register_buffer("updates", torch.zeros(num_classes))

    @torch.no_grad()
    def update(self, counts: Tensor, annotated: Tensor) -> None:
        """Takes the pixel counts of one update of the weights in.

        Args:
            counts: Valid pixels per class over the whole update; all 0 changes nothing.
            annotated: Whether any image of the update annotates the class.

        Shape:
            counts: `(K,)`; annotated: `(K,)`, boolean.
        """
        counts = counts.to(self.average)
        total = counts.sum()
        seen = annotated & (total > 0)
        share = counts / total.clamp(min=torch.finfo(counts.dtype).tiny)
        self.average.copy_(torch.where(seen, self.decay * self.average + (1 - self.decay) * share, self.average))
        self.updates.add_(seen.to(self.updates))

    @torch.no_grad()
    def frequencies(self) -> Tensor:
        """Corrected shares of the classes, which add up to 1 (before any update: equal shares).

        Shape:
            output: `(K,)`, float32.
        """
        average, updates = self.average.float(), self.updates.float()
        corrected = average / (1 - self.decay**updates).clamp(min=1e-12)
        total = corrected.sum()
        return torch.where(total > 0, corrected / total.clamp(min=1e-12), 1 / len(average))

    @torch.no_grad()
    def weights(self) -> Tensor:
        """Class weights. Shape: `(K,)`."""
        return class_weights(self.frequencies(), self.power, self.limits)

    @torch.no_grad()
    def balance(self) -> Tensor:
        """Share alpha of the Dice term, 0.5 to 0.9. Shape: scalar."""
        return 0.5 + 0.4 * imbalance(self.frequencies())
