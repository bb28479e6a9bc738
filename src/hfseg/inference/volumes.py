# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation of volumes by a 2-D model, slice by slice.

A batch of slices is normalized, scaled to the network's input, predicted, its class probabilities are scaled to the
slices' own pixels, and their largest class is written into the result. Beyond the voxels as read and the map of classes
(one byte per voxel) only that batch is in memory: never the probabilities of a volume.

Shapes: X, Y, Z voxels in RAS order, (H, W) a slice, (h, w) the network's input, K classes, N slices of a batch.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor
from tqdm.auto import tqdm

from ..volumes import (
    CT_WINDOWS,
    NOT_A_MEDICAL_DEVICE,
    Volume,
    check_modality,
    check_same_geometry,
    intensity_statistics,
    read_volume,
    slice_axis,
    slice_channels,
    write_nifti,
)
from .scores import Predict
from .sliding_window import sliding_window_scores

__all__ = [
    "VolumeSegmentation",
    "keep_largest_components",
    "peak_bytes",
    "predict_volume",
    "segment_volume",
    "slice_probabilities",
]

Size = tuple[int, int]


class _Ready:
    """Stands for an image processor where windows are cut from an input that is ready."""

    size_divisor = None
    do_pad = False

    def __call__(self, images: Any, **_: Any) -> dict[str, Any]:
        return {"pixel_values": torch.stack(list(images))}


