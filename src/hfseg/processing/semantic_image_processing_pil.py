# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of semantic models on Pillow and NumPy; without torchvision. See `semantic_image_processing`."""

from typing import Any

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import SizeDict

from ..files.remote_code import RemoteCodeImageProcessor
from .segmentation_processing import SemanticSegmentationProcessing, resized_size


class SemanticImageProcessorPil(RemoteCodeImageProcessor, SemanticSegmentationProcessing, PilBackend):
    """Prepares images like `SemanticImageProcessor`, with Pillow's bilinear resize."""

    def _preprocess_image_like_inputs(
        self,
        images: Any,
        segmentation_maps: Any = None,
        do_convert_rgb: bool | None = None,
        input_data_format: Any = None,
        device: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        arrays = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format
        )
        return self._preprocess(arrays, segmentation_maps, **kwargs)

    def _preprocess(
        self,
        images: list[np.ndarray],
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

        pixel_values: Any = []
        for image in images:
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            pixel_values.append(image)
        if padded_size is not None:
            # Zeros after normalisation: the padding has the mean colour, as in training.
            padded = np.zeros((len(images), pixel_values[0].shape[0], *padded_size), dtype=pixel_values[0].dtype)
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
        return self._finish_batch(pixel_values, class_maps, return_tensors)
