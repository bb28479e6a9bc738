# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluates models of all tasks and predicts, in as many processes as the launcher starts.

`run_doors.py CASES.json IMAGES OUTPUT_DIR`: cases are `{name: [model, dataset, options]}`.
"""

import json
import sys
from pathlib import Path

import torch

import hfseg
from hfseg.commands import predict

if __name__ == "__main__":
    cases, images, output = sys.argv[1:]
    torch.set_num_threads(1)
    for name, (model, dataset, options) in json.loads(Path(cases).read_text()).items():
        hfseg.evaluate(model, dataset, overlays=1, device="cpu", **options).save(f"{output}/{name}")
    sys.exit(predict.main(["--model", "unisegformer-tiny-shapes", images, "--output_dir", f"{output}/predict"]))
