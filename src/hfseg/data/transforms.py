# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training transforms on `torchvision.tv_tensors`: image and label map move together.

A sample is any structure that holds one `tv_tensors.Image` (uint8, (3, H, W)) and one `tv_tensors.Mask`. The collator
gives masks of two channels, (2, H, W): segment ids and class id + 1; 0 is void in both. One channel works too.
Random numbers come from torch's global generator, which `DataLoader` seeds in every worker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

__all__ = [
    "CategoryCappedCrop",
    "FixedSizeCrop",
    "LargeScaleJitter",
    "PhotometricDistortion",
    "RandomShortSide",
    "instance_training_transforms",
    "semantic_training_transforms",
]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _spatial_size(flat_inputs: list[Any]) -> tuple[int, int]:
    sizes = {tuple(value.shape[-2:]) for value in flat_inputs if isinstance(value, (tv_tensors.Image, tv_tensors.Mask))}
    if not sizes:
        raise TypeError("the sample holds no tv_tensors.Image or tv_tensors.Mask; wrap image and label map in them")
    if len(sizes) > 1:
        raise ValueError(f"image and label map differ in size: {sorted(sizes)} (height, width)")
    return sizes.pop()


def _resize(value: Any, height: int, width: int) -> Any:
    """Resize an image bilinearly (antialiased) and a label map to the label under each new pixel's center."""
    if isinstance(value, tv_tensors.Mask):
        # torchvision's nearest neighbor takes the upper left corner, which shifts labels against the image.
        rows = ((torch.arange(height) + 0.5) * (value.shape[-2] / height)).long()
        columns = ((torch.arange(width) + 0.5) * (value.shape[-1] / width)).long()
        labels = value.as_subclass(torch.Tensor)
        if labels.device.type != "cpu":
            resized = labels[..., rows.to(labels.device)[:, None], columns.to(labels.device)]
        else:  # numpy's take is several times faster than torch's indexing
            taken = labels.numpy().take(rows.numpy(), axis=-2).take(columns.numpy(), axis=-1)
            resized = torch.from_numpy(taken)  # (..., height, width)
        return tv_tensors.wrap(resized, like=value)
    return F.resize(value, [height, width], antialias=True)


class _ResizeTransform(v2.Transform):
    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return _resize(inpt, *params["size"])


def _round_half_up(value: float) -> int:
    return max(math.floor(value + 0.5), 1)


class LargeScaleJitter(_ResizeTransform):
    """Resize to a random scale of the largest size that fits into the target, aspect kept (Ghiasi et al., 2021).

    Args:
        target_size: (height, width) that scale 1 fits into.
        scale_range: Range of the uniform scale.
    """

    def __init__(self, target_size: tuple[int, int], scale_range: tuple[float, float] = (0.1, 2.0)) -> None:
        super().__init__()
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range {scale_range} must be 0 < low <= high")
        self.target_size = target_size
        self.scale_range = scale_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = _spatial_size(flat_inputs)
        scale = _uniform(*self.scale_range) * min(self.target_size[0] / height, self.target_size[1] / width)
        return {"size": (_round_half_up(height * scale), _round_half_up(width * scale))}


class RandomShortSide(_ResizeTransform):
    """Resize so that the shorter side is one of `sizes`, drawn at random, unless the longer would exceed `max_size`.

    Args:
        sizes: Lengths of the shorter side in pixels, e.g. `[int(x * 0.1 * 1024) for x in range(5, 21)]` for Cityscapes.
        max_size: Upper bound of the longer side, or None.
    """

    def __init__(self, sizes: Sequence[int], max_size: int | None = None) -> None:
        super().__init__()
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes {list(sizes)} must hold at least one length of 1 pixel or more")
        self.sizes = list(sizes)
        self.max_size = max_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = _spatial_size(flat_inputs)
        scale = self.sizes[int(torch.randint(len(self.sizes), ()))] / min(height, width)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(height, width))
        return {"size": (_round_half_up(height * scale), _round_half_up(width * scale))}


class _CropTransform(v2.Transform):
    """Crop a window; what lies outside the image becomes `pad_value`, and void in the label map."""

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def __init__(self, crop_size: tuple[int, int], pad_value: int = 128) -> None:
        super().__init__()
        if min(crop_size) < 1:
            raise ValueError(f"crop_size {crop_size} must be (height, width) of at least 1 pixel")
        self.crop_size = crop_size
        self.pad_value = pad_value

    def _random_window(self, height: int, width: int) -> tuple[int, int]:
        top = int(torch.randint(max(height - self.crop_size[0], 0) + 1, ()))
        left = int(torch.randint(max(width - self.crop_size[1], 0) + 1, ()))
        return top, left

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        top, left = params["corner"]
        height, width = self.crop_size if params["pad"] else params["inner"]
        fill = 0 if isinstance(inpt, tv_tensors.Mask) else self.pad_value
        window = inpt.as_subclass(torch.Tensor)[..., top : top + self.crop_size[0], left : left + self.crop_size[1]]
        if window.shape[-2:] == (height, width):
            return tv_tensors.wrap(window, like=inpt)
        result = window.new_full((*inpt.shape[:-2], height, width), fill)
        result[..., : window.shape[-2], : window.shape[-1]] = window
        return tv_tensors.wrap(result, like=inpt)


