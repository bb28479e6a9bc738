# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images made worse, for tasks that undo it: holes, missing color, rain, blur. And edges of photographs.

Rain, motion blur and Canny edges come from kornia, the hole, graying and Gaussian blur need nothing beyond torchvision.
Glass blur (pixels that change places with neighbors) is in neither and is written out here. The paper names OpenCV and
Albumentations but none of their settings; ours are below.

All take and return (H, W, 3) uint8 and draw from the numpy generator they are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

__all__ = ["canny_edges", "cut_hole", "cut_square", "glass_blur", "gray", "motion_blur", "rain"]

HOLE_SHARE = (0.25, 0.5)
MOTION_KERNEL_SHARE = (0.06, 0.12)
GLASS_REACH_SHARE = 0.02
CANNY_THRESHOLDS = (0.1, 0.2)


def _kornia() -> Any:
    try:
        import kornia
    except ImportError as error:
        raise ImportError("This task draws with kornia: pip install 'hfseg[in-context]'.") from error
    return kornia


def _tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3), uint8 -> (1, 3, H, W), float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def _image(tensor: torch.Tensor) -> np.ndarray:
    return (tensor[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def cut_hole(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Blackens one rectangle, each side a quarter to a half of the image's."""
    height, width = image.shape[:2]
    sides = [max(1, round(draw.uniform(*HOLE_SHARE) * side)) for side in (height, width)]
    return _blacken(image, draw, *sides)


def cut_square(image: np.ndarray, draw: np.random.Generator, side: int) -> np.ndarray:
    """Blackens one square somewhere."""
    return _blacken(image, draw, side, side)


def _blacken(image: np.ndarray, draw: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    height, width = image.shape[:2]
    top, left = draw.integers(0, height - rows + 1), draw.integers(0, width - columns + 1)
    cut = image.copy()
    cut[top : top + rows, left : left + columns] = 0
    return cut


def gray(image: np.ndarray, draw: np.random.Generator | None = None) -> np.ndarray:
    """Takes the color out."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    return transforms.rgb_to_grayscale(tensor, num_output_channels=3).permute(1, 2, 0).contiguous().numpy()


def glass_blur(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Sees through frosted glass: every pixel is taken from near by, between two slight Gaussian blurs."""
    height, width = image.shape[:2]
    reach = max(1, round(GLASS_REACH_SHARE * min(height, width)))
    sigma, kernel = [max(0.4, 0.4 * reach)] * 2, [2 * reach + 1] * 2
    blurred = transforms.gaussian_blur(_tensor(image), kernel, sigma)
    rows = np.arange(height)[:, None] + draw.integers(-reach, reach + 1, (height, width))
    columns = np.arange(width)[None] + draw.integers(-reach, reach + 1, (height, width))
    index = (np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
    shuffled = blurred[..., torch.from_numpy(index[0]), torch.from_numpy(index[1])]
    return _image(transforms.gaussian_blur(shuffled, kernel, sigma))


def motion_blur(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Moves the camera along a line during the exposure."""
    side = min(image.shape[:2])
    size = max(3, 2 * round(draw.uniform(*MOTION_KERNEL_SHARE) * side / 2) + 1)
    angle, direction = float(draw.uniform(0, 180)), float(draw.uniform(-0.5, 0.5))
    return _image(_kornia().filters.motion_blur(_tensor(image), size, angle, direction, "replicate"))


def rain(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Lets it rain: bright slanted streaks."""
    height = image.shape[0]
    drops = (max(4, image.shape[0] * image.shape[1] // 128),) * 2
    length = max(2, height // 12)
    augmentation = _kornia().augmentation.RandomRain(
        number_of_drops=drops, drop_height=(length, length + 1), drop_width=(-3, 3), p=1.0
    )
    state = torch.get_rng_state()
    torch.manual_seed(int(draw.integers(2**31)))
    try:
        return _image(augmentation(_tensor(image)))
    finally:
        torch.set_rng_state(state)


def canny_edges(image: np.ndarray) -> np.ndarray:
    """Finds edges by Canny's method with thresholds 0.1 and 0.2 of the gradient (kornia; the paper gives none).

    Shape:
        (H, W, 3), uint8 -> (H, W), bool.
    """
    _, edges = _kornia().filters.canny(_tensor(image), *CANNY_THRESHOLDS)
    return (edges[0, 0] > 0).numpy()
