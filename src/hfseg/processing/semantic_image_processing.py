# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of semantic models on torchvision: resize, normalise, pad; class maps; post-processing.

An architecture derives from it, sets its defaults, and names its `valid_kwargs`, a class `<Name>ImageProcessorKwargs`
in its own module. Example: `models/vpnext/image_processing_vpnext.py`.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import SizeDict

from ..files.remote_code import RemoteCodeImageProcessor
from .segmentation_processing import SemanticSegmentationProcessing, resized_size


class SemanticImageProcessor(RemoteCodeImageProcessor, SemanticSegmentationProcessing, TorchvisionBackend):
    """Prepares images (and class maps) for a model with class logits per pixel, and turns logits into class maps."""

    def _preprocess_image_like_inputs(
        self,
        images: Any,
        segmentation_maps: Any = None,
        do_convert_rgb: bool | None = None,
        input_data_format: Any = None,
        device: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        tensors = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
        )
        return self._preprocess(tensors, segmentation_maps, **kwargs)

    def _preprocess(
        self,
        images: list[Tensor],
        segmentation_maps: Any = None,
        *,
        do_resize: bool,
        size: SizeDict,
        resample: Any,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        do_pad: bool | None,
        pad_size: SizeDict | None,
        size_divisor: int | None,
        ignore_index: int | None,
        do_reduce_labels: bool,
        num_labels: int | None,
        disable_grouping: bool | None,
        return_tensors: Any,
        **kwargs: Any,
    ) -> BatchFeature:
        original_sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        if do_resize:
            groups, order = group_images_by_shape(images, disable_grouping=disable_grouping)
            for shape, group in groups.items():
                height, width = resized_size(group.shape[-2], group.shape[-1], size)
                if (height, width) != tuple(group.shape[-2:]):
                    group = self.resize(group, SizeDict(height=height, width=width), resample=resample)
                groups[shape] = group
            images = list(reorder_images(groups, order))
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        padded_size = self.padded_size(sizes, size_divisor, pad_size) if do_pad else None

        pixel_values: Any = [
            self.rescale_and_normalize(
                image.unsqueeze(0), do_rescale, rescale_factor, do_normalize, image_mean, image_std
            )[0]
            for image in images
        ]
        if padded_size is not None:
            # Zeros after normalisation: the padding has the mean colour, as in training.
            padded = pixel_values[0].new_zeros((len(images), pixel_values[0].shape[0], *padded_size))
            for target, image in zip(padded, pixel_values):
                target[:, : image.shape[1], : image.shape[2]] = image
            pixel_values = padded
        class_maps = None
        if segmentation_maps is not None:
            class_maps = self.class_maps(
                segmentation_maps,
                original_sizes,
                sizes,
                padded_size,
                ignore_index,
                do_reduce_labels,
                num_labels,
            )
        device = images[0].device if isinstance(images[0], torch.Tensor) else None
        return self._finish_batch(pixel_values, class_maps, return_tensors, device)
