# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics of LaVin-DiT's ten quantitative tasks (thesis, section 4.3), fed with decoded images.

| task | numbers | how |
|---|---|---|
| depth | abs_rel, delta1 | aligned to the truth by least squares in scale and shift, per image; mean over images |
| normals | mean_angle, within_11.25 | degrees and percent, over all valid pixels of an image; mean over images |
| foreground segmentation | mean_image_iou | at 111 x 111 (nearest), IoU of the white class, percent; mean over images |
| single object detection | mean_image_iou | likewise, after the largest white region was replaced by its box |
| colorization | mse, lpips | squared error of ImageNet-normalized pixels, as in the evaluation that the paper follows |
| inpainting, depth/normal to image | fid, lpips | torchmetrics |
| deraining, deblurring | psnr, ssim | torchmetrics, values in [0, 1] |

The authors released no evaluation code. Foreground segmentation and detection follow the code of MAE-VQGAN, which the
paper cites. LPIPS and FID need torchmetrics with its image extra and fetch their networks when first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..results.visual_formats import FORMATS

__all__ = ["TASK_METRICS", "InContextMetric", "align_depth", "box_mask", "depth_errors", "mask_iou", "normal_errors"]

PASCAL_SIDE = 111
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

TASK_METRICS: dict[str, tuple[str, ...]] = {
    "depth_estimation": ("abs_rel", "delta1"),
    "normal_estimation": ("mean_angle", "within_11.25"),
    "foreground_segmentation": ("mean_image_iou",),
    "single_object_detection": ("mean_image_iou",),
    "colorization": ("mse", "lpips"),
    "inpainting": ("fid", "lpips"),
    "depth_to_image": ("fid", "lpips"),
    "normal_to_image": ("fid", "lpips"),
    "deraining": ("psnr", "ssim"),
    "motion_deblurring": ("psnr", "ssim"),
}
"""The ten tasks and their numbers."""


