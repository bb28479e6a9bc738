# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images and clips as LaVin-DiT's pipeline reads them, and folders of examples."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from ...files.images import check_finite, convert_to_rgb, load_image

ImageLike = str | os.PathLike | Image.Image | np.ndarray | torch.Tensor
Clip = ImageLike | Sequence[ImageLike]
Pair = tuple[Clip, Clip]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
MAXIMUM_FOLDER_EXAMPLES = 8
ASPECT_TOLERANCE = 0.02

__all__ = ["Clip", "ImageLike", "Pair", "levels", "read_example_folder", "resized", "to_clip", "to_pixels"]


def read_example_folder(
    folder: str | os.PathLike, read_video: Callable[[Path], list[Image.Image]] | None = None
) -> list[Pair]:
    """Reads a folder of examples in the authors' format: `<id>_input.png` and `<id>_target.png`, sorted by id.

    Examples of clips are folders of frames of these names, `<id>_input/` and `<id>_target/`, or video files.

    Args:
        folder: The folder.
        read_video: Reads the frames of a video file.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no pairs, half a pair, two of one name, a damaged image, a video without `read_video`.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} of examples (<id>_input.png, <id>_target.png).")
    found: dict[str, dict[str, Path]] = {"input": {}, "target": {}}
    for file in sorted(path.iterdir()):
        match = re.fullmatch(r"(.+)_(input|target)", file.name if file.is_dir() else file.stem)
        if match and (file.is_dir() or file.suffix.lower() in (*IMAGE_ENDINGS, *VIDEO_ENDINGS)):
            other = found[match[2]].setdefault(match[1], file)
            if other != file:
                raise ValueError(f"{path} holds both {other.name} and {file.name}; keep one of them.")
    alone = sorted(found["input"].keys() ^ found["target"].keys())
    if alone:
        raise ValueError(f"{path}: {', '.join(alone[:10])} have an _input or a _target only; give both or remove them.")
    if not found["input"]:
        raise ValueError(
            f"{path} holds no examples: files must be called <id>_input.png and <id>_target.png (clips: .mp4, or "
            "folders of frames)."
        )

    def read(file: Path) -> Clip:
        if file.is_dir():
            return _read_frames(file)
        if file.suffix.lower() not in VIDEO_ENDINGS:
            return load_image(file)
        if read_video is None:
            raise ValueError(
                f"{file} is a video; the pipeline itself reads folders of frames: <id>_input/0001.png, ..."
            )
        return read_video(file)

    return [(read(found["input"][key]), read(found["target"][key])) for key in sorted(found["input"])]


def _read_frames(folder: Path) -> list[Image.Image]:
    """Reads the images of a folder in the order of the numbers in their names."""

    def order(file: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]

    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_ENDINGS and file.name[0] != "."]
    if not files:
        raise ValueError(f"The folder {folder} of an example holds no images ({', '.join(IMAGE_ENDINGS)}).")
    return [load_image(file) for file in sorted(files, key=order)]


def _to_frame(image: ImageLike) -> torch.Tensor:
    """Reads one image: (3, H, W), uint8, or float in [0, 1]."""
    if isinstance(image, (str, os.PathLike, Image.Image)):
        return torch.from_numpy(np.array(load_image(image))).permute(2, 0, 1)
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.array(image[..., None] if image.ndim == 2 else image)).movedim(-1, 0)
    elif image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4) or min(image.shape) < 1:
        raise ValueError(
            f"An image of shape {tuple(image.shape)} (channels first) has {image.shape[0]} channels; must be one of "
            "1, 3 and 4. Arrays are (H, W, C), tensors (C, H, W)."
        )
    if image.dtype == torch.uint8:
        if image.shape[0] == 4:
            rgb = convert_to_rgb(Image.fromarray(image.movedim(0, -1).contiguous().numpy(), "RGBA"))
            return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
        return image.expand(3, -1, -1)
    if not image.is_floating_point():
        raise ValueError(f"An image of {image.dtype}: give uint8 (0 to 255) or floats (0 to 1).")
    check_finite(image)
    if image.min() < 0 or image.max() > 1:
        raise ValueError(f"An image of floats in [{image.min():.3g}, {image.max():.3g}]: floats must be in [0, 1].")
    if image.shape[0] == 4:  # onto white, as 8-bit images
        return image[:3] * image[3:] + (1 - image[3:])
    return image.float().expand(3, -1, -1)


def to_clip(value: Clip) -> torch.Tensor:
    """Reads an image or a clip.

    Gray images get three equal channels, transparent ones a white background.

    Args:
        value: Path, PIL image, array (H, W), (H, W, C) or (T, H, W, C), tensor (C, H, W) or (T, C, H, W), or a sequence
            of images.

    Returns:
        (T, 3, H, W), uint8, or float in [0, 1].

    Raises:
        ValueError: Another shape, type or value range, frames of different sizes, a damaged file.
        TypeError: Something that is no image.
    """
    if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 4:
        value = list(value)
    if isinstance(value, (str, os.PathLike, Image.Image, np.ndarray, torch.Tensor)):
        return _to_frame(value)[None]
    if not isinstance(value, Sequence) or not value:
        raise TypeError(f"Expected an image or a sequence of frames, got {type(value).__name__} {str(value)[:60]!r}.")
    frames = [_to_frame(frame) for frame in value]
    if len({(frame.shape, frame.dtype) for frame in frames}) > 1:
        raise ValueError(f"Frames of a clip differ in size or type: {[tuple(frame.shape) for frame in frames]}.")
    return torch.stack(frames)


def to_pixels(clip: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes a clip (bicubic, antialiased; the aspect ratio is not kept) and maps it to [-1, 1].

    8-bit images are resized as 8-bit images, as the authors do.

    Shape:
        clip: (T, 3, H, W) -> (3, T, height, width), float32.
    """
    if clip.shape[-2:] != (height, width):
        clip = transforms.resize(clip, [height, width], InterpolationMode.BICUBIC, antialias=True)
    values = clip.float() / 255 if clip.dtype == torch.uint8 else clip.clamp(0, 1)
    return ((values - 0.5) * 2).transpose(0, 1)


def levels(pixels: torch.Tensor) -> np.ndarray:
    """Turns pixels in [0, 1] into 8 bits, truncated. Shape: (..., 3, H, W) -> (..., H, W, 3)."""
    return (pixels * 255).to(torch.uint8).movedim(-3, -1).numpy()


def resized(clip: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes an answer to its query's size (bicubic, antialiased). Shape: (T, 3, H, W) -> (T, 3, height, width)."""
    if tuple(clip.shape[-2:]) == (height, width):
        return clip
    return transforms.resize(clip, [height, width], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
