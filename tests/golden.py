# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading of golden vectors: `fixtures/<model>/<case>/{config.json, inputs, outputs, weights}`.

Large sets of tensors are split into `inputs-1.safetensors`, `inputs-2.safetensors`, ... so that every file stays small.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

FIXTURES = Path(__file__).parent / "fixtures"


class Case(NamedTuple):
    """What the official code was given and what came out.

    Attributes:
        config: Hyperparameters under the authors' names.
        inputs: Input tensors by name.
        outputs: Output tensors by name.
        weights: The authors' state dict.
        config_file: The file of `config`.
    """

    config: dict[str, Any]
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    config_file: Path


def read_tensors(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """Joins the parts of a set of tensors."""
    files = sorted(folder.glob(f"{stem}*.safetensors"))
    assert files, f"no {stem} in {folder}"
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def read_case(name: str) -> Case:
    """Reads a case, for example `"proscale/swin_full_eval"`."""
    folder = FIXTURES / name
    return Case(
        json.loads((folder / "config.json").read_text()),
        *(read_tensors(folder, stem) for stem in ("inputs", "outputs", "weights")),
        folder / "config.json",
    )
