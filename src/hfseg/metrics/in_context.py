# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics of LaVin-DiT's tasks, fed with decoded images and clips: the ten of the thesis (section 4.3) and the others.

| task | numbers | how |
|---|---|---|
| depth | abs_rel, delta1, mse | aligned to the truth by least squares in scale and shift, per image; mean over images |
| normals | mean_angle, within_11.25 | degrees and percent, over the pixels of all images, as DSINE; or per image |
| foreground segmentation | mean_image_iou | at 111 x 111 (nearest), IoU of the white class, percent; mean over images |
| single object detection | mean_image_iou | likewise, after the largest white region was replaced by its box |
| colorization | mse, lpips | squared error of ImageNet-normalized pixels, as in the evaluation that the paper follows |
| inpainting, depth/normal to image | fid, lpips | torchmetrics |
| deraining, deblurring | psnr, ssim | torchmetrics, values in [0, 1] |
| pose | pck@0.2 | keypoints of all images within 0.2 of the person's size, percent |
| panoptic, instance segmentation | pq, sq, rq | without classes, over the segments of all images, percent |
| edges | f1 | over the edge pixels of all images, within 0.75 % of the diagonal, percent |
| pose to image | fid, lpips | as depth to image |
| video depth, video normals | as of images | depth: one scale and shift for a clip |
| optical flow | epe | pixels, mean over clips |
| video instance segmentation | j&f, j, f | over the objects of all clips, percent (`dense_tasks.object_scores`) |
| depth and normals to video, frame prediction | psnr, ssim | over frames; the frame that is known does not count |

Depth is aligned where the image is affine: the paper's labels, of Depth Anything V2, are disparities (1 / depth), so
its images are aligned as disparities, as MiDaS does (Ranftl et al., TPAMI 2022); images of depth are aligned as
depth. A perfect image of disparity aligned as depth would look wrong by a sixth.

The authors released no evaluation code. Foreground segmentation and detection follow the code of MAE-VQGAN, which the
paper cites. LPIPS and FID need torchmetrics with its image extra and fetch their networks when first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..results.visual_formats import FORMATS
from .dense_tasks import edge_counts, endpoint_error, f_measure, keypoint_hits, object_scores, segment_counts

__all__ = [
    "DEPTH_SPACES",
    "QUANTITATIVE_TASKS",
    "TASK_METRICS",
    "TRUTHS",
    "InContextMetric",
    "align_depth",
    "box_mask",
    "depth_errors",
    "mask_iou",
    "normal_angles",
    "normal_errors",
]

DEPTH_SPACES = ("disparity", "depth")
PASCAL_SIDE = 111
SEGMENTS = ("pq", "sq", "rq")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

TASK_METRICS: dict[str, tuple[str, ...]] = {
    "depth_estimation": ("abs_rel", "delta1", "mse"),
    "normal_estimation": ("mean_angle", "within_11.25"),
    "foreground_segmentation": ("mean_image_iou",),
    "single_object_detection": ("mean_image_iou",),
    "colorization": ("mse", "lpips"),
    "inpainting": ("fid", "lpips"),
    "depth_to_image": ("fid", "lpips"),
    "normal_to_image": ("fid", "lpips"),
    "deraining": ("psnr", "ssim"),
    "motion_deblurring": ("psnr", "ssim"),
    "glass_deblurring": ("psnr", "ssim"),
    "pose_estimation": ("pck@0.2",),
    "pose_to_image": ("fid", "lpips"),
    "panoptic_segmentation": ("pq", "sq", "rq"),
    "instance_segmentation": ("pq", "sq", "rq"),
    "edge_detection": ("f1",),
    "video_depth_estimation": ("abs_rel", "delta1", "mse"),
    "video_normal_estimation": ("mean_angle", "within_11.25"),
    "optical_flow": ("epe",),
    "video_instance_segmentation": ("j&f", "j", "f"),
    "frame_prediction": ("psnr", "ssim"),
    "depth_to_video": ("psnr", "ssim"),
    "normal_to_video": ("psnr", "ssim"),
}
"""The tasks and their numbers."""

