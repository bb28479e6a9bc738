# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation of raw examples into model inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from ..readers.images import to_id_map, to_rgb
from ..readers.schema import DEFAULT_IGNORE_INDEX, compact_ids

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "SemanticCollator", "UniversalCollator", "stack_images"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TASK_MIXTURE = ("panoptic", "instance", "semantic")


class UniversalCollator:
    """Batch of a mask-classification model from examples of the universal or the semantic schema.

    An example holds `image` and either `segmentation` (ids, 0 = void) with `segments_info`, or `segmentation_map`
    (class ids), where all pixels of a class become one segment. Crowd segments, void and whatever the transforms push
    out of the image are dropped; an example may end without any segment.

    Args:
        ignore_index: Class of void pixels in a `segmentation_map`.
        transforms: Optional function of a sample `{"image": tv_tensors.Image (3, H, W) uint8, "mask": tv_tensors.Mask
            (2, H, W)}` to such a sample, e.g. `instance_training_transforms(...)`.
        num_labels: Number of classes; if given, class ids are checked against it.
        size_divisor: The padded height and width are multiples of it.
        image_mean: Mean per channel for images in [0, 1].
        image_std: Standard deviation per channel.
        mark_void: Whether to return void pixels apart, for models that leave them out of the masks' losses. Right for
            data in which every pixel is meant to have a segment; wrong where unlabeled means background, which an
            example of mixed data can say of itself (`unlabeled_is_background`): none of its pixels is void.
        task_mixture: Weights of `panoptic`, `instance` and `semantic`, one of which is drawn for every example at
            every visit: all segments; only those of things, stuff being background; one segment per class. Default:
            segments as they are.
        stuff_class_ids: Classes that are stuff, for `task_mixture`.

    Returns (of a call):
        `pixel_values`: normalized images, zero-padded right and bottom (so padding has the mean color);
        `mask_labels`: one map per example with ids 1 .. N, 0 for void and padding;
        `class_labels`: classes of the segments 1 .. N of every example;
        with `mark_void`, `void_masks`: the void pixels of every example, padding not among them;
        if an example has `verified_classes` (ids whose presence or absence was checked), `known_classes`.

    Shape:
        pixel_values: (B, 3, H, W), float32.
        mask_labels: list of B tensors (H, W), int32.
        class_labels: list of B tensors (N,), int64.
        void_masks: list of B tensors (H, W), bool. known_classes: (B, num_labels), bool.

    Raises:
        ValueError: If image and map differ in size, an id is not listed, a class is out of range, or a column is
            missing.
    """

    def __init__(
        self,
        ignore_index: int = DEFAULT_IGNORE_INDEX,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        num_labels: int | None = None,
        size_divisor: int = 32,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        mark_void: bool = False,
        task_mixture: Mapping[str, float] | None = None,
        stuff_class_ids: Sequence[int] | None = None,
    ) -> None:
        if size_divisor < 1:
            raise ValueError(f"size_divisor {size_divisor} must be 1 or more")
        self.ignore_index = ignore_index
        self.transforms = transforms
        self.num_labels = num_labels
        self.size_divisor = size_divisor
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        self.mark_void = mark_void
        weights = dict(task_mixture or {"panoptic": 1.0})
        if set(weights) - set(TASK_MIXTURE) or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError(
                f"task_mixture is {weights}; give non-negative weights, one above 0, of {', '.join(TASK_MIXTURE)}"
            )
        self.tasks, self.task_weights = list(weights), torch.tensor([float(weight) for weight in weights.values()])
        self.stuff = np.array(sorted(stuff_class_ids or ()), dtype=np.int64) + 1

    def _segments_of_task(self, ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Segment ids of a drawn task. Shape: twice (H, W) to (H, W)."""
        task = self.tasks[int(torch.multinomial(self.task_weights, 1)) if len(self.tasks) > 1 else 0]
        if task == "semantic":
            return classes
        return np.where(np.isin(classes, self.stuff), 0, ids) if task == "instance" else ids

    def _ids_and_classes(self, example: Mapping[str, Any], position: int) -> tuple[np.ndarray, np.ndarray]:
        """Segment ids and class id + 1 of every pixel; 0 is void in both.

        Shape:
            (H, W), (H, W), int32.
        """
        if example.get("segmentation") is not None and "segments_info" in example:
            segmentation = to_id_map(example["segmentation"], f"example {position}: segmentation")
            ids, index_map = compact_ids(segmentation)
            classes: dict[int, int | None] = {0: None}
            for segment in example["segments_info"]:
                classes[int(segment["id"])] = None if segment.get("iscrowd", 0) else int(segment["category_id"])
            unlisted = [segment_id for segment_id in ids.tolist() if segment_id not in classes]
            if unlisted:
                raise ValueError(
                    f"example {position}: the segmentation holds the id(s) {unlisted[:5]} that segments_info does not "
                    "list; list them or set their pixels to 0 (void)"
                )
            of_ids = [classes[segment_id] for segment_id in ids.tolist()]
        elif example.get("segmentation_map") is not None:
            segmentation = to_id_map(example["segmentation_map"], f"example {position}: segmentation_map")
            ids, index_map = compact_ids(segmentation)
            of_ids = [None if class_id == self.ignore_index else class_id for class_id in ids.tolist()]
            ids = ids + 1  # class 0 is a segment like any other
        else:
            raise ValueError(
                f"example {position} has the columns {sorted(example)}; it needs 'image' and either 'segmentation' "
                "with 'segments_info' or 'segmentation_map'"
            )
        legal = self.num_labels if self.num_labels is not None else 1 << 30
        wrong = [class_id for class_id in of_ids if class_id is not None and not 0 <= class_id < legal]
        if wrong:
            raise ValueError(
                f"example {position} has the class id(s) {wrong[:5]}; must be 0 to {legal - 1}, and the ignore index "
                f"{self.ignore_index} in a segmentation_map"
            )
        kept_ids = np.array([0 if c is None else i for i, c in zip(ids.tolist(), of_ids)], dtype=np.int32)
        kept_classes = np.array([0 if c is None else c + 1 for c in of_ids], dtype=np.int32)
        return kept_ids.take(index_map), kept_classes.take(index_map)

    def _transformed(self, example: Mapping[str, Any], position: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Image, segment ids, and class ids + 1 (0 is void in both) of one example, after the transforms.

        Shape:
            (3, H, W), (H, W), (H, W).
        """
        if example.get("image") is None:
            raise ValueError(f"example {position} has no 'image', only the columns {sorted(example)}")
        image = to_rgb(example["image"])
        ids, classes = self._ids_and_classes(example, position)
        if image.shape[:2] != ids.shape:
            raise ValueError(
                f"example {position}: the image has size {image.shape[:2]} and its label map {ids.shape} (height, "
                "width); they must be equal"
            )
        sample = {
            # Channels stay last in memory: torch resizes such images several times faster.
            "image": tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)),  # (3, H, W)
            "mask": tv_tensors.Mask(torch.from_numpy(np.stack([ids, classes]))),
        }
        if self.transforms is not None:
            sample = self.transforms(sample)
        pixels = sample["image"].as_subclass(torch.Tensor)
        ids, classes = sample["mask"].as_subclass(torch.Tensor).numpy()  # (H, W), (H, W)
        return pixels, ids, classes

    def _prepare(
        self, example: Mapping[str, Any], position: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Image, map of ids 1 .. N, their classes, and void pixels of one example, after the transforms."""
        pixels, ids, classes = self._transformed(example, position)
        void = torch.from_numpy((classes == 0) & (not example.get("unlabeled_is_background", False)))
        ids = self._segments_of_task(ids, classes)
        classes = np.where(ids == 0, 0, classes)
        present, index_map = compact_ids(ids)
        if present[0] == 0:
            present = present[1:]
        else:  # no void pixel: move up, so that 0 stays free
            index_map = index_map + 1
        class_of = np.full(len(present) + 1, -1, dtype=np.int64)
        class_of[0] = 0
        class_of[index_map[::4, ::4]] = classes[::4, ::4]  # all pixels of a segment have the same class
        if class_of.min() < 0:  # a segment between the sampled pixels
            class_of[index_map] = classes
        index_map = index_map.astype(np.int32, copy=False)
        return pixels, torch.from_numpy(index_map), torch.from_numpy(class_of[1:] - 1), void

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if len(examples) == 0:
            raise ValueError("the batch is empty; give at least one example")
        prepared = [self._prepare(example, position) for position, example in enumerate(examples)]
        pixel_values = stack_images(
            [pixels for pixels, *_ in prepared], self.size_divisor, self.image_mean, self.image_std
        )
        height, width = pixel_values.shape[-2:]
        batch: dict[str, Any] = {
            "pixel_values": pixel_values,
            "mask_labels": [_padded(index_map, height, width, 0) for _, index_map, _, _ in prepared],
            "class_labels": [class_of for _, _, class_of, _ in prepared],
        }
        if self.mark_void:
            batch["void_masks"] = [_padded(void, height, width, False) for *_, void in prepared]
        if any(example.get("verified_classes") is not None for example in examples):
            batch["known_classes"] = torch.stack(
                [self._known(example, classes) for example, classes in zip(examples, batch["class_labels"])]
            )
        return batch

    def _known(self, example: Mapping[str, Any], classes: torch.Tensor) -> torch.Tensor:
        """Marks the classes whose presence or absence is known: all, unless the example says which were checked."""
        if self.num_labels is None:
            raise ValueError("verified_classes need num_labels, the number of classes")
        verified = example.get("verified_classes")
        known = torch.full((self.num_labels,), verified is None)
        known[torch.as_tensor(list(verified or ()), dtype=torch.int64)] = True
        known[classes] = True
        return known


class SemanticCollator(UniversalCollator):
    """Batch of a per-pixel classifier from examples of the semantic, the universal or the medical schema.

    As `UniversalCollator`, but the truth is one class map per image. A medical example's `mask` is read like a
    `segmentation_map`.

    Args:
        label_ignore_index: Value of void and padding in the batch's labels; models of this zoo and of transformers
            leave out 255.
        (the others): As `UniversalCollator`.

    Returns (of a call):
        `pixel_values`: normalized images, zero-padded right and bottom;
        `labels`: class ids, `label_ignore_index` for void, crowds and padding.

    Shape:
        pixel_values: (B, 3, H, W), float32.
        labels: (B, H, W), int64.
    """

    def __init__(
        self,
        ignore_index: int = DEFAULT_IGNORE_INDEX,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        num_labels: int | None = None,
        size_divisor: int = 32,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        label_ignore_index: int = 255,
    ) -> None:
        super().__init__(ignore_index, transforms, num_labels, size_divisor, image_mean, image_std)
        if num_labels is not None and 0 <= label_ignore_index < num_labels:
            raise ValueError(
                f"label_ignore_index {label_ignore_index} is one of the {num_labels} classes; take another"
            )
        self.label_ignore_index = label_ignore_index

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if len(examples) == 0:
            raise ValueError("the batch is empty; give at least one example")
        images, maps = [], []
        for position, example in enumerate(examples):
            if "mask" in example and "segmentation_map" not in example:
                example = {**example, "segmentation_map": example["mask"]}
            pixels, _, classes = self._transformed(example, position)
            images.append(pixels)
            labels = torch.from_numpy(classes.astype(np.int64)) - 1
            maps.append(labels.masked_fill_(labels < 0, self.label_ignore_index))
        pixel_values = stack_images(images, self.size_divisor, self.image_mean, self.image_std)
        height, width = pixel_values.shape[-2:]
        labels = torch.stack([_padded(labels, height, width, self.label_ignore_index) for labels in maps])
        return {"pixel_values": pixel_values, "labels": labels}


def stack_images(
    images: Sequence[torch.Tensor], size_divisor: int, image_mean: Sequence[float], image_std: Sequence[float]
) -> torch.Tensor:
    """Normalizes images and stacks them, zero-padded right and bottom to a common multiple of `size_divisor`.

    Shape:
        images: (3, H_i, W_i), uint8 or float in [0, 1]. Returns (B, 3, H, W), float32.
    """
    height = -(-max(pixels.shape[-2] for pixels in images) // size_divisor) * size_divisor
    width = -(-max(pixels.shape[-1] for pixels in images) // size_divisor) * size_divisor
    pixel_values = torch.zeros(len(images), 3, height, width)
    mean = torch.tensor(tuple(image_mean))[:, None, None]
    std = torch.tensor(tuple(image_std))[:, None, None]
    for position, pixels in enumerate(images):
        window = pixel_values[position, :, : pixels.shape[-2], : pixels.shape[-1]]
        window.copy_(pixels)
        if pixels.dtype == torch.uint8:
            window.div_(255)
        window.sub_(mean).div_(std)
    return pixel_values


def _padded(label_map: torch.Tensor, height: int, width: int, value: int) -> torch.Tensor:
    """A label map, enlarged right and bottom."""
    if label_map.shape == (height, width):
        return label_map
    padded = torch.full((height, width), value, dtype=label_map.dtype)
    padded[: label_map.shape[0], : label_map.shape[1]] = label_map
    return padded
