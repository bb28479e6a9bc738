# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of CRIS on torchvision: letterbox, normalise; masks; post-processing."""

from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from .referring_processing import ReferringSegmentationProcessing
from .warp_cris import to_frame


class CrisImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `ReferringSegmentationProcessing` describes them."""

    threshold: float | None


class CrisImageProcessor(RemoteCodeImageProcessor, ReferringSegmentationProcessing, TorchvisionBackend):
    """Prepares images (and masks) for CRIS and turns its outputs into masks.

    Images are fitted into 416 x 416 pixels by the authors' warp (`warp_cris`), with CLIP's mean colour around them, and
    normalised with CLIP's mean and deviation.

    Example:
        >>> import numpy as np
        >>> processor = CrisImageProcessor(size={"height": 64, "width": 64})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 64])
    """

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
        tensors = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
        )
        return self._preprocess(tensors, masks, **kwargs)

    def _preprocess(
        self,
        images: list[Tensor],
        masks: Any = None,
        *,
        do_resize: bool,
        size: SizeDict,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        disable_grouping: bool | None,
        return_tensors: Any,
        **kwargs: Any,
    ) -> BatchFeature:
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        frame = (int(size.height or 0), int(size.width or 0)) if do_resize else None
        groups, order = group_images_by_shape(images, disable_grouping=disable_grouping)
        for shape, group in groups.items():
            if frame is not None:
                group = to_frame(group, frame, self.fill(group, image_mean, do_rescale, rescale_factor))
            groups[shape] = self.rescale_and_normalize(
                group, do_rescale, rescale_factor, do_normalize, image_mean, image_std
            )
        data: dict[str, Any] = {"pixel_values": list(reorder_images(groups, order))}
        if masks is not None:
            device = images[0].device
            targets = self.mask_targets(masks, sizes, frame)
            data["mask_labels"] = [torch.from_numpy(target).to(device) for target in targets]
        return BatchFeature(data=data, tensor_type=return_tensors)


__all__ = ["CrisImageProcessor"]