QUANTITATIVE_TASKS = tuple(TASK_METRICS)[:10]
"""The tasks of which the thesis prints numbers."""

# Key of the truth in its own units, where an image does not hold all of it.
TRUTHS = {
    "depth_estimation": "depth",
    "normal_estimation": "normals",
    "video_depth_estimation": "video_depth",
    "video_normal_estimation": "video_normals",
    "optical_flow": "flow",
    "pose_estimation": "keypoints",
}


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


def depth_errors(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    depth_space: str = "depth",
    cap: float | None = None,
    crop: str | None = None,
) -> dict[str, float]:
    """Computes errors of a depth known up to scale and shift, after alignment.

    AbsRel = mean |d - d*| / d*, delta1 = percent of pixels with max(d/d*, d*/d) < 1.25, mse = mean (d - d*)^2.

    Args:
        prediction: Affine image of the depth or the disparity; the sign of the factor does not matter.
        truth: Depth in any unit; not finite or not positive where unknown.
        depth_space: Where prediction and truth are aligned: "depth", or "disparity" (1 / depth).
        cap: Pixels farther than this do not count, and predictions are cut there. None: all count, and predictions
            of disparities, which may cross zero, are cut at the farthest pixel.
        crop: "eigen" counts rows 45 to 470 and columns 41 to 600 of NYUv2's 480 x 640 (Eigen et al., NeurIPS 2014).

    Shape:
        prediction, truth: (H, W).

    Raises:
        ValueError: An unknown space or crop, a crop of images of another size, or no valid pixel.
    """
    if depth_space not in DEPTH_SPACES:
        raise ValueError(f"depth_space={depth_space!r} must be one of {', '.join(DEPTH_SPACES)}.")
    valid = np.isfinite(truth) & (truth > 0)
    if cap is not None:
        valid &= truth <= cap
    if crop is not None:
        valid &= _eigen_crop(crop, truth.shape)
    if not valid.any():
        raise ValueError("No pixel has a valid depth (finite, positive, within cap and crop).")
    wanted = truth[valid].astype(np.float64)
    if depth_space == "disparity":
        disparity = np.divide(1.0, truth, out=np.zeros(truth.shape, np.float64), where=valid)
        aligned = 1 / np.maximum(align_depth(prediction, disparity, valid)[valid], 1 / (cap or wanted.max()))
    else:
        aligned = np.clip(align_depth(prediction, truth, valid)[valid], 1e-6, cap)
    ratio = np.maximum(aligned / wanted, wanted / aligned)
    return {
        "abs_rel": float((np.abs(aligned - wanted) / wanted).mean()),
        "delta1": float(100 * (ratio < 1.25).mean()),
        "mse": float(((aligned - wanted) ** 2).mean()),
    }


