# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading of foreign checkpoint files without executing anything in them."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

# Earlier releases can be made to run code by a crafted file even with weights_only=True.
SAFE_TORCH = (2, 10)
CONTAINERS = ("model", "state_dict", "module")


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a `.safetensors`, `.pth`, `.pt`, `.bin` or `.pkl` file.

    A state dict inside a container (`model`, `state_dict`, `module`) is unwrapped and a leading `module.`, which
    distributed training adds, is stripped.

    Args:
        path: The file.

    Returns:
        Key to tensor, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds something else than tensors, or would have to execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at {path}: give the path of a .safetensors, .pth, .pt or .pkl file.")
    if path.suffix == ".safetensors":
        try:
            return strip_wrapper(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is not a valid safetensors file ({error}): download it again.") from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < SAFE_TORCH:
        raise ValueError(
            f"Reading the pickle {path} safely needs torch >= {SAFE_TORCH[0]}.{SAFE_TORCH[1]}, this is "
            f"{torch.__version__}: upgrade torch, or convert the file to safetensors elsewhere."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} could not be read as plain tensors, and nothing else in a checkpoint is ever executed here. If "
            "the file is trustworthy, load it in a sandbox and save its state dict as safetensors. Reason: "
            f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        ) from error
    while isinstance(content, dict) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(
            f"{path} holds no state dict: expected key-to-tensor entries, bare or under {', '.join(CONTAINERS)}."
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return strip_wrapper(tensors)


def strip_wrapper(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Strips the `module.` that distributed training puts before every name."""
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def check_keys(missing: Iterable[str], unexpected: Iterable[str], what: str) -> None:
    """Checks that a conversion used every tensor and filled every parameter.

    Raises:
        ValueError: Listing the keys.
    """
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        shown = [
            f"{len(keys)} {kind} key(s): {', '.join(keys[:20])}{' ...' if len(keys) > 20 else ''}"
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ValueError(
            f"This is not a checkpoint of {what}, or its hyperparameters differ (give them with --config). "
            + "; ".join(shown)
        )
