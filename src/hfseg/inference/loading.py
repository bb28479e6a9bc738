# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Loading of models from folders that may be damaged: sizes are compared before memory is taken, weights afterwards."""

import math
from pathlib import Path
from typing import Any

import torch

from ..files.model_folders import ModelFolderError, check_weights, loading, weight_files, weight_headers

__all__ = ["check_sizes", "load_model"]

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
# What a configuration may add to the weights of its files: buffers that are computed, in elements.
SLACK_FACTOR, SLACK = 1.5, 16_000_000


def check_sizes(folder: "str | Path", model_class: Any) -> None:
    """Compares the model that `config.json` describes with the headers of the weights; no memory is taken for either.

    Raises:
        ModelFolderError: The described model is much larger than its weights, or a tensor has another kind of number.
    """
    stored = weight_headers(weight_files(Path(folder)))
    config = model_class.config_class.from_pretrained(folder)
    with torch.device("meta"):
        model = model_class(config)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    described = sum(tensor.numel() for tensor in tensors.values())
    held = sum(math.prod(shape) for _, shape in stored.values())
    if described > SLACK_FACTOR * held + SLACK:
        raise ModelFolderError(
            f"{Path(folder) / 'config.json'} describes a model of {described:,} weights, but its files hold {held:,}: "
            "they belong to different models; convert or download the folder again."
        )
    for name, (dtype, _) in stored.items():
        if name in tensors and tensors[name].is_floating_point() != (dtype in FLOATS):
            raise ModelFolderError(
                f"{folder}: the weight {name} is stored as {dtype}, but {model_class.__name__} has "
                f"{str(tensors[name].dtype).removeprefix('torch.')}: the file is damaged; download the folder again."
            )


def load_model(folder: "str | Path", model_class: Any, **arguments: Any) -> Any:
    """Loads a model in evaluation mode and refuses missing, foreign and non-finite weights.

    Args:
        folder: Of a saved model.
        model_class: Class of the model that the folder holds.
        **arguments: Of `from_pretrained`.

    Raises:
        FileNotFoundError, ModelFolderError: What is wrong with the folder, in one line.
    """
    with loading(folder):
        check_sizes(folder, model_class)
        model = model_class.from_pretrained(folder, **arguments)
        check_weights(model, folder)
    return model.eval()
