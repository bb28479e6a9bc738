# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Exported models without PyTorch: NumPy, Pillow and ONNX Runtime are all that is imported.

    import hfseg.onnx

    model = hfseg.onnx.load("model.onnx")                 # of `hfseg export --format onnx`
    for segment in model("photo.jpg"):
        print(segment["label"], segment["score"])         # segment["mask"]: a PIL image of the photo's size

The file carries task, labels and the image processor's configuration; this package resizes, normalizes and pads images
and turns logits into segments by the same rules as the image processors, so that masks are those of the pipelines.
"""

from .model import OnnxModel, load

__all__ = ["OnnxModel", "load"]
