# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Test-time augmentation of semantic segmentation: class scores averaged over scales and mirror images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..files.images import DEFAULT_MAX_PIXELS
from .scores import Predict, Size, check_size, image_size, output_scores, pad_to_divisor, prepare
from .sliding_window import sliding_window_scores

__all__ = ["augmented_scores"]


class _AsIs:
    """Stands for an image processor where the network input is ready: hands it through and tells how to pad it."""

    def __init__(self, image_processor: Any):
        self.size_divisor = getattr(image_processor, "size_divisor", None)
        self.do_pad = getattr(image_processor, "do_pad", True)

    def __call__(self, images: Any, **_: Any) -> dict[str, Any]:
        return {"pixel_values": images}


@torch.no_grad()
def augmented_scores(
    image: Any,
    predict: Predict,
    image_processor: Any,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    target_size: Size | None = None,
    window: Any = None,
    stride: Any = None,
    weighting: str = "mean",
    batch_size: int = 1,
    kind: str = "probabilities",
) -> Tensor:
    """Class scores of an image, averaged over scales and, with `flip`, their mirror images.

    The scores of each view are brought to the size of the result and averaged with equal weights. Scale 1 is the size
    that the image processor's own rule gives; other scales multiply it (rounded half up).

    Args:
        image: PIL image, array (H, W, 3) or tensor (3, H, W).
        predict: Function from pixel values (B, 3, ., .) to model outputs, see `output_scores`.
        image_processor: The model's.
        scales: Factors of the network input.
        flip: Whether to add the mirror image (left and right exchanged) of every scale.
        target_size: Height and width of the result; default: the image's.
        kind: What is averaged, "probabilities" or "logits" (see `output_scores`).
        window, stride, weighting, batch_size: With a window each view is predicted by `sliding_window_scores`.

    Shape:
        (K, H, W), float32.

    Raises:
        ValueError: Without scales, with a scale that is not positive or makes an input of too many pixels, or as
            `sliding_window_scores`.
    """
    if len(scales) == 0 or any(not 0 < scale < float("inf") for scale in scales):
        raise ValueError(f"scales are {list(scales)}; give one or more positive factors.")
    target = image_size(image) if target_size is None else check_size("target_size", target_size)
    base = prepare(image, image_processor)  # its size is the processor's rule
    total: Tensor | None = None
    for scale in scales:
        pixel_values = base
        if scale != 1:
            height, width = (max(1, int(scale * side + 0.5)) for side in base.shape[-2:])
            if height * width > DEFAULT_MAX_PIXELS:
                raise ValueError(
                    f"scale {scale:g} makes a network input of {height:,} x {width:,} pixels of {base.shape[-2]} x "
                    f"{base.shape[-1]}; at most {DEFAULT_MAX_PIXELS:,} pixels are read. Give smaller scales."
                )
            pixel_values = prepare(image, image_processor, do_resize=True, size={"height": height, "width": width})
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        for mirrored in (False, True) if flip else (False,):
            view = pixel_values.flip(-1) if mirrored else pixel_values
            if window is not None:
                scores = sliding_window_scores(
                    view[0],
                    predict,
                    _AsIs(image_processor),
                    window=window,
                    stride=stride,
                    weighting=weighting,
                    target_size=target,
                    batch_size=batch_size,
                    kind=kind,
                )
            else:
                padded = pad_to_divisor(view, image_processor)
                outputs = predict(padded)
                scores = output_scores(outputs, (padded.shape[-2], padded.shape[-1]), [size], [target], kind)[0]
            if mirrored:
                scores = scores.flip(-1)
            total = scores if total is None else total.add_(scores)
    assert total is not None
    return total / (len(scales) * (2 if flip else 1))
