# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of Unpair-Seg on torchvision: resize, pad, normalise; prompts; masks and segments."""

from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_transforms import group_images_by_shape, reorder_images
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


class UnpairSegImageProcessor(RemoteCodeImageProcessor, MaskGenerationProcessing, TorchvisionBackend):
    """Prepares images and prompts for Unpair-Seg and turns its outputs into masks and segments.

    The longer side becomes 1024 pixels, the rest of the square is grey (128), and colours are normalised with CLIP's
    mean and deviation. Resized values are within one grey level of Pillow's; `UnpairSegImageProcessorPil` equals them.

    Example:
        >>> import numpy as np
        >>> processor = UnpairSegImageProcessor(size={"longest_edge": 64})
        >>> inputs = processor(np.zeros((30, 60, 3), dtype=np.uint8), input_points=[[30, 15]], return_tensors="pt")
        >>> inputs["pixel_values"].shape, inputs["input_points"].tolist()
        (torch.Size([1, 3, 64, 64]), [[[[32.0, 16.0]]]])
    """

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
        tensors = self._prepare_image_like_inputs(
            images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
        )
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
        pad_value: int,
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
        padded_size = None
        if do_pad:
            square = self.square_size(size, sizes, pad_size)
            value = pad_value if do_rescale else pad_value * rescale_factor
            canvases = []
            for image in images:
                canvas = image.new_full((image.shape[0], *square), value)
                canvas[:, : image.shape[1], : image.shape[2]] = image
                canvases.append(canvas)
            images = canvases
            padded_size = self.padded_size([square], size_divisor)

        normalized = [
            self.rescale_and_normalize(
                image.unsqueeze(0), do_rescale, rescale_factor, do_normalize, image_mean, image_std
            )[0]
            for image in images
        ]
        if padded_size is not None:
            pixel_values: Any = normalized[0].new_zeros((len(normalized), normalized[0].shape[0], *padded_size))
            for target, image in zip(pixel_values, normalized):
                target[:, : image.shape[1], : image.shape[2]] = image
        else:
            pixel_values = normalized

        targets = None
        if segmentation_maps is not None:
            targets = self.mask_targets(
                segmentation_maps, instance_id_to_semantic_id, original_sizes, sizes, padded_size, ignore_index
            )
        device = images[0].device if isinstance(images[0], torch.Tensor) else None
        batch = self._finish_batch(pixel_values, targets, return_tensors, device)
        batch["original_sizes"], batch["resized_sizes"] = original_sizes, sizes
        return batch


__all__ = ["UnpairSegImageProcessor"]
