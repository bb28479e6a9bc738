# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of universal models on Pillow and NumPy, like the one on torchvision, which it does not need."""

from typing import Any

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import SizeDict

from ..segmentation_processing import UniversalSegmentationProcessing, resized_size
from .remote_code import RemoteCodeImageProcessor


class UniversalImageProcessorPil(RemoteCodeImageProcessor, UniversalSegmentationProcessing, PilBackend):
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
        arrays = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format
        )
        if kwargs.get("stretch_contrast"):
            arrays = self.stretched(arrays)
        return self._preprocess(arrays, segmentation_maps, instance_id_to_semantic_id, **kwargs)

    def _preprocess(
        self,
        images: list[np.ndarray],
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
        return_tensors: Any,
        **kwargs: Any,
    ) -> BatchFeature:
        original_sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        if do_resize:
            resized = []
            for image, original_size in zip(images, original_sizes):
                height, width = resized_size(*original_size, size)
                if (height, width) != original_size:
                    image = self.resize(image, SizeDict(height=height, width=width), resample=resample)
                resized.append(image)
            images = resized
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        padded_size = self.padded_size(sizes, size_divisor, pad_size) if do_pad else None

        normalized = []
        for image in images:
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            normalized.append(image)
        if padded_size is not None:
            # Zeros after normalisation: the padding has the mean colour, as in training.
            shape = (len(normalized), normalized[0].shape[0], *padded_size)
            pixel_values: Any = np.zeros(shape, dtype=normalized[0].dtype)
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
        return self._finish_batch(pixel_values, targets, return_tensors)
