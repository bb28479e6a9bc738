# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of CRIS on Pillow and NumPy; works without torchvision."""

from typing import Any

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from .referring_processing import ReferringSegmentationProcessing
from .warp_cris import to_frame


class CrisImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `ReferringSegmentationProcessing` describes them."""

    threshold: float | None


class CrisImageProcessorPil(RemoteCodeImageProcessor, ReferringSegmentationProcessing, PilBackend):
    """Prepares images for CRIS like `CrisImageProcessor`."""

    valid_kwargs = CrisImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[CrisImageProcessorKwargs]):
        super().__init__(**kwargs)

    def _preprocess_image_like_inputs(
        self,
        images: Any,
        masks: Any = None,
        do_convert_rgb: bool | None = None,
        input_data_format: Any = None,
        device: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        arrays = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format
        )
        return self._preprocess(arrays, masks, **kwargs)

    def _preprocess(
        self,
        images: list[np.ndarray],
        masks: Any = None,
        *,
        do_resize: bool,
        size: SizeDict,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        return_tensors: Any,
        **kwargs: Any,
    ) -> BatchFeature:
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        frame = (int(size.height or 0), int(size.width or 0)) if do_resize else None
        prepared = []
        for image in images:
            if frame is not None:
                image = to_frame(image, frame, self.fill(image, image_mean, do_rescale, rescale_factor))
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            prepared.append(image)
        data: dict[str, Any] = {"pixel_values": prepared}
        if masks is not None:
            data["mask_labels"] = self.mask_targets(masks, sizes, frame)
        return BatchFeature(data=data, tensor_type=return_tensors)


__all__ = ["CrisImageProcessorPil"]
