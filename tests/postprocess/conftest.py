# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of this folder."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

FIXTURES = Path(__file__).parents[1] / "fixtures" / "proscale"


@pytest.fixture(params=["postprocess", "postprocess_full_eval"], scope="module")
def golden(request):
    folder = FIXTURES / request.param
    config = json.loads((folder / "config.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    sizes = {name: config[name] for name in ("padded_size", "image_sizes", "output_sizes")}
    return (
        config,
        (inputs["pred_logits"], inputs["pred_masks"]),
        sizes,
        load_file(folder / "outputs.safetensors"),
        json.loads((folder / "outputs.json").read_text()),
    )
