# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Text embeddings that stay on disk: one file per text encoder and set of texts.

A file's name is a hash of the encoder's weights, the tokenizer and the texts, so that nothing is ever stale. The folder
is `text_embeddings` below `$HFSEG_CACHE`, by default `hfseg` below `$HF_HOME` (`~/.cache/huggingface`); an empty
`HFSEG_CACHE` turns the cache off. Delete files as you like.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.utils import logging

from .writing import replacing

__all__ = ["cache_folder", "cached_embeddings", "encoder_hash"]

logger = logging.get_logger(__name__)

VARIABLE = "HFSEG_CACHE"
VERSION = 1  # of how embeddings are made


def cache_folder() -> Path | None:
    """Folder of the files; None if the cache is off."""
    given = os.environ.get(VARIABLE)
    if given == "":
        return None
    if given is not None:
        return Path(given).expanduser() / "text_embeddings"
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "hfseg" / "text_embeddings"


def encoder_hash(encoder: nn.Module, tokenizer: Any) -> str:
    """Hash of weights with their types, and of what the tokenizer does."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    digest.update(f"{type(tokenizer).__name__} {tokenizer.model_max_length} {rules}".encode())
    return digest.hexdigest()


def cached_embeddings(
    encoder: nn.Module, tokenizer: Any, texts: Sequence[str], device: torch.device, embed: Callable[[], Tensor]
) -> Tensor:
    """Reads the embeddings of texts, or makes and keeps them.

    A folder that cannot be written, or a damaged file, only costs time.

    Args:
        encoder: Text encoder, whose weights and types decide.
        tokenizer: Its tokenizer.
        texts: All that is embedded, in order.
        device: Where the encoder runs; embeddings of other kinds of devices differ in the last bits.
        embed: Makes the embeddings.

    Shape:
        Output: `(N, ...)`, as `embed` gives it.
    """
    folder = cache_folder()
    if folder is None:
        return embed()
    digest = hashlib.sha256(f"{VERSION} {device.type} {encoder_hash(encoder, tokenizer)}".encode())
    digest.update(json.dumps(list(texts)).encode())
    file = folder / f"{digest.hexdigest()}.safetensors"
    if file.is_file():
        try:
            with safe_open(file, "pt") as content:
                return content.get_tensor("embeddings").to(device)
        except (SafetensorError, OSError, KeyError):
            logger.warning(f"{file} is damaged; the texts are embedded again.")
    embeddings = embed()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            save_file({"embeddings": embeddings.detach().cpu().contiguous()}, temporary)
    except OSError as error:
        logger.warning_once(f"Text embeddings cannot be kept in {folder}: {error}.")
    return embeddings