def _eigen_crop(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name != "eigen" or shape != (480, 640):
        raise ValueError(f'crop={name!r} of {shape}: must be "eigen", of images of 480 x 640 (NYUv2).')
    inside = np.zeros(shape, dtype=bool)
    inside[45:471, 41:601] = True
    return inside


def normal_angles(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Computes the angles between normals, in degrees, of all valid pixels.

    Shape:
        prediction, truth: (H, W, 3), unit; truth zero where unknown. Output: (N,), float64.
    """
    valid = np.linalg.norm(truth, axis=-1) > 0.5
    cosine = (prediction[valid].astype(np.float64) * truth[valid]).sum(-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def normal_errors(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Computes the mean angle in degrees and the percentage below 11.25 degrees, of one image.

    Shape:
        prediction, truth: (H, W, 3), unit; truth zero where unknown.

    Raises:
        ValueError: No pixel has a normal.
    """
    angles = normal_angles(prediction, truth)
    if not len(angles):
        raise ValueError("No pixel has a valid normal (unit length).")
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
        depth_space: Where depth is aligned: "disparity" or "depth", as the images are drawn.
        depth_cap: See `depth_errors`.
        depth_crop: See `depth_errors`.
        normals_per_image: Averages the angles of an image first, then images; default: all pixels alike.

    Raises:
        ValueError: An unknown task, number or space.
        ImportError: torchmetrics is needed and missing.

    >>> metric = InContextMetric("foreground_segmentation")
    >>> metric.add(np.full((8, 8, 3), 255, np.uint8), np.full((8, 8, 3), 255, np.uint8))
    >>> metric.compute()
    {'mean_image_iou': 100.0}
    """

    def __init__(
        self,
        task: str,
        only: tuple[str, ...] | None = None,
        *,
        depth_space: str = "depth",
        depth_cap: float | None = None,
        depth_crop: str | None = None,
        normals_per_image: bool = False,
    ) -> None:
        if task not in TASK_METRICS:
            raise ValueError(f"There are no metrics of {task!r}: choose one of {', '.join(TASK_METRICS)}.")
        names = TASK_METRICS[task]
        if only is not None and set(only) - set(names):
            raise ValueError(f"{task} has no {sorted(set(only) - set(names))}; its numbers are {', '.join(names)}.")
        if depth_space not in DEPTH_SPACES:
            raise ValueError(f"depth_space={depth_space!r} must be one of {', '.join(DEPTH_SPACES)}.")
        self.task, self.names = task, names if only is None else tuple(only)
        self.depth: dict[str, Any] = {"depth_space": depth_space, "cap": depth_cap, "crop": depth_crop}
        self.normals_per_image = normals_per_image
        # Pixels behind each value of `values` where pixels are pooled.
        self.weights: list[int] = []
        # Counts over all images, of numbers that pool them.
        self.sums: np.ndarray | None = None
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
        """Adds one image or clip.

        Args:
            prediction: The model's image.
            target: The target's image.
            truth: The truth in its own units where known (`TRUTHS`); else it is read from `target`.

        Shape:
            prediction, target: (H, W, 3) or (T, H, W, 3), uint8. truth: (H, W), (H, W, 3), (N, 17, 3), ...
        """
        for name, value in self._measured(prediction, target, truth).items():
            if name in self.names:
                self.values.setdefault(name, []).append(value)
        if self.modules:
            self._compare_images(prediction, target)

    def _measured(self, prediction: np.ndarray, target: np.ndarray, truth: np.ndarray | None) -> Mapping[str, float]:
        """Numbers of one image; what is pooled goes to `sums` and `weights`."""
        task = self.task.removeprefix("video_")
        if task == "depth_estimation":
            # A depth read from an image is 0 at the nearest pixel, which no relative error can bear.
            wanted = FORMATS["depth"].decode(target) + 1 if truth is None else truth
            return depth_errors(FORMATS["depth"].decode(prediction), wanted, **self.depth)
        if task == "normal_estimation":
            wanted = FORMATS["normal"].decode(target) if truth is None else truth
            angles = normal_angles(FORMATS["normal"].decode(prediction), wanted)
            if not len(angles):
                return {}
            self.weights.append(1 if self.normals_per_image else len(angles))
            return {"mean_angle": float(angles.mean()), "within_11.25": float(100 * (angles < 11.25).mean())}
        if task == "optical_flow":
            wanted = FORMATS["flow"].decode(target) if truth is None else truth
            return {"epe": endpoint_error(FORMATS["flow"].decode(prediction), wanted)}
        if task == "foreground_segmentation":
            masks = (FORMATS["mask"].decode(image) for image in (prediction, target))
            return {"mean_image_iou": 100 * mask_iou(*masks)}
        if task == "single_object_detection":
            box = FORMATS["detection"].decode(prediction)
            return {"mean_image_iou": 100 * mask_iou(box_mask(box, target.shape[:2]), FORMATS["mask"].decode(target))}
        if task == "colorization":
            error = (prediction.astype(np.float64) - target) / 255 / np.array(IMAGENET_STD)
            return {"mse": float((error**2).mean())}
        self._pool(prediction, target, truth)
        return {}

    def _pool(self, prediction: np.ndarray, target: np.ndarray, truth: np.ndarray | None) -> None:
        """Counts for numbers over all images together."""
        counts: Any = None
        if self.task == "pose_estimation":
            people = FORMATS["pose"].decode(target)[None] if truth is None else truth
            counts = np.array(keypoint_hits(FORMATS["pose"].decode(prediction), people))
        elif self.task == "edge_detection":
            counts = edge_counts(*(FORMATS["edge"].decode(image) for image in (prediction, target)))
        elif self.names[0] in SEGMENTS:
            counts = segment_counts(*(FORMATS["segmentation"].decode(image) for image in (prediction, target)))
        elif self.task == "video_instance_segmentation":
            region, boundary = object_scores(*(FORMATS["segmentation"].decode(clip) for clip in (prediction, target)))
            counts = np.array([sum(region), sum(boundary), len(region)])
        if counts is not None:
            self.sums = counts if self.sums is None else self.sums + counts

    def _compare_images(self, prediction: np.ndarray, target: np.ndarray) -> None:
        import torch

        frames = [clip if clip.ndim == 4 else clip[None] for clip in (prediction, target)]
        if self.task == "frame_prediction":  # it begins with the last frame that is known
            frames = [clip[1:] for clip in frames]
        images = [torch.from_numpy(clip.copy()).permute(0, 3, 1, 2) for clip in frames]
        for name, module in self.modules.items():
            if name == "fid":
                module.update(images[1], real=True)
                module.update(images[0], real=False)
            else:
                module.update(*(image.float() / 255 for image in images))

    def state_dict(self) -> dict[str, Any]:
        """Everything counted, to be gathered from several processes."""
        states = {
            name: {key: getattr(module, key) for key in module._defaults} for name, module in self.modules.items()
        }
        values = {name: list(values) for name, values in self.values.items()}
        sums = None if self.sums is None else self.sums.tolist()
        return {"values": values, "weights": list(self.weights), "sums": sums, "modules": states}

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the counts by the sum of those of several processes."""
        if len(states) == 1:
            return
        self.values = {}
        self.weights = [weight for state in states for weight in state["weights"]]
        sums = [np.array(state["sums"]) for state in states if state["sums"] is not None]
        self.sums = sum(sums[1:], sums[0]) if sums else None
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
        means = {name: float(np.average(values, weights=self.weights or None)) for name, values in self.values.items()}
        if self.sums is not None:
            means |= {name: value for name, value in self._pooled(self.sums).items() if name in self.names}
        return {**means, **{name: float(module.compute()) for name, module in self.modules.items()}}

    def _pooled(self, sums: np.ndarray) -> dict[str, float]:
        """Numbers from counts over all images, percent; nothing where nothing was there to be found."""
        if self.task == "pose_estimation":
            return {"pck@0.2": 100 * float(sums[0] / sums[1])} if sums[1] else {}
        if self.task == "edge_detection":
            return {"f1": 100 * f_measure(sums)}
        if self.task == "video_instance_segmentation":
            if not sums[2]:
                return {}
            region, boundary = (100 * float(value / sums[2]) for value in sums[:2])
            return {"j&f": (region + boundary) / 2, "j": region, "f": boundary}
        iou, matched, extra, missed = (float(value) for value in sums)
        if not matched + extra + missed:
            return {}
        quality, found = iou / max(matched, 1), matched / (matched + (extra + missed) / 2)
        return {"pq": 100 * quality * found, "sq": 100 * quality, "rq": 100 * found}


_MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "psnr": ("PeakSignalNoiseRatio", {"data_range": 1.0, "reduction": "elementwise_mean", "dim": (1, 2, 3)}),
    "ssim": ("StructuralSimilarityIndexMeasure", {"data_range": 1.0}),
    "lpips": ("LearnedPerceptualImagePatchSimilarity", {"net_type": "alex", "normalize": True}),
    "fid": ("FrechetInceptionDistance", {}),
}
