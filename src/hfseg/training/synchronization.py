# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Batch normalization over the batches of all processes (`run.sync_batch_norm`).

On accelerators the layers are PyTorch's `SyncBatchNorm` (timm's subclass of it for layers that hold an activation).
PyTorch has none for CPU; there a small one does the same by sums over processes.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

__all__ = ["synchronize_batch_norm"]


class _SumOverProcesses(torch.autograd.Function):
    """Adds up a tensor of every process; gradients, which belong to the sum of all losses, are added up likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`nn.SyncBatchNorm` for CPU, with what timm's layers do after it (`drop`, `act`).

    It is no subclass of PyTorch's, which data parallelism refuses on CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"The input has {input.ndim} dimensions; batch normalization needs (N, C, ...).")

    def forward(self, input: Tensor) -> Tensor:
        """Shape: `(N, C, ...)`, in and out. Processes may have batches of different sizes."""
        self._check_input_dim(input)
        together = self.training and distributed.is_initialized() and distributed.get_world_size() > 1
        values = self._normalize_together(input) if together else self._normalize_alone(input)
        for name in ("drop", "act"):
            values = getattr(self, name)(values) if hasattr(self, name) else values
        return values

    def _normalize_alone(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        use_batch = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, self._momentum(), self.eps
        )

    def _momentum(self) -> float:
        if self.momentum is not None:
            return float(self.momentum)
        return 1.0 / float(cast(Tensor, self.num_batches_tracked)) if self.num_batches_tracked is not None else 0.0

    def _normalize_together(self, input: Tensor) -> Tensor:
        others = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat([values.sum(others), count]))
        mean, total = sums[:-1] / sums[-1], sums[-1].detach()
        # Around the common mean: a difference of sums of squares would cancel.
        squares = _SumOverProcesses.apply((values - mean.view(shape)).square().sum(others))
        variance = squares / total
        if self.training and self.running_mean is not None:
            cast(Tensor, self.num_batches_tracked).add_(1)
            with torch.no_grad():
                unbiased = variance * (total / (total - 1).clamp(min=1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self._momentum())
                cast(Tensor, self.running_var).lerp_(unbiased.to(self.running_mean.dtype), self._momentum())
        normalized = (values - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes batch normalization see the batches of all processes, in training mode. Names of weights stay.

    Args:
        model: Changed in place where its layers allow it; frozen statistics (layers in evaluation mode) stay frozen.
        device: Where it will run.

    Returns:
        The model.

    Raises:
        ValueError: It has no batch normalization.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        raise ValueError("run.sync_batch_norm is set, and the model has no batch normalization: leave it out.")
    if device.type == "cpu":
        for layer in layers:
            layer.__class__ = CpuSyncBatchNorm
        return model
    try:
        from timm.layers.norm_act import convert_sync_batchnorm
    except ImportError:  # then no layer is one of timm's
        convert_sync_batchnorm = nn.SyncBatchNorm.convert_sync_batchnorm
    return cast(nn.Module, convert_sync_batchnorm(model))
