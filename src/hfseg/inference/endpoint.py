# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What serves a published model on the Hub's Inference Endpoints: `hfseg push --endpoint` adds two files that name it.

The endpoint's server makes an `EndpointHandler` of the repository's folder and calls it with each request. Requests
never make it open a file or an address: images come as base64 text, bytes or PIL images.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
from PIL import Image

from ..files.images import load_image, open_image
from ..tasks import find, find_task

__all__ = ["HANDLER", "EndpointHandler"]

HANDLER = '''"""Serves the model of this repository by the package `hfseg` (requirements.txt)."""

from hfseg.inference.endpoint import EndpointHandler

__all__ = ["EndpointHandler"]
'''
_SEGMENTS = {"subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"}
_MASKS = {"score_threshold", "nms_rule", "iou_threshold", "cover_threshold", "points_per_side"}
# Pipelines that are served, and what a request may set: nothing that names an image, which could be a path.
PARAMETERS = {
    "image-segmentation": {*_SEGMENTS, "tta"},
    "referring-image-segmentation": {"text", "threshold"},
    "open-vocabulary-segmentation": {*_SEGMENTS, *_MASKS, "candidate_labels", "templates", "stuff_labels"},
    "object-detection": {"threshold"},
    "mask-generation": {
        *_MASKS,
        "input_points",
        "input_labels",
        "input_boxes",
        "box_zoom",
        "point_zoom",
        "stability_threshold",
        "min_area",
    },
}


class EndpointHandler:
    """Answers requests with the pipeline of the model's task.

    Args:
        path: Folder of the repository.

    Raises:
        ValueError: The model has no pipeline that is served.
    """

    def __init__(self, path: str = "") -> None:
        import torch
        from transformers import pipeline

        task = str(find(find_task(path)[0]).pipeline)
        if task not in PARAMETERS:
            raise ValueError(f"the model's pipeline is {task}; must be one of {', '.join(PARAMETERS)}")
        self.parameters = PARAMETERS[task]
        self.pipe = pipeline(task, model=path, device=0 if torch.cuda.is_available() else -1)  # type: ignore[call-overload]

    def __call__(self, data: dict[str, Any]) -> Any:
        """Answers one request.

        Args:
            data: `{"inputs": IMAGE, "parameters": {...}}`. The image is base64 text of a file's content (also as a
                `data:` address), bytes, or a PIL image; `{"image": IMAGE, "text": ...}` is taken, too. Parameters are
                those of the pipeline: `subtask`, `threshold`, `text`, `candidate_labels`, `input_points`, ...

        Returns:
            `[{"label", "score", "mask"}]`, masks as base64 PNG (0 or 255) of the image's size; of a mask generator
            without labels; of a detector "box" (xmin, ymin, xmax, ymax) in pixels instead of a mask.

        Raises:
            ValueError: There is no image, or it cannot be read; a parameter is unknown.
        """
        inputs, parameters = data.get("inputs"), dict(data.get("parameters") or {})
        if isinstance(inputs, dict):
            parameters |= {key: value for key, value in inputs.items() if key != "image"}
            inputs = inputs.get("image")
        unknown = sorted(set(parameters) - self.parameters)
        if unknown:
            raise ValueError(f"unknown parameters {unknown}; must be some of {', '.join(sorted(self.parameters))}")
        results = self.pipe(_image(inputs), **parameters)
        if isinstance(results, dict):
            return [
                {"score": float(score), "mask": _encoded(mask)}
                for score, mask in zip(results["scores"], results["masks"])
            ]
        return [{"label": entry["label"], "score": entry["score"], **_place(entry)} for entry in results]


def _place(entry: dict[str, Any]) -> dict[str, Any]:
    """Where a segment or an object is."""
    return {"box": entry["box"]} if "box" in entry else {"mask": _encoded(np.asarray(entry["mask"]))}


def _image(value: Any) -> Image.Image:
    """Image of a request."""
    if isinstance(value, Image.Image):
        return load_image(value)
    if isinstance(value, str):
        text = value.partition(",")[2] if value.startswith("data:") else value
        try:
            value = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("inputs must be an image as base64 text; paths and addresses are not opened") from error
    if not isinstance(value, (bytes, bytearray)) or not value:
        raise ValueError("inputs is missing: give an image as base64 text")
    return load_image(open_image(bytes(value), name="inputs"))


def _encoded(mask: np.ndarray) -> str:
    pixels = mask.astype(np.uint8) * np.uint8(255) if mask.dtype == bool else mask
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