class FixedSizeCrop(_CropTransform):
    """Random window of exactly `crop_size`; smaller images are padded right and bottom.

    Args:
        crop_size: (height, width) of the result.
        pad_value: Gray value of padded image pixels; padded label pixels are void (0).
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = _spatial_size(flat_inputs)
        return {"corner": self._random_window(height, width), "pad": True}


class CategoryCappedCrop(_CropTransform):
    """Random window in which no class covers more than `max_share` of the labeled pixels; the last of ten tries stays.

    Classes are read from the last channel of the mask.

    Args:
        crop_size: (height, width) of the window.
        max_share: Largest share of the most frequent class; 1.0 accepts every window.
        pad: Pad smaller images to `crop_size`; otherwise they stay smaller.
        pad_value: Gray value of padded image pixels.
    """

    def __init__(
        self, crop_size: tuple[int, int], max_share: float = 0.75, pad: bool = False, pad_value: int = 128
    ) -> None:
        super().__init__(crop_size, pad_value)
        if not 0 < max_share <= 1:
            raise ValueError(f"max_share {max_share} must be above 0 and at most 1")
        self.max_share = max_share
        self.pad = pad

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = _spatial_size(flat_inputs)
        masks = [value for value in flat_inputs if isinstance(value, tv_tensors.Mask)]
        for _ in range(10):
            top, left = self._random_window(height, width)
            if self.max_share >= 1 or not masks:
                break
            classes = masks[0].as_subclass(torch.Tensor)
            classes = classes.reshape(-1, height, width)[-1]  # (H, W)
            window = classes[top : top + self.crop_size[0], left : left + self.crop_size[1]]
            _, counts = window[window != 0].unique(return_counts=True)
            if len(counts) > 1 and int(counts.max()) < self.max_share * int(counts.sum()):
                break
        inner = (min(height, self.crop_size[0]), min(width, self.crop_size[1]))
        return {"corner": (top, left), "pad": self.pad, "inner": inner}


class PhotometricDistortion(v2.Transform):
    """Color jitter of SSD (Liu et al., 2016): each step with probability one half, contrast first or last.

    Brightness adds up to +-32 gray levels, contrast multiplies by 0.5 to 1.5, saturation blends with gray by 0.5 to
    1.5, hue turns by up to +-18 degrees. The label map is left alone.

    Args:
        brightness: Largest change in gray levels (of 255).
        contrast: Range of the factor.
        saturation: Range of the factor.
        hue: Largest turn in degrees.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(
        self,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18,
    ) -> None:
        super().__init__()
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        switches = (torch.rand(5) < 0.5).tolist()
        return {
            "brightness": _uniform(-self.brightness, self.brightness) if switches[0] else None,
            "contrast": _uniform(*self.contrast) if switches[1] else None,
            "saturation": _uniform(*self.saturation) if switches[2] else None,
            "hue": _uniform(-self.hue, self.hue) / 360 if switches[3] else None,
            "contrast_first": switches[4],
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        image = inpt.as_subclass(torch.Tensor)
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        if params["brightness"] is not None:
            image = (image + params["brightness"] / 255).clamp(0, 1)
        if params["contrast"] is not None and params["contrast_first"]:
            image = (image * params["contrast"]).clamp(0, 1)
        if params["saturation"] is not None:
            image = F.adjust_saturation(image, params["saturation"])
        if params["hue"] is not None:
            image = F.adjust_hue(image, params["hue"])
        if params["contrast"] is not None and not params["contrast_first"]:
            image = (image * params["contrast"]).clamp(0, 1)
        if inpt.dtype == torch.uint8:
            image = (image * 255).round().to(torch.uint8)
        return tv_tensors.wrap(image, like=inpt)


def instance_training_transforms(
    crop_size: tuple[int, int],
    scale_range: tuple[float, float] = (0.1, 2.0),
    flip_probability: float = 0.5,
    vertical_flip_probability: float = 0.0,
    photometric_distortion: bool = False,
) -> v2.Compose:
    """Flip, large-scale jitter, fixed-size crop: the recipe of Mask2Former for COCO (1024, 0.1 to 2.0).

    Microscopy and aerial images have no upside: `vertical_flip_probability=0.5`. Where lighting or staining varies,
    `photometric_distortion` draws brightness, contrast, saturation and hue too.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(flip_probability),
            *([v2.RandomVerticalFlip(vertical_flip_probability)] if vertical_flip_probability else []),
            LargeScaleJitter(crop_size, scale_range),
            FixedSizeCrop(crop_size),
            *([PhotometricDistortion()] if photometric_distortion else []),
        ]
    )


def semantic_training_transforms(
    crop_size: tuple[int, int],
    short_sides: Sequence[int],
    max_size: int | None = None,
    max_share: float = 0.75,
    flip_probability: float = 0.5,
) -> v2.Compose:
    """Random short side, category-capped crop, SSD color jitter, flip: the recipe for Cityscapes and ADE20K."""
    return v2.Compose(
        [
            RandomShortSide(short_sides, max_size),
            CategoryCappedCrop(crop_size, max_share),
            PhotometricDistortion(),
            v2.RandomHorizontalFlip(flip_probability),
        ]
    )