def align_depth(prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Moves a relative depth to the truth's units: the scale and shift of least squared error over valid pixels.

    Shape:
        prediction, truth, valid: (H, W) -> (H, W), float64.

    Raises:
        ValueError: No pixel is valid.
    """
    valid = np.isfinite(truth) & (truth > 0) if valid is None else valid
    if not valid.any():
        raise ValueError("No pixel has a valid depth (finite, positive).")
    given = prediction[valid].astype(np.float64)
    system = np.stack([given, np.ones_like(given)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(system, truth[valid].astype(np.float64), rcond=None)
    return prediction.astype(np.float64) * scale + shift


def depth_errors(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Computes AbsRel = mean |d - d*| / d* and delta1 = percent with max(d/d*, d*/d) < 1.25, after alignment.

    Shape:
        prediction, truth: (H, W); truth in any unit, not finite or not positive where unknown.
    """
    valid = np.isfinite(truth) & (truth > 0)
    aligned = np.maximum(align_depth(prediction, truth, valid)[valid], 1e-6)
    wanted = truth[valid].astype(np.float64)
    ratio = np.maximum(aligned / wanted, wanted / aligned)
    return {"abs_rel": float((np.abs(aligned - wanted) / wanted).mean()), "delta1": float(100 * (ratio < 1.25).mean())}


def normal_errors(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Computes the mean angle in degrees and the percentage below 11.25 degrees.

    Shape:
        prediction, truth: (H, W, 3), unit; truth zero where unknown.
    """
    valid = np.linalg.norm(truth, axis=-1) > 0.5
    cosine = (prediction[valid].astype(np.float64) * truth[valid]).sum(-1)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return {"mean_angle": float(angles.mean()), "within_11.25": float(100 * (angles < 11.25).mean())}


def _to_side(mask: np.ndarray) -> np.ndarray:
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((PASCAL_SIDE, PASCAL_SIDE), Image.Resampling.NEAREST)
    return np.asarray(image) > 127


def mask_iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Computes the IoU of two masks at 111 x 111; 1 if both are empty.

    Shape:
        prediction, truth: (H, W), bool.
    """
    prediction, truth = _to_side(prediction), _to_side(truth)
    union = np.count_nonzero(prediction | truth)
    return 1.0 if union == 0 else np.count_nonzero(prediction & truth) / union


def box_mask(box: tuple[int, int, int, int] | None, shape: tuple[int, int]) -> np.ndarray:
    """Fills a box (x, y, width, height); None fills nothing."""
    mask = np.zeros(shape, dtype=bool)
    if box is not None:
        x, y, width, height = box
        mask[y : y + height, x : x + width] = True
    return mask


class InContextMetric:
    """Collects predictions of one task and computes its numbers.

    Args:
        task: One of `TASK_METRICS`.
        only: Some of its numbers, e.g. without those that need networks (`lpips`, `fid`).

    Raises:
        ValueError: An unknown task or number.
        ImportError: torchmetrics is needed and missing.

    >>> metric = InContextMetric("foreground_segmentation")
    >>> metric.add(np.full((8, 8, 3), 255, np.uint8), np.full((8, 8, 3), 255, np.uint8))
    >>> metric.compute()
    {'mean_image_iou': 100.0}
    """

    def __init__(self, task: str, only: tuple[str, ...] | None = None) -> None:
        if task not in TASK_METRICS:
            raise ValueError(f"There are no metrics of {task!r}: choose one of {', '.join(TASK_METRICS)}.")
        names = TASK_METRICS[task]
        if only is not None and set(only) - set(names):
            raise ValueError(f"{task} has no {sorted(set(only) - set(names))}; its numbers are {', '.join(names)}.")
        self.task, self.names = task, names if only is None else tuple(only)
        self.values: dict[str, list[float]] = {}
        self.modules: dict[str, Any] = {name: self._module(name) for name in self.names if name in _MODULES}

    @staticmethod
    def _module(name: str) -> Any:
        try:
            import torchmetrics.image as image
        except ImportError as error:
            raise ImportError(f"{name} comes from torchmetrics: pip install 'hfseg[in-context]'.") from error
        class_name, arguments = _MODULES[name]
        made = getattr(image, class_name, None)
        if made is None:
            made = getattr(__import__("torchmetrics.image.lpip", fromlist=[class_name]), class_name)
        return made(**arguments, sync_on_compute=False)  # processes are joined by `load_states`

    def add(self, prediction: np.ndarray, target: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Adds one image.

        Args:
            prediction: The model's image.
            target: The target's image.
            truth: Depth or normals in their own units where known; else they are read from `target`.

        Shape:
            prediction, target: (H, W, 3), uint8. truth: (H, W) or (H, W, 3).
        """
        found: Mapping[str, float] = {}
        if self.task == "depth_estimation":
            # A depth read from an image is 0 at the nearest pixel, which no relative error can bear.
            wanted = FORMATS["depth"].decode(target) + 1 if truth is None else truth
            found = depth_errors(FORMATS["depth"].decode(prediction), wanted)
        elif self.task == "normal_estimation":
            wanted = FORMATS["normal"].decode(target) if truth is None else truth
            found = normal_errors(FORMATS["normal"].decode(prediction), wanted)
        elif self.task == "foreground_segmentation":
            found = {
                "mean_image_iou": 100 * mask_iou(FORMATS["mask"].decode(prediction), FORMATS["mask"].decode(target))
            }
        elif self.task == "single_object_detection":
            box = FORMATS["detection"].decode(prediction)
            found = {"mean_image_iou": 100 * mask_iou(box_mask(box, target.shape[:2]), FORMATS["mask"].decode(target))}
        elif "mse" in self.names:
            std = np.array(IMAGENET_STD)
            error = (prediction.astype(np.float64) - target) / 255 / std
            found = {"mse": float((error**2).mean())}
        for name in self.names:
            if name in found:
                self.values.setdefault(name, []).append(found[name])
        if self.modules:
            import torch

            images = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None] for p in (prediction, target)]
            for name, module in self.modules.items():
                if name == "fid":
                    module.update(images[1], real=True)
                    module.update(images[0], real=False)
                else:
                    module.update(*(p.float() / 255 for p in images))

    def state_dict(self) -> dict[str, Any]:
        """Everything counted, to be gathered from several processes."""
        states = {
            name: {key: getattr(module, key) for key in module._defaults} for name, module in self.modules.items()
        }
        return {"values": {name: list(values) for name, values in self.values.items()}, "modules": states}

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the counts by the sum of those of several processes."""
        if len(states) == 1:
            return
        self.values = {}
        for state in states:
            for name, values in state["values"].items():
                self.values.setdefault(name, []).extend(values)
        for name, module in self.modules.items():
            for key in module._defaults:
                parts = [state["modules"][name][key] for state in states]
                joined = [item for part in parts for item in part] if isinstance(parts[0], list) else sum(parts)
                setattr(module, key, joined)
            module._update_count = max(module._update_count, 1)

    def compute(self) -> dict[str, float]:
        """Computes the numbers over all images."""
        means = {name: float(np.mean(values)) for name, values in self.values.items()}
        return {**means, **{name: float(module.compute()) for name, module in self.modules.items()}}


_MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "psnr": ("PeakSignalNoiseRatio", {"data_range": 1.0, "reduction": "elementwise_mean", "dim": (1, 2, 3)}),
    "ssim": ("StructuralSimilarityIndexMeasure", {"data_range": 1.0}),
    "lpips": ("LearnedPerceptualImagePatchSimilarity", {"net_type": "alex", "normalize": True}),
    "fid": ("FrechetInceptionDistance", {}),
}
