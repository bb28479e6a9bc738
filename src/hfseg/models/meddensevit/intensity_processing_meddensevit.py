# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What both image processors of MedDenseViT share: intensities by modality, volumes, and the way back to the file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ChannelDimension
from transformers.utils import TensorType

from ...files.images import open_image
from ...processing.kwargs import SemanticImageProcessorKwargs
from ...processing.segmentation import SemanticSegmentationPostProcessorOutput
from ...volumes import (
    CT_WINDOWS,
    INPUT_MODES,
    MODALITIES,
    Volume,
    check_modality,
    intensity_statistics,
    normalize_intensity,
    read_volume,
    slice_axis,
    slice_channels,
)

DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


def is_volume(source: Any) -> bool:
    """Tells volumes (NIfTI and DICOM files, folders, `Volume`) from images."""
    if isinstance(source, Volume):
        return True
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = Path(source)
    return path.name.endswith((".nii", ".nii.gz", ".dcm")) or path.is_dir()


class MedDenseViTImageProcessorKwargs(SemanticImageProcessorKwargs, total=False):
    """Settings of `MedicalIntensityProcessing`."""

    modality: str | None
    input_mode: str | None
    windows: list[list[float]] | None
    do_normalize_intensity: bool | None
    check_values: bool | None


class MedicalIntensityProcessing:
    """Mixin before a semantic image processor.

    Attributes:
        size: Height and width of the network's input; each axis of an image is scaled by its own factor.
        modality: `XR`, `MR` or `CT`: how intensities are normalized (`hfseg.volumes.intensity_statistics`), by the
            whole image or volume and before any scaling.
        input_mode: Channels of a slice of a volume, see `hfseg.volumes.slice_channels`; None takes `windows` for CT,
            `2.5d` for MR and `slice` for X-ray. An image has no neighbors: it is repeated, or seen in its windows.
        windows: (low, high) in HU of CT.
        do_normalize_intensity: Whether to normalize by modality at all.
        check_values: Whether values that cannot be of the modality are refused.
        do_normalize, image_mean, image_std: Standardisation afterwards, for encoders with public RGB weights.
    """

    size = {"height": 512, "width": 512}
    default_to_square = True
    do_pad = False
    size_divisor = None
    do_rescale = False
    do_normalize = False
    modality = "XR"
    input_mode = None
    windows = [list(window) for window in CT_WINDOWS]
    do_normalize_intensity = True
    check_values = True

    # ------------------------------------------------------------------------------------------------------- images

    def load_image(self, image: Any) -> Image.Image:
        """Opens a local image upright, with all its bits (a 16-bit X-ray stays one)."""
        photo = image if isinstance(image, Image.Image) else open_image(image)
        return ImageOps.exif_transpose(photo)

    def fetch_images(self, images: Any) -> Any:
        """Loads local paths; image objects pass through."""
        if isinstance(images, (str, os.PathLike)):
            return self.load_image(images)
        return super().fetch_images(images)

    def process_image(self, image: Any, **kwargs: Any) -> Any:
        """Converts one image to channel-first form; deep gray values are kept."""
        if hasattr(image, "mode") and hasattr(image, "convert") and image.mode in DEEP_MODES:
            image, kwargs["input_data_format"] = np.array(image)[None], ChannelDimension.FIRST
        if isinstance(image, Tensor) and hasattr(image, "as_tensor"):  # MONAI's MetaTensor
            image = image.as_tensor()
        if getattr(image, "dtype", None) in (np.uint16, torch.uint16):
            image = image.astype(np.int32) if isinstance(image, np.ndarray) else image.to(torch.int32)
        return super().process_image(image, **kwargs)

    def normalized_image(self, image: np.ndarray, modality: str, windows: Any, check_values: bool) -> np.ndarray:
        """Normalizes one image by its own statistics.

        Shape:
            image: `(C, H, W)`; output the same, float32.
        """
        if modality not in MODALITIES:
            raise ValueError(f"modality is {modality!r}; must be one of {', '.join(MODALITIES)}.")
        if check_values:
            check_modality(image, modality, "the image")
        channels = normalize_intensity(image, intensity_statistics(image, modality, windows))
        if len(channels) == 1:
            return channels[0]
        return np.stack([channels[index % len(channels)][index] for index in range(image.shape[0])])

    def _preprocess(
        self,
        images: list[Any],
        segmentation_maps: Any = None,
        *,
        modality: str | None,
        input_mode: str | None = None,
        windows: Any = None,
        do_normalize_intensity: bool | None = None,
        check_values: bool | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        if do_normalize_intensity:
            normalized = []
            for image in images:
                array = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
                array = self.normalized_image(array, modality or "XR", windows, bool(check_values))
                normalized.append(torch.from_numpy(array).to(image.device) if isinstance(image, Tensor) else array)
            images = normalized
        return super()._preprocess(images, segmentation_maps, **kwargs)

    # -------------------------------------------------------------------------------------------------------- volumes

    def preprocess(self, images: Any, segmentation_maps: Any = None, **kwargs: Any) -> BatchFeature:
        """Turns images, or the slices of volumes, into a batch for the network.

        Args:
            images: Images (PIL images, arrays, tensors, paths), one or a list; or volumes (NIfTI files, DICOM files
                or folders, `hfseg.volumes.Volume`), whose slices follow one another in the batch.
            segmentation_maps: Class maps of images.
            **kwargs: Any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, h, w), with maps also `labels`; with volumes also `geometry`, a list with what the way
            back needs (see `preprocess_volume`).

        Raises:
            ValueError: As `SemanticSegmentationProcessing.preprocess` and `preprocess_volume`.
        """
        several = images if isinstance(images, (list, tuple)) else [images]
        volumes = [is_volume(source) for source in several]
        if not any(volumes):
            photos = [one[None] if getattr(one, "ndim", 0) == 2 else one for one in several]  # gray arrays (H, W)
            return super().preprocess(photos, segmentation_maps, **kwargs)
        if not all(volumes):
            raise ValueError("The list mixes volumes and images; give one kind per call.")
        if segmentation_maps is not None:
            raise ValueError("Masks of volumes are read by hfseg.data.MedicalSlices; give segmentation_maps=None.")
        return_tensors = kwargs.pop("return_tensors", None)
        batches = [self.preprocess_volume(source, **kwargs) for source in several]
        values = np.concatenate([batch["pixel_values"] for batch in batches])
        batch = BatchFeature({"pixel_values": values}, tensor_type=return_tensors)
        batch["geometry"] = [entry for other in batches for entry in other["geometry"]]
        return batch

    def volume_settings(self, volume: Volume, **changes: Any) -> dict[str, Any]:
        """Settings for one volume: those of the processor, changed by `changes`, completed by the volume's modality.

        Raises:
            ValueError: The volume is of another modality than asked for, or the input mode is unknown.
        """
        settings = {
            name: changes[name] if changes.get(name) is not None else getattr(self, name)
            for name in ("size", "modality", "input_mode", "windows", "check_values", "do_normalize")
        }
        unknown = sorted(set(changes) - {*settings, "image_mean", "image_std"})
        if unknown:
            raise ValueError(
                f"There is no setting {', '.join(unknown)} for volumes; must be one of {', '.join(settings)}."
            )
        if changes.get("modality") is None and volume.modality is not None:
            settings["modality"] = volume.modality
        modality = settings["modality"]
        if volume.modality is not None and volume.modality != modality:
            raise ValueError(f"{volume.name} is {volume.modality}, but modality={modality!r} was asked for.")
        if settings["input_mode"] is None:
            settings["input_mode"] = {"CT": "windows", "MR": "2.5d"}.get(modality, "slice")
        if settings["input_mode"] not in INPUT_MODES:
            raise ValueError(f"input_mode is {settings['input_mode']!r}; must be one of {', '.join(INPUT_MODES)}.")
        size = settings["size"]
        height = size["height"] if isinstance(size, Mapping) else size.height
        width = size["width"] if isinstance(size, Mapping) else size.width
        standard = settings.pop("do_normalize")
        settings |= {
            "size": (int(height), int(width)),
            "image_mean": self.image_mean if standard else None,  # type: ignore[attr-defined]
            "image_std": self.image_std if standard else None,  # type: ignore[attr-defined]
        }
        return settings

    def preprocess_volume(
        self, source: Any, return_tensors: str | TensorType | None = None, **changes: Any
    ) -> BatchFeature:
        """Prepares all slices of one volume; for large ones `model.predict_volume` goes slice by slice instead.

        Args:
            source: NIfTI file, DICOM file or folder, `Volume`.
            return_tensors: As everywhere in transformers.
            **changes: Settings for this call.

        Returns:
            `pixel_values` (N, C, h, w) and `geometry` with one record: the volume without its voxels, slice axis,
            native and network size, factors, statistics.

        Raises:
            ValueError: As `hfseg.volumes`.
        """
        volume = read_volume(source, changes.get("modality"))
        settings = self.volume_settings(volume, **changes)
        arrays = list(volume.voxels) if volume.voxels.ndim == 4 else [volume.voxels]
        if settings["check_values"]:
            for array in arrays:
                check_modality(array, settings["modality"], volume.name)
        statistics = [intensity_statistics(array, settings["modality"], settings["windows"]) for array in arrays]
        axis = slice_axis(volume.spacing, settings["modality"])
        slices = np.stack(
            [
                slice_channels(arrays, statistics, place, axis, settings["input_mode"])
                for place in range(volume.shape[axis])
            ]
        )
        native = slices.shape[-2:]
        pixels = torch.from_numpy(slices)
        if native != settings["size"]:
            pixels = F.interpolate(pixels, size=settings["size"], mode="bilinear", align_corners=False, antialias=True)
        if settings["image_mean"] is not None:
            mean, std = (torch.tensor(settings[name])[:, None, None] for name in ("image_mean", "image_std"))
            pixels = (pixels - mean) / std
        batch = BatchFeature({"pixel_values": pixels.numpy()}, tensor_type=return_tensors)
        size = settings["size"]
        batch["geometry"] = [
            {
                "affine": volume.affine,
                "stored_affine": volume.stored_affine,
                "stored_shape": volume.stored_shape,
                "stored_axes": volume.stored_axes,
                "spacing": volume.spacing,
                "shape": volume.shape,
                "axis": axis,
                "native_size": tuple(native),
                "factors": (size[0] / native[0], size[1] / native[1]),
                "modality": settings["modality"],
                "input_mode": settings["input_mode"],
                "statistics": statistics,
                "name": volume.name,
            }
        ]
        return batch

    # -------------------------------------------------------------------------------------------------------- outputs

    @torch.no_grad()
    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        return_segmentation_scores: bool = False,
        geometry: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Any]:
        """Class maps in native geometry: probabilities are scaled bilinearly to each image's size, the largest taken.

        Args:
            outputs: Model output with `logits`.
            target_sizes: Height and width of each original image; default: the size of the logits.
            return_segmentation_scores: Whether to return `{"segmentation", "segmentation_scores"}` per image.
            geometry: Records of volumes from `preprocess`; results are then class volumes in the order of their
                files, one per record.

        Shape:
            Maps (H, W) int64, scores (K, H, W) float32 probabilities; volumes `stored_shape`, uint8.

        Raises:
            ValueError: The number of sizes or slices is not that of the logits.
        """
        logits = outputs.logits
        if geometry is not None:
            return self._volumes(logits, geometry)
        if target_sizes is not None and len(target_sizes) != len(logits):
            raise ValueError(
                f"target_sizes has {len(target_sizes)} entries for a batch of {len(logits)} images; give one (height, "
                "width) per image."
            )
        sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor) else target_sizes
        results: list[Any] = []
        for index in range(len(logits)):
            scores = logits[index : index + 1].float().softmax(1)
            if sizes is not None:
                height, width = (int(side) for side in sizes[index])
                scores = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
            labels = scores[0].argmax(0)
            if return_segmentation_scores:
                results.append(
                    SemanticSegmentationPostProcessorOutput(
                        data={"segmentation": labels, "segmentation_scores": scores[0]}
                    )
                )
            else:
                results.append(labels)
        return results

    def _volumes(self, logits: Tensor, geometry: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        wanted = sum(record["shape"][record["axis"]] for record in geometry)
        if wanted != len(logits):
            raise ValueError(f"The geometry is of {wanted} slices, the logits are of {len(logits)}; give all slices.")
        results, start = [], 0
        for record in geometry:
            count = record["shape"][record["axis"]]
            maps = []
            for index in range(start, start + count):
                scores = logits[index : index + 1].float().softmax(1)
                scores = F.interpolate(scores, size=record["native_size"], mode="bilinear", align_corners=False)
                maps.append(scores[0].argmax(0).to(torch.uint8).cpu().numpy())
            volume = Volume(
                voxels=np.moveaxis(np.stack(maps), 0, record["axis"]),
                affine=record["affine"],
                modality=record["modality"],
                stored_affine=record["stored_affine"],
                stored_shape=record["stored_shape"],
                stored_axes=record["stored_axes"],
            )
            results.append(volume.to_stored_order(volume.voxels))
            start += count
        return results
