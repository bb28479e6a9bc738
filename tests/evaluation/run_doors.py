# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluates models of all tasks and predicts, in as many processes as there are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hfseg
from hfseg.commands import predict


def through_all_doors(cases: Mapping[str, Any], images: Path, output: Path) -> int:
    """Writes a folder per case, `{name: (model, dataset, options)}`, and `predict`; returns the exit code."""
    for name, (model, dataset, options) in cases.items():
        hfseg.evaluate(model, dataset, overlays=1, device="cpu", **options).save(f"{output}/{name}")
    words = ["--model", "unisegformer-tiny-shapes", str(images), "--output_dir", f"{output}/predict"]
    return predict.main([*words, "--device", "cpu"])
