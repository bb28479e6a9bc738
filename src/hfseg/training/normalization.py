# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The contract that makes gradient accumulation and data parallelism exactly equal to the big batch.

Most losses of this zoo are sums divided by a count of the batch: target masks, labeled pixels, matched queries. The
mean over micro-batches of such quotients is not the quotient of the whole batch. So the loop fetches all micro-batches
of a step first, adds up their counts over micro-batches and ranks, and divides by the total. A model takes part in one
of three ways:

1. It has a method `loss_normalizer(batch) -> torch.Tensor` that computes the counts of one micro-batch from its targets
   (any shape; one entry per denominator of its loss), and `forward` takes `loss_normalizer=`: a float32 tensor of that
   shape by which forward divides its sums *as given*, without a minimum of its own. The loop adds up the losses of the
   micro-batches. Gradients are averaged over ranks, so what forward gets is the total divided by the number of ranks;
   a single process gets the total itself.
2. It has `loss_normalizer(batch)` returning one number, but `forward` does not take the keyword: its loss must be a
   mean over that count. The loop weights every micro-batch's loss by its share of the total. `train(...,
   loss_normalizer=f)` gives this to a foreign model, e.g. `count_labeled_pixels` for transformers' semantic models.
3. Neither: the loss is averaged over micro-batches and ranks. Exact where the loss is a mean over equally many samples.

Entries of a total are at least 1, so that a step without any target has a zero loss and not 0 / 0.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

LossNormalizer = Callable[[Mapping[str, Any]], torch.Tensor]


def accepted_names(model: nn.Module) -> set[str]:
    """Lists the arguments that the model's `forward` names; collators may add others (image ids) to a batch."""
    return set(inspect.signature(model.forward).parameters)


def count_samples(batch: Mapping[str, Any]) -> torch.Tensor:
    """Counts the samples of a batch by the first dimension of `pixel_values`; the normalizer of per-sample means."""
    return torch.tensor(float(len(batch["pixel_values"])))


def count_labeled_pixels(batch: Mapping[str, Any], ignore_index: int = 255) -> torch.Tensor:
    """Counts the pixels of `labels` that are not `ignore_index`; the normalizer of per-pixel cross-entropies.

    Shape:
        batch["labels"]: (B, H, W), integers. Returns a scalar, float32.
    """
    return (batch["labels"] != ignore_index).sum().float()


@dataclass(frozen=True)
class LossScaling:
    """How one model's loss is normalized over a step: see the module's three ways.

    Attributes:
        count: Computes one micro-batch's counts; None averages over micro-batches.
        in_forward: Whether `forward` takes `loss_normalizer=`.
    """

    count: LossNormalizer | None
    in_forward: bool

    @classmethod
    def of(cls, model: nn.Module, count: LossNormalizer | None = None) -> "LossScaling":
        """Reads from the (unwrapped) model which way it takes; `count` overrides the model's own method."""
        in_forward = "loss_normalizer" in inspect.signature(model.forward).parameters
        count = count if count is not None else getattr(model, "loss_normalizer", None)
        if in_forward and count is None:
            raise TypeError(
                f"{type(model).__name__}.forward takes `loss_normalizer`, but the model has no method "
                "`loss_normalizer(batch)` that computes it; add the method or pass `train(..., loss_normalizer=...)`."
            )
        return cls(count, in_forward)

    def factors(
        self,
        batches: list[Mapping[str, Any]],
        reduce_sum: Callable[[torch.Tensor], torch.Tensor],
        ranks: int,
        device: torch.device,
    ) -> list[tuple[dict[str, torch.Tensor], torch.Tensor | float]]:
        """Computes for every micro-batch the extra keywords of forward and the factor of its loss.

        Args:
            batches: This rank's micro-batches of one step.
            reduce_sum: Adds a tensor up over all ranks.
            ranks: Number of ranks, whose gradients are averaged.
            device: Where the loss is computed.
        """
        if self.count is None:
            return [({}, 1.0 / len(batches))] * len(batches)
        counts = torch.stack([self.count(batch).detach().to(device, torch.float32) for batch in batches])  # (k, ...)
        total = reduce_sum(counts.sum(0)).clamp(min=1.0) / ranks
        if self.in_forward:
            return [({"loss_normalizer": total}, 1.0)] * len(batches)
        if total.numel() != 1:
            raise ValueError(
                f"loss_normalizer returned {total.numel()} counts, but forward does not take `loss_normalizer=`; "
                "only a loss with one denominator can be rescaled from outside."
            )
        return [({}, share) for share in (counts / total).flatten()]
