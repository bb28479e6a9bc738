# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of universal models on torchvision: resize, normalise, pad; targets; post-processing.

An architecture derives from it, sets its defaults, and names its `valid_kwargs`, a class `<Name>ImageProcessorKwargs`
in its own module. Example: `models/proscale/image_processing_proscale.py`.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import SizeDict

from ..segmentation_processing import UniversalSegmentationProcessing, resized_size
from .remote_code import RemoteCodeImageProcessor


class UniversalImageProcessor(RemoteCodeImageProcessor, UniversalSegmentationProcessing, TorchvisionBackend):
    """Prepares images (and segmentation maps) for a model with masks per query, and turns its outputs into segments."""

    def _preprocess_image_like_inputs(
        self,
        images: Any,
        segmentation_maps: Any = None,
        instance_id_to_semantic_id: Any = None,
        do_convert_rgb: bool | None = None,
        input_data_format: Any = None,
        device: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        tensors = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
        )
        if kwargs.get("stretch_contrast"):
            tensors = self.stretched(tensors)
        return self._preprocess(tensors, segmentation_maps, instance_id_to_semantic_id, **kwargs)

    def _preprocess(
        self,
        images: list[Tensor],
        segmentation_maps: Any = None,
        instance_id_to_semantic_id: Any = None,
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

        normalized = [
            self.rescale_and_normalize(
                image.unsqueeze(0), do_rescale, rescale_factor, do_normalize, image_mean, image_std
            )[0]
            for image in images
        ]
        if padded_size is not None:
            # Zeros after normalisation: the padding has the mean colour, as in training.
            pixel_values: Any = normalized[0].new_zeros((len(normalized), normalized[0].shape[0], *padded_size))
            for target, image in zip(pixel_values, normalized):
                target[:, : image.shape[1], : image.shape[2]] = image
        else:
            pixel_values = normalized

        targets = None
        if segmentation_maps is not None:
            targets = self.segment_targets(
                segmentation_maps,
                instance_id_to_semantic_id,
                original_sizes,
                sizes,
                padded_size,
                ignore_index,
                do_reduce_labels,
                num_labels,
            )
        device = images[0].device if isinstance(images[0], torch.Tensor) else None
        return self._finish_batch(pixel_values, targets, return_tensors, device)