@torch.no_grad()
def slice_probabilities(
    slices: Tensor,
    predict: Predict,
    size: Size,
    flips: Sequence[int] = (),
    window: int | None = None,
    overlap: float = 0.5,
    ranking: bool = False,
) -> Tensor:
    """Class probabilities of slices at their own size.

    Each axis is scaled to the network's input by its own factor (anti-aliased where it shrinks), and the probabilities
    bilinearly back. With a window nothing is scaled: windows with Gaussian weights slide over slices larger than it.

    Args:
        slices: Normalized slices.
        predict: Function from pixel values to outputs with `logits`.
        size: Height and width of the network's input.
        flips: Axes (0 rows, 1 columns) whose mirror images are predicted too; probabilities are averaged.
        window: Side of the sliding window in the slices' own pixels.
        overlap: Share of a window that the next one covers again.
        ranking: Whether only the largest class matters, so that logits will do where they rank alike.

    Shape:
        slices: `(N, C, H, W)`; output: `(N, K, H, W)`, float32.
    """
    native = (slices.shape[-2], slices.shape[-1])
    views: list[tuple[int, ...]] = [(), *((axis,) for axis in flips)]
    if len(flips) == 2:
        views.append(tuple(flips))
    sliding = window is not None and max(native) > window
    total: Tensor | None = None
    for view in views:
        axes = [axis - 2 for axis in view]
        pixels = slices.flip(axes) if axes else slices
        if sliding:
            assert window is not None
            stride = max(1, int(window * (1 - overlap)))
            scores = torch.stack(
                [
                    sliding_window_scores(
                        one,
                        predict,
                        _Ready(),
                        window=(min(window, native[0]), min(window, native[1])),
                        stride=(min(stride, native[0]), min(stride, native[1])),
                        weighting="gaussian",
                        batch_size=max(1, len(slices)),
                    )
                    for one in pixels
                ]
            )
        else:
            if native != tuple(size):
                # In float32: on a CPU this is not made for bfloat16.
                scaled = F.interpolate(pixels.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
                pixels = scaled.to(slices.dtype)
            scores = predict(pixels).logits.float()  # (N, K, h, w)
            # Where nothing is averaged or scaled afterwards, the largest logit is the largest probability.
            scores = scores if ranking and len(views) == 1 and native == tuple(size) else scores.softmax(1)
        if axes:
            scores = scores.flip(axes)
        total = scores if total is None else total.add_(scores)
    assert total is not None
    if len(views) > 1:
        total = total / len(views)
    if tuple(total.shape[-2:]) != native:
        total = F.interpolate(total, size=native, mode="bilinear", align_corners=False)
    return total


def _agreed_modality(volumes: Sequence[Volume], modality: str | None) -> str:
    """Checks that volumes are of one study, and finds their modality."""
    if not volumes:
        raise ValueError("There is no volume; give one or more.")
    first = volumes[0]
    for other in volumes[1:]:
        check_same_geometry(first, other)
    modality = modality or first.modality
    if modality is None:
        raise ValueError(f"The modality of {first.name} is not known; give modality='CT', 'MR' or 'XR'.")
    if first.modality is not None and first.modality != modality:
        raise ValueError(f"{first.name} is {first.modality}, but modality={modality!r} was asked for.")
    return modality


def _check_options(batch_size: int, flips: Sequence[int], overlap: float) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    if any(flip not in (0, 1) for flip in flips) or len(set(flips)) < len(flips):
        raise ValueError(f"flips are {list(flips)}; must be 0 (rows) and 1 (columns), each once.")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; it must be in [0, 1).")


def _standardized(batch: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None) -> Tensor:
    """Subtracts a mean and divides by a deviation per channel, if there are both."""
    if mean is None or std is None:
        return batch
    shift, scale = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (batch - shift) / scale


def _batches(count: int, batch_size: int, progress: bool) -> Iterator[range]:
    """Yields the slices of each batch."""
    for start in tqdm(range(0, count, batch_size), desc="slices", unit="batch", disable=not progress, leave=False):
        yield range(start, min(start + batch_size, count))


def _geometry_record(volume: Volume, native: tuple[int, ...]) -> dict[str, Any]:
    return {
        "spacing": list(volume.spacing),
        "native_size": list(native),
        "stored_axes": volume.stored_axes,
        "stored_shape": list(volume.stored_shape),
        "obliquity_degrees": volume.obliquity,
    }


def _checked_arrays(volumes: Sequence[Volume], modality: str, check_values: bool) -> list[np.ndarray]:
    """Lists the voxels of every sequence, whose values must be such as the modality has."""
    arrays = [part for one in volumes for part in (one.voxels if one.voxels.ndim == 4 else [one.voxels])]
    for array in arrays if check_values else ():
        check_modality(array, modality, volumes[0].name)
    return arrays


def segment_volume(
    volumes: Volume | Sequence[Volume],
    predict: Predict,
    *,
    size: Size = (512, 512),
    input_mode: str = "windows",
    modality: str | None = None,
    windows: Sequence[Sequence[float]] = CT_WINDOWS,
    batch_size: int = 4,
    flips: Sequence[int] = (),
    sliding_window: int | None = None,
    overlap: float = 0.5,
    axis: int | None = None,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    largest_component: bool | Sequence[int] = False,
    smallest_volume: float | Mapping[int, float] = 0.0,
    check_values: bool = True,
    device: Any = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Class of every voxel.

    Args:
        volumes: One volume, or registered sequences of one study.
        predict: Function from pixel values to outputs with `logits`.
        size: Height and width of the network's input.
        input_mode: See `hfseg.volumes.slice_channels`.
        modality: `CT`, `MR` or `XR`; default: the volume's own.
        windows: Of CT, in HU.
        batch_size: Slices per call of `predict`.
        flips: Test-time augmentation, see `slice_probabilities`; only where anatomy is symmetric.
        sliding_window, overlap: See `slice_probabilities`.
        axis: Of the slices in RAS order; default: `slice_axis`.
        image_mean, image_std: Standardisation after normalization (public RGB weights), or None.
        largest_component: Keep only the largest connected part of every class, or of these classes.
        smallest_volume: Parts smaller than this, in mm3 (per class), become background.
        check_values: Whether values that cannot be of the modality are refused.
        device, dtype: Of the network's input.
        progress: Whether to show a progress bar.

    Returns:
        Map of classes `(X, Y, Z)` in RAS order (uint8, or int32 from 256 classes on), and a record: axis, spacing,
        statistics, sizes, factors, and the bytes that `peak_bytes` says.

    Raises:
        ValueError: The modality is unknown or contradicts the values; volumes of different grids; sizes not legal.
    """
    several = [volumes] if isinstance(volumes, Volume) else list(volumes)
    modality = _agreed_modality(several, modality)
    _check_options(batch_size, flips, overlap)
    first = several[0]
    arrays = _checked_arrays(several, modality, check_values)
    statistics = [intensity_statistics(array, modality, windows) for array in arrays]
    axis = slice_axis(first.spacing, modality) if axis is None else axis
    native = tuple(length for place, length in enumerate(first.shape) if place != axis)
    result, classes = np.empty(0, dtype=np.uint8), 0
    for places in _batches(first.shape[axis], batch_size, progress):
        channels = np.stack([slice_channels(arrays, statistics, place, axis, input_mode) for place in places])
        batch = _standardized(torch.from_numpy(channels), image_mean, image_std)
        scores = slice_probabilities(batch.to(device, dtype), predict, size, flips, sliding_window, overlap, True)
        if not classes:
            classes = scores.shape[1]
            result = np.empty((first.shape[axis], *native), dtype=np.uint8 if classes < 256 else np.int32)
        result[places.start : places.stop] = scores.max(1).indices.cpu().numpy()  # several times faster than argmax
    segmentation = np.moveaxis(result, 0, axis)
    if largest_component or smallest_volume:
        keep = range(1, classes) if largest_component is True else (largest_component or ())
        segmentation = keep_largest_components(segmentation, keep, smallest_volume, first.spacing)
    return segmentation, {
        "modality": modality,
        "axis": axis,
        **_geometry_record(first, native),
        "network_size": list(size),
        "factors": [1.0, 1.0] if sliding_window else [side / own for side, own in zip(size, native)],
        "statistics": statistics,
        "peak_bytes": peak_bytes(first.shape, arrays[0].itemsize * len(arrays), classes, native, size, batch_size),
    }


@dataclass
class VolumeSegmentation:
    """What became of a volume.

    Attributes:
        segmentation: Class map in the order of the source's file.
        affine: Of the source's file.
        record: How it came about, see `segment_volume`.
        voxels_per_class: Number of voxels of every class.
        milliliters_per_class: The same in ml.
        notice: Reminder that travels with every result.
    """

    segmentation: np.ndarray
    affine: np.ndarray
    record: dict[str, Any]
    voxels_per_class: dict[str, int]
    milliliters_per_class: dict[str, float]
    notice: str = NOT_A_MEDICAL_DEVICE


def predict_volume(
    model: torch.nn.Module,
    image_processor: Any,
    source: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    modality: str | None = None,
    channels: Sequence[int] | None = None,
    **options: Any,
) -> VolumeSegmentation:
    """Segments a volume from file to file.

    Args:
        model: A semantic model; put into evaluation mode for the call.
        image_processor: Its processor, which knows size, channels and normalization (`volume_settings`).
        source: NIfTI file, DICOM folder or file, `Volume`, or several registered ones of one study.
        output: `.nii` or `.nii.gz` to write, with the affine and order of the (first) source; None writes nothing.
        modality: `CT`, `MR` or `XR`; default: the file's (DICOM) or the processor's.
        channels: Volumes to take of a 4-D file.
        **options: Of `segment_volume`: `batch_size`, `flips`, `sliding_window`, `overlap`, `largest_component`,
            `smallest_volume`, `axis`, `progress`.

    Raises:
        ValueError: As `hfseg.volumes` and `segment_volume`; an output that is no NIfTI name.
    """
    if output is not None and not str(output).endswith((".nii", ".nii.gz")):
        raise ValueError(f"output is {str(output)!r}; the result is NIfTI, name it .nii.gz.")
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    volumes = [read_volume(one, modality, channels) for one in sources]
    settings = image_processor.volume_settings(volumes[0], modality=modality)
    parameter = next(model.parameters())
    modes = [(part, part.training) for part in model.modules()]  # frozen parts may differ from the whole
    model.eval()
    try:
        segmentation, record = segment_volume(
            volumes,
            lambda pixels: model(pixel_values=pixels),
            **{"device": parameter.device, "dtype": parameter.dtype, **settings, **options},
        )
    finally:
        for part, training in modes:
            part.training = training
    first = volumes[0]
    if output is not None:
        write_nifti(output, segmentation, first, segmentation.dtype)
    names = getattr(model.config, "id2label", None) or {}
    counts = np.bincount(segmentation.ravel(), minlength=len(names))
    voxel = float(np.prod(first.spacing)) / 1000
    labeled = {str(names.get(index, index)): int(count) for index, count in enumerate(counts)}
    return VolumeSegmentation(
        segmentation=first.to_stored_order(segmentation),
        affine=first.stored_affine,
        record=record,
        voxels_per_class=labeled,
        milliliters_per_class={name: round(count * voxel, 3) for name, count in labeled.items()},
    )


def peak_bytes(
    shape: Sequence[int], itemsize: int, classes: int, native: Sequence[int], size: Sequence[int], batch_size: int
) -> int:
    """Bytes that a volume of this shape needs beyond the network: voxels, result, and one batch.

    Voxels as read, one byte of result per voxel, twice (with its copy in the file's order), and for each slice of a
    batch its channels and three maps of class probabilities at the larger of both sizes, in float32.
    """
    voxels = math.prod(shape)
    pixels = max(math.prod(native), math.prod(size))
    return int(voxels * (itemsize + 2) + batch_size * pixels * 4 * (2 * 3 + 3 * classes))


def keep_largest_components(
    segmentation: np.ndarray,
    classes: Sequence[int],
    smallest_volume: float | Mapping[int, float] = 0.0,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Keeps the largest connected part of classes and drops small parts, in place; parts touch by faces.

    Args:
        segmentation: Class map.
        classes: Which keep their largest part only.
        smallest_volume: In mm3, for all classes (but background) or per class.
        spacing: Of voxels in mm.

    Shape:
        segmentation: `(X, Y, Z)`; output the same.
    """
    voxel = float(np.prod(spacing))
    boxes = ndimage.find_objects(segmentation)
    for class_id, box in enumerate(boxes, start=1):
        if box is None:
            continue
        limit = smallest_volume.get(class_id, 0.0) if isinstance(smallest_volume, Mapping) else smallest_volume
        if class_id not in classes and limit <= 0:
            continue
        part = segmentation[box]
        components, number = ndimage.label(part == class_id)
        sizes = np.bincount(components.ravel(), minlength=number + 1)
        sizes[0] = 0
        keep = sizes * voxel >= limit
        if class_id in classes:
            keep &= np.arange(number + 1) == sizes.argmax()
        keep[0] = True
        part[~keep[components]] = 0
    return segmentation
