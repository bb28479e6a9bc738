# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Batches of pre-training: image-text pairs, and beside them a fixed share of images with segments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..collators.collation import IMAGENET_MEAN, IMAGENET_STD, UniversalCollator
from ..collators.text import ImageTextCollator
from .schema import DEFAULT_IGNORE_INDEX

__all__ = ["PreTrainingCollator", "PreTrainingMixture"]


class PreTrainingMixture(torch.utils.data.Dataset):
    """Image-text pairs, each offering an image with segments, which is read only if the batch wants it.

    Args:
        pairs: Map-style dataset of `{"image", "text"}`; may have segments itself.
        segments: Map-style dataset of the universal schema; None takes the pairs', if they have any.
    """

    def __init__(self, pairs: Any, segments: Any = None) -> None:
        self.pairs, self.segments = pairs, segments
        labeled = pairs if segments is None else segments
        self.id2label = getattr(labeled, "id2label", None)
        self.stuff_class_ids = getattr(labeled, "stuff_class_ids", None)
        self.ignore_index = getattr(labeled, "ignore_index", DEFAULT_IGNORE_INDEX)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample_id(self, index: int) -> str:
        """Names a pair for messages."""
        return str(self.pairs.sample_id(index)) if hasattr(self.pairs, "sample_id") else str(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = dict(self.pairs[index])
        if self.segments is not None:
            # Consecutive pairs meet distant images; every image is met.
            example["segments"] = functools.partial(
                self.segments.__getitem__, (index * 2654435761 + index // len(self.segments)) % len(self.segments)
            )
        elif "segments_info" in example:
            example["segments"] = functools.partial(dict, example)
        return example


class PreTrainingCollator:
    """Batch from examples `{"image", "text", "segments"}`; `segments` is called for an example with segments.

    Every batch has the same composition, so that all processes compute the same terms.

    Args:
        tokenizer: See `ImageTextCollator`; None leaves the texts out.
        segmentation_share: Share of images with segments, relative to the pairs; rounded, at least one unless 0.
        transforms: Augmentation of the images with segments.
        image_size: (height, width) of the pairs' images: a random crop of half of the image or more is resized to it,
            without a flip, which would make "left" wrong. None leaves images as they are, padded to a common size.
        max_length: Tokens of a text.
        ignore_index, num_labels, mark_void, image_mean, image_std: See `UniversalCollator`.

    Returns (of a call):
        `pixel_values`, `input_ids` of the pairs; `segmentation_pixel_values`, `mask_labels`, `class_labels` and what
        else `UniversalCollator` gives.

    Raises:
        ValueError: As the two collators; if segments are wanted that examples do not offer.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        segmentation_share: float = 0.1,
        transforms: Callable | None = None,
        image_size: Sequence[int] | None = None,
        max_length: int | None = None,
        ignore_index: int = DEFAULT_IGNORE_INDEX,
        num_labels: int | None = None,
        mark_void: bool = False,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if not 0 <= segmentation_share <= 1:
            raise ValueError(f"segmentation_share is {segmentation_share}; it must lie between 0 and 1.")
        self.segmentation_share = segmentation_share
        self.pairs = ImageTextCollator(
            tokenizer if tokenizer is not None else _no_tokens,
            None if image_size is None else _crop(tuple(image_size)),
            max_length,
            size_divisor=32,
            image_mean=image_mean,
            image_std=image_std,
        )
        self.segments = UniversalCollator(
            ignore_index, transforms, num_labels, 32, image_mean, image_std, mark_void=mark_void
        )

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = self.pairs(examples)
        batch.pop("attention_mask", None)  # SigLIP's text tower sees its padding
        if self.segmentation_share:
            wanted = max(1, round(self.segmentation_share * len(examples)))
            if any("segments" not in example for example in examples[:wanted]):
                raise ValueError(
                    "segmentation_share is above 0, but the data has no segments: set data.train.segments."
                )
            segments = self.segments([example["segments"]() for example in examples[:wanted]])
            segments["segmentation_pixel_values"] = segments.pop("pixel_values")
            batch |= segments
        return batch


def _crop(size: tuple[int, ...]) -> Callable:
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(0.75, 1.33), antialias=True)


def _no_tokens(texts: Sequence[str], **kwargs: Any) -> dict[str, Any]:
    return {}
