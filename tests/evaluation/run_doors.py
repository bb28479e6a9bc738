# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluates two shipped models and predicts, in as many processes as torchrun starts."""

import sys

import hfseg
from hfseg.commands import predict

MODELS = {"semantic": "vpnext-tiny-shapes", "universal": "unisegformer-tiny-shapes"}

if __name__ == "__main__":
    images, output = sys.argv[1:]
    for task, model in MODELS.items():
        hfseg.evaluate(model, "shapes:num_scenes=5", overlays=1, device="cpu").save(f"{output}/{task}")
    sys.exit(predict.main(["--model", MODELS["universal"], images, "--output_dir", f"{output}/predict"]))
