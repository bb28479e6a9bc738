# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation of images with text: referring expressions and captions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from ..readers.images import to_id_map, to_rgb
from .collation import IMAGENET_MEAN, IMAGENET_STD, stack_images

__all__ = ["ImageTextCollator", "ReferringCollator"]


class ImageTextCollator:
    """Batch from examples `{"image", "text"}`; of a list of texts, one is drawn at every visit.

    Args:
        tokenizer: Called with the texts; returns `input_ids` and, if it has one, `attention_mask`.
        transforms: Optional function of a sample `{"image": tv_tensors.Image (3, H, W)}` (with `mask` where there is
            one) to such a sample. Flips make "left" wrong: leave them out.
        max_length: Tokens; texts are padded and cut to it. None: the tokenizer's own length.
        size_divisor: The padded height and width are multiples of it.
        image_mean, image_std: Per channel, for images in [0, 1].

    Shape:
        pixel_values: (B, 3, H, W), float32.
        input_ids, attention_mask: (B, L), int64.

    Raises:
        ValueError: A column is missing or a text is empty.
    """

    text_column = "text"

    def __init__(
        self,
        tokenizer: Callable[..., Mapping[str, Any]],
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        max_length: int | None = None,
        size_divisor: int = 1,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if tokenizer is None:
            raise ValueError("texts need a tokenizer; set model.tokenizer in the recipe")
        self.tokenizer, self.transforms, self.max_length = tokenizer, transforms, max_length
        self.size_divisor, self.image_mean, self.image_std = size_divisor, tuple(image_mean), tuple(image_std)

    def _text(self, example: Mapping[str, Any], position: int) -> str:
        texts = example.get(self.text_column)
        texts = [texts] if isinstance(texts, str) else list(texts or [])
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(
                f"example {position} has the columns {sorted(example)} and {self.text_column!r} {texts!r}; it needs "
                "one text or more, none of them empty"
            )
        return texts[0] if len(texts) == 1 else random.choice(texts)

    def _sample(self, example: Mapping[str, Any], position: int) -> dict[str, Any]:
        if example.get("image") is None:
            raise ValueError(f"example {position} has no 'image', only the columns {sorted(example)}")
        image = to_rgb(example["image"])
        return {"image": tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if len(examples) == 0:
            raise ValueError("the batch is empty; give at least one example")
        texts, samples = [], []
        for position, example in enumerate(examples):
            sample = self._sample(example, position)
            samples.append(self.transforms(sample) if self.transforms is not None else sample)
            texts.append(self._text(example, position))
        tokens = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        images = [sample["image"].as_subclass(torch.Tensor) for sample in samples]
        batch = {
            "pixel_values": stack_images(images, self.size_divisor, self.image_mean, self.image_std),
            **{name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens},
        }
        return batch | self._targets(samples, batch["pixel_values"].shape[-2:])

    def _targets(self, samples: Sequence[Mapping[str, Any]], size: Sequence[int]) -> dict[str, Any]:
        return {}


class ReferringCollator(ImageTextCollator):
    """Batch from examples of the referring schema, `{"image", "mask", "expressions"}`.

    Any value of the mask but 0 is the object. Padding is background.

    Shape:
        labels: (B, H, W), float32, 1 on the object; beside what `ImageTextCollator` gives.
    """

    text_column = "expressions"

    def _sample(self, example: Mapping[str, Any], position: int) -> dict[str, Any]:
        sample = super()._sample(example, position)
        if example.get("mask") is None:
            raise ValueError(f"example {position} has no 'mask', only the columns {sorted(example)}")
        mask = np.asarray(to_id_map(example["mask"], f"example {position}: mask")) != 0
        if mask.shape != tuple(sample["image"].shape[-2:]):
            raise ValueError(
                f"example {position}: the image has size {tuple(sample['image'].shape[-2:])} and its mask {mask.shape} "
                "(height, width); they must be equal"
            )
        # Ids and classes, as every transform of this package takes them; both are 1 on the object.
        return sample | {"mask": tv_tensors.Mask(torch.from_numpy(np.stack([mask, mask]).astype(np.int32)))}

    def _targets(self, samples: Sequence[Mapping[str, Any]], size: Sequence[int]) -> dict[str, Any]:
        labels = torch.zeros(len(samples), *size)
        for target, sample in zip(labels, samples):
            mask = sample["mask"].as_subclass(torch.Tensor)[0]
            target[: mask.shape[0], : mask.shape[1]] = mask
        return {"labels": labels}
