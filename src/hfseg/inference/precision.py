# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Half precision on CPUs: used where the processor computes with it, and float32 where it would only be imitated."""

import functools
import platform
import warnings
from typing import Any

import torch

__all__ = ["computes_in", "usable_dtype"]


def computes_in(dtype: torch.dtype) -> bool:
    """Tells whether this machine's CPU has instructions for a floating-point type.

    bfloat16: AVX512_BF16 or AMX on x86, BF16 on Arm. float16: AVX512_FP16 or AMX-FP16 on x86, FP16 on Arm. Without them
    PyTorch converts back and forth, which is slower than float32.
    """
    if dtype is torch.bfloat16:
        if platform.machine().lower() in ("x86_64", "amd64"):  # there oneDNN says yes to what it imitates, too
            return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def usable_dtype(dtype: torch.dtype | str, device: Any) -> torch.dtype:
    """The type in which a model is to run on a device.

    Args:
        dtype: As asked for, as `torch.dtype` or its name.
        device: Where the model will run.

    Returns:
        The same; float32, with a warning, for half precision on a CPU that does not compute with it.
    """
    asked: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    if torch.device(device).type != "cpu" or computes_in(asked):
        return asked
    _say_once(str(asked).removeprefix("torch."))
    return torch.float32


@functools.cache
def _say_once(name: str) -> None:
    warnings.warn(f"This CPU has no instructions for {name}; the model runs in float32.", stacklevel=4)
