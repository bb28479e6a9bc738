# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of Unpair-Seg on Pillow and NumPy: the authors' pixels to the bit; works without torchvision."""

from typing import Any

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from ...processing.segmentation_processing import resized_size
from .mask_generation_processing import MaskGenerationProcessing


class UnpairSegImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `MaskGenerationProcessing` describes them."""

    pad_value: int | None
    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None
    label_ids_to_fuse: list[int] | None
    threshold: float | None
    mask_threshold: float | None
    overlap_mask_area_threshold: float | None
    num_instances: int | None
    score_threshold: float | None
    nms_rule: str | None
    iou_threshold: float | None
    cover_threshold: float | None
    stability_threshold: float | None
    min_area: int | None


class UnpairSegImageProcessorPil(RemoteCodeImageProcessor, MaskGenerationProcessing, PilBackend):
    """Prepares images for Unpair-Seg like `UnpairSegImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = UnpairSegImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UnpairSegImageProcessorKwargs]):
        super().__init__(**kwargs)

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
        pad_value: int,
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
        padded_size = None
        if do_pad:
            square = self.square_size(size, sizes, pad_size)
            images = [self.fill(image, square, pad_value, do_rescale, rescale_factor) for image in images]
            padded_size = self.padded_size([square], size_divisor)

        normalized = []
        for image in images:
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            normalized.append(image)
        if padded_size is not None:
            shape = (len(normalized), normalized[0].shape[0], *padded_size)
            pixel_values: Any = np.zeros(shape, dtype=normalized[0].dtype)
            for target, image in zip(pixel_values, normalized):
                target[:, : image.shape[1], : image.shape[2]] = image
        else:
            pixel_values = normalized

        targets = None
        if segmentation_maps is not None:
            targets = self.mask_targets(
                segmentation_maps, instance_id_to_semantic_id, original_sizes, sizes, padded_size, ignore_index
            )
        batch = self._finish_batch(pixel_values, targets, return_tensors)
        batch["original_sizes"], batch["resized_sizes"] = original_sizes, sizes
        return batch

    def fill(
        self, image: np.ndarray, square: tuple[int, int], pad_value: int, do_rescale: bool, rescale_factor: float
    ) -> np.ndarray:
        """Places an image in the top left corner of a grey square."""
        value = pad_value if do_rescale else pad_value * rescale_factor
        canvas = np.full((image.shape[0], *square), value, dtype=image.dtype)
        canvas[:, : image.shape[1], : image.shape[2]] = image
        return canvas


__all__ = ["UnpairSegImageProcessorPil"]
