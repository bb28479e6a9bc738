# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`from_single_file` of J-DiT and ST-VAE: the official files, as they are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

__all__ = ["SingleFile"]


def local_file(link_or_path: str | os.PathLike, **fetch: Any) -> Path:
    """Finds a file on this machine, or fetches it from a link to a file of the Hub."""
    text = os.fspath(link_or_path)
    if not text.startswith(("https://", "hf.co/", "huggingface.co/")):
        return Path(text)
    from diffusers.loaders.single_file_utils import _extract_repo_id_and_weights_name
    from huggingface_hub import hf_hub_download

    repository, name = _extract_repo_id_and_weights_name(text)
    return Path(hf_hub_download(str(repository), str(name), **fetch))


class SingleFile:
    """Mixin: models that load from the official checkpoint without a configuration."""

    @classmethod
    def from_single_file(
        cls,
        pretrained_model_link_or_path_or_dict: str | os.PathLike | Mapping[str, torch.Tensor] | None = None,
        *,
        original_config: Mapping[str, Any] | None = None,
        torch_dtype: torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        **fetch: Any,
    ) -> Self:
        """Loads the official file (`lavin_dit.safetensors`, `stvae.pt`), in evaluation mode.

        Args:
            pretrained_model_link_or_path_or_dict: A file, a link to a file of the Hub, or a state dict. Pickles are
                read as plain tensors only.
            original_config: The authors' hyperparameters; sizes are read off the tensors, but J-DiT's number of heads
                (`num_heads`), for another than the released size, is not in them.
            torch_dtype: Precision of the weights; None: the file's.
            dtype: Another name of `torch_dtype`.
            fetch: `revision`, `cache_dir`, `token`, `force_download` and `local_files_only` of `hf_hub_download`.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or another model's.
        """
        from ..checkpoints import read_state_dict
        from . import convert_lavin_dit

        given = pretrained_model_link_or_path_or_dict
        if given is None:
            raise ValueError("Give a file, a link to a file of the Hub, or a state dict.")
        unknown = set(fetch) - {"revision", "cache_dir", "token", "force_download", "local_files_only"}
        if unknown:
            raise ValueError(f"from_single_file does not take {', '.join(sorted(unknown))}.")
        weights = dict(given) if isinstance(given, Mapping) else read_state_dict(local_file(given, **fetch))
        convert: Any = convert_lavin_dit.converter_of(cls)
        model = convert(weights, dict(original_config or {}))
        precision = dtype or torch_dtype
        return model if precision is None else model.to(precision)
