# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What both image processors of CRIS share: checks, masks and post-processing. Nothing here imports torchvision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from ...processing.letterbox import from_frame, to_frame
from ...processing.segmentation import Placement, SegmentationProcessing


class CrisImageProcessorKwargs(ImagesKwargs, total=False):
    """Settings of `ReferringSegmentationProcessing`."""

    threshold: float | None


class ReferringSegmentationProcessing(SegmentationProcessing):
    """Mixin of image processors for models that predict one mask per expression.

    Attributes:
        size: Height and width of the frame that images are fitted into, keeping their proportions.
        threshold: Smallest probability of a pixel of the mask.
    """

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"height": 416, "width": 416}
    default_to_square = True
    do_pad = None
    size_divisor = None
    threshold = 0.35
    targets_are_stacked = True

    def preprocess(self, images: Any, masks: Any = None, **kwargs: Any) -> BatchFeature:
        """Turns images, and optionally the masks of their referents, into a batch for the network.

        Args:
            images: PIL images, arrays, tensors or paths of local files, one or a list.
            masks: The referent of each image, `(H, W)`, or of each of its expressions, `(K, H, W)`: 0 is background;
                values of 8-bit masks count as shares of 255, unless the largest is 1.
            **kwargs: any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, H, W) float; with masks also `mask_labels` (B, H, W) or (B, K, H, W), float in [0, 1],
            soft at borders.

        Raises:
            ValueError: for empty input, NaN or infinite pixels, and masks of another size or number than images.
        """
        return super().preprocess(images, masks, **kwargs)

    def scale_images(
        self,
        images: list[Any],
        size: SizeDict,
        image_mean: Any = None,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        **_: Any,
    ) -> list[Any]:
        """Fits images into the frame by the authors' warp, with the mean color around them."""
        frame = (int(size.height or 0), int(size.width or 0))
        return [to_frame(image, frame, self.fill(image, image_mean, do_rescale, rescale_factor)) for image in images]

    def make_targets(self, masks: Any, *, placed: Placement, **_: Any) -> dict[str, list[np.ndarray]]:
        """`mask_labels`, masks in the frame."""
        frame = placed.resized_sizes[0] if placed.resized else None
        return {"mask_labels": self.mask_targets(masks, placed.original_sizes, frame)}

    def fill(self, image: Any, image_mean: Any, do_rescale: bool, rescale_factor: float) -> np.ndarray:
        """Chooses the color around an image: the mean; for whole-number images rounded, as an image's pixel is."""
        channels = image.shape[-3]
        mean = np.broadcast_to(np.asarray(image_mean if image_mean is not None else 0.0, dtype=np.float64), channels)
        integer = not image.is_floating_point() if isinstance(image, Tensor) else np.issubdtype(image.dtype, np.integer)
        if integer:
            return np.round(mean * 255)
        return mean / rescale_factor if do_rescale else mean

    def mask_targets(self, masks: Any, sizes: Sequence[tuple[int, int]], frame: tuple[int, int] | None) -> list:
        """Warps masks linearly, outside 0, and rounds them to 255 steps.

        Raises:
            ValueError: for masks of another size or number than images.
        """
        if isinstance(masks, (Image.Image, np.ndarray, Tensor)) and len(sizes) == 1:
            array = masks if isinstance(masks, Tensor) else np.asarray(masks)
            masks = [masks] if array.ndim == 2 or array.shape[0] != 1 else list(array)
        masks = list(masks)
        if len(masks) != len(sizes):
            raise ValueError(f"There are {len(masks)} mask(s) for {len(sizes)} image(s); give one entry per image.")
        targets = []
        for index, (mask, size) in enumerate(zip(masks, sizes)):
            values = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
            if values.ndim not in (2, 3) or values.shape[-2:] != tuple(size):
                raise ValueError(
                    f"Mask {index} has the shape {values.shape}, its image is {size[0]} x {size[1]} pixels: give "
                    "(height, width), or (expressions, height, width)."
                )
            if values.dtype == bool or (values.size and values.max() <= 1):
                values = values.astype(np.float32) * 255
            if frame is not None:
                planes = values if values.ndim == 3 else values[None]
                warped = to_frame(planes.astype(np.uint8), frame, 0.0, kind="linear")
                values = warped if values.ndim == 3 else warped[0]
            targets.append(values.astype(np.float32) / 255)
        return targets

    def post_process_referring_segmentation(
        self,
        outputs: Any,
        original_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        threshold: float | None = None,
        return_probabilities: bool = False,
    ) -> list[Tensor]:
        """Brings masks back to the images: sigmoid, then enlarged to the frame, then warped back, then thresholded.

        Args:
            outputs: model output with `logits`.
            original_sizes: height and width of each image before pre-processing; default: masks of the frame.
            threshold: probability above which a pixel is inside; default: the processor's, 0.35.
            return_probabilities: gives probabilities instead of masks. Cubic interpolation may leave [0, 1] a little.

        Returns:
            One tensor per image, a mask per expression.

        Shape:
            logits: (B, K, h, w); output: B tensors (K, H, W), bool or float32.

        Raises:
            ValueError: if the number of sizes is not that of images, or a size or threshold is not legal.
        """
        logits = outputs.logits if hasattr(outputs, "logits") else outputs["logits"]
        threshold = self.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} is not a probability; give a value from 0 to 1.")
        if original_sizes is not None and len(original_sizes) != len(logits):
            raise ValueError(
                f"There are {len(original_sizes)} original size(s) for {len(logits)} image(s); give one (height, "
                "width) each."
            )
        frame = self.size
        height, width = (frame["height"], frame["width"]) if isinstance(frame, dict) else (frame.height, frame.width)
        # In float32, and in this order: the sigmoid before any interpolation.
        probabilities = F.interpolate(
            logits.float().sigmoid(), size=(height, width), mode="bicubic", align_corners=True
        )  # (B, K, frame)
        sizes: Any = [(height, width)] * len(logits) if original_sizes is None else original_sizes
        results = []
        for maps, size in zip(probabilities, sizes):
            size = (int(size[0]), int(size[1]))
            if min(size) < 1:
                raise ValueError(f"original size {size} has no pixels; give (height, width) of the image.")
            if original_sizes is not None:
                maps = from_frame(maps, size)
            results.append(maps if return_probabilities else maps > threshold)
        return results
