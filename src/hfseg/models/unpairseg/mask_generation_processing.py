# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What Unpair-Seg's two image processors share: sizes, padding rules, prompts, and everything after the model.

Nothing here imports torchvision.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, SizeDict
from transformers.utils import TensorType

from ... import postprocess
from ...processing.kwargs import UniversalImageProcessorKwargs
from ...processing.segmentation import Placement, SemanticSegmentationPostProcessorOutput, place, sizes_of
from ...processing.sizes import resized_size
from ...processing.universal import UniversalSegmentationProcessing
from ...results.segmentation_result import SegmentationResult

Sizes = Sequence[tuple[int, int]] | Tensor | np.ndarray
# Masks doubled in size at once for non-maximum suppression: bounds memory, does not change results.
MASKS_AT_ONCE = 64


def as_sizes(sizes: Sizes | None, count: int, name: str) -> list[tuple[int, int]]:
    """Brings one (height, width) per image to the host.

    Raises:
        ValueError: If they are missing or as many as images.
    """
    if sizes is None:
        raise ValueError(f"{name} is missing: give the (height, width) of each original image.")
    listed = sizes.tolist() if isinstance(sizes, (Tensor, np.ndarray)) else list(sizes)
    if len(listed) != count:
        raise ValueError(f"{name} has {len(listed)} entries for {count} images; give one (height, width) per image.")
    return [(int(height), int(width)) for height, width in listed]


def as_prompts(prompts: Any, name: str, trailing: int, batch_size: int) -> np.ndarray:
    """Stacks the prompts of a batch.

    Args:
        prompts: One entry per image; for a single image also the entry itself.
        name: Of the argument.
        trailing: Numbers per prompt: 2 (points), 4 (boxes) or 1 (labels).
        batch_size: B.

    Shape:
        Output: points `(B, Q, P, 2)`, boxes `(B, Q, 4)`, labels `(B, Q, P)`, float64.

    Raises:
        ValueError: For ragged, empty or non-finite prompts.
    """
    dims = {2: 4, 4: 3, 1: 3}[trailing]
    if isinstance(prompts, (list, tuple)):
        prompts = [entry.cpu().numpy() if isinstance(entry, Tensor) else entry for entry in prompts]
    elif isinstance(prompts, Tensor):
        prompts = prompts.cpu().numpy()
    try:
        array = np.asarray(prompts, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} cannot be stacked: give every image the same number of prompts and every prompt the same number "
            "of points, or process images one by one."
        ) from error
    if trailing > 1 and (array.ndim == 0 or array.shape[-1] != trailing):
        raise ValueError(f"{name} has shape {array.shape}: the last axis must hold {trailing} numbers.")
    if array.ndim == dims - 1 and trailing != 4 and len(array) == batch_size:
        array = array[:, :, None]  # one point per prompt
    if array.ndim == dims - 1 and batch_size == 1:
        array = array[None]
    if array.ndim == dims - 2 and batch_size == 1:
        array = array[None, :, None] if trailing != 4 else array[None, None]
    if array.ndim != dims or len(array) != batch_size or 0 in array.shape:
        expected = {2: "(images, prompts, points, 2)", 4: "(images, prompts, 4)", 1: "(images, prompts, points)"}
        raise ValueError(
            f"{name} has shape {np.shape(prompts)} for {batch_size} image(s): expected {expected[trailing]}, not empty."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite.")
    return array


def _above(logits: Tensor, level: float, geometry: dict[str, Any]) -> Tensor:
    """Masks of one image at original size: logits above a level."""
    return postprocess.binary_segmentation(logits[None], mask_threshold=1 / (1 + math.exp(-level)), **geometry)[0]


class UnpairSegImageProcessorKwargs(UniversalImageProcessorKwargs, total=False):
    """Settings of `MaskGenerationProcessing`."""

    pad_value: int | None
    score_threshold: float | None
    nms_rule: str | None
    iou_threshold: float | None
    cover_threshold: float | None
    stability_threshold: float | None
    min_area: int | None
    box_zoom: float | None
    point_zoom: int | None
    zoom_size: int | None


class MaskGenerationProcessing(UniversalSegmentationProcessing):
    """Mixin of Unpair-Seg's image processors.

    Attributes:
        size: `longest_edge` S: the longer side becomes S, rounded half up, also if the image is smaller.
        pad_value: gray level of the padding that makes the image an S x S square, before normalization.
        size_divisor: a square that it does not divide is padded with zeros after normalization.
        score_threshold: smallest predicted quality of a mask; the authors' 0.65 after a second sigmoid.
        nms_rule, iou_threshold, cover_threshold: of mask non-maximum suppression, see `hfseg.postprocess.mask_nms`.
        stability_threshold: smallest stability of a mask; None for no test, as in the authors' model (their
            demonstration uses 0.92).
        min_area: holes and islands below this number of pixels are cleaned up; 0 for none (demonstration: 15).
        box_zoom: pipelines and evaluation ask for the mask of a box with the part of the image around it alone, whose
            side is this many longer sides of the box; None for the whole image, as the authors do.
        point_zoom: the same for points: side in pixels of the smallest part, doubled up to the whole image; the part
            with the best mask that ends in it counts; with `box_zoom` the box around each of the best masks is asked
            about as well (`hfseg.inference.zoomed_prompts`). None for the whole image alone, as the authors do.
        zoom_size: `longest_edge` of such parts; None for that of images.
        threshold: smallest class probability of a panoptic segment.
        overlap_mask_area_threshold: smallest visible part of a panoptic segment.
    """

    size = {"longest_edge": 1024}
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    pad_value = 128
    binary_mask_labels = False
    threshold = 0.7
    overlap_mask_area_threshold = 0.4
    score_threshold = math.log(0.65 / 0.35)
    nms_rule = "or"
    iou_threshold = 0.5
    cover_threshold = 0.7
    stability_threshold = None
    min_area = 0
    box_zoom = None
    point_zoom = None
    zoom_size = None
    model_input_names = ["pixel_values", "original_sizes"]

    # ---------------------------------------------------------------------------------------------- inputs
    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        input_points: Any = None,
        input_labels: Any = None,
        input_boxes: Any = None,
        instance_id_to_semantic_id: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turns images, and optionally prompts and masks, into a padded batch for the network.

        Args:
            images: PIL images, arrays, tensors or paths of local files, one or a list.
            segmentation_maps: integer maps of the same sizes, whose values are masks without names; 0 and 255: none.
            input_points: (x, y) in pixels of the original image: (images, prompts, 2) or, with several points per
                prompt, (images, prompts, points, 2). For one image the first axis may be left out.
            input_labels: 1 for points on the object, 0 beside it: (images, prompts, points).
            input_boxes: (x0, y0, x1, y1) in pixels of the original image: (images, prompts, 4).
            instance_id_to_semantic_id: see `UniversalSegmentationProcessing`; ids it lacks are no masks.
            **kwargs: any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, S, S), `original_sizes` (B, 2); with prompts these in pixels of the network input;
            with maps `mask_labels`, a list of int32 id maps (S, S).

        Raises:
            ValueError: for empty input, NaN or infinite pixels, prompts that do not stack or lie outside their image,
                and maps that do not fit.
        """
        batch = super().preprocess(images, segmentation_maps, instance_id_to_semantic_id, **kwargs)
        tensor_type = kwargs.get("return_tensors")
        original_sizes = batch["original_sizes"]
        prompts = self.scale_prompts(
            original_sizes, batch.pop("resized_sizes"), input_points, input_labels, input_boxes
        )
        prompts["original_sizes"] = np.asarray(original_sizes, dtype=np.int64)
        as_torch = tensor_type is not None and TensorType(tensor_type) == TensorType.PYTORCH
        device = batch["pixel_values"].device if as_torch and isinstance(batch["pixel_values"], Tensor) else None
        for name, value in prompts.items():
            batch[name] = torch.from_numpy(value).to(device) if as_torch else value
        return batch

    def scale_prompts(
        self,
        original_sizes: list[tuple[int, int]],
        resized_sizes: list[tuple[int, int]],
        input_points: Any = None,
        input_labels: Any = None,
        input_boxes: Any = None,
    ) -> dict[str, np.ndarray]:
        """Checks prompts and moves them from pixels of the original image to pixels of the network input.

        Raises:
            ValueError: For prompts that do not stack, lie outside their image, or boxes without area.
        """
        batch_size = len(original_sizes)
        sizes = np.asarray(original_sizes, dtype=np.float64)[:, ::-1]  # (x, y)
        scales = np.asarray(resized_sizes, dtype=np.float64)[:, ::-1] / sizes
        prompts: dict[str, np.ndarray] = {}
        if input_labels is not None and input_points is None:
            raise ValueError("input_labels was given without input_points.")
        if input_points is not None and input_boxes is not None:
            raise ValueError("Give input_points or input_boxes, not both: they are prompts of their own.")
        if input_points is not None:
            points = as_prompts(input_points, "input_points", 2, batch_size)
            outside = ((points < 0) | (points > sizes[:, None, None])).any(-1)
            if outside.any():
                image = int(np.argwhere(outside)[0][0])
                width, height = sizes[image].astype(int)
                raise ValueError(
                    f"Point {points[outside][0].tolist()} is outside image {image}: must be x in 0..{width} and y in "
                    f"0..{height}, in pixels of the original image."
                )
            prompts["input_points"] = (points * scales[:, None, None]).astype(np.float32)
            if input_labels is not None:
                labels = as_prompts(input_labels, "input_labels", 1, batch_size)
                if labels.shape != points.shape[:-1]:
                    raise ValueError(f"input_labels has shape {labels.shape}, the points {points.shape[:-1]}.")
                if not np.isin(labels, (0, 1)).all():
                    raise ValueError("input_labels must be 1 (on the object) or 0 (beside it).")
                prompts["input_labels"] = labels.astype(np.int64)
        if input_boxes is not None:
            boxes = as_prompts(input_boxes, "input_boxes", 4, batch_size)
            limits = np.tile(sizes, 2)[:, None]
            clipped = np.clip(boxes, 0, limits)
            empty = (clipped[..., 2] <= clipped[..., 0]) | (clipped[..., 3] <= clipped[..., 1])
            if empty.any():
                raise ValueError(
                    f"Box {boxes[empty][0].tolist()} has no area inside image {int(np.argwhere(empty)[0][0])}: give "
                    "(x0, y0, x1, y1) with x0 < x1 and y0 < y1, in pixels of the original image."
                )
            prompts["input_boxes"] = (clipped * np.tile(scales, 2)[:, None]).astype(np.float32)
        return prompts

    def square(self, size: Any) -> int | None:
        """Side S of the padded square, if the size asks for one."""
        value = size.get("longest_edge") if hasattr(size, "get") else getattr(size, "longest_edge", None)
        return int(value) if value else None

    def square_size(self, size: Any, sizes: list[tuple[int, int]], pad_size: Any) -> tuple[int, int]:
        """Height and width of the gray square: `pad_size`, S x S, or the largest of the images.

        Raises:
            ValueError: If an image is larger than `pad_size`.
        """
        if pad_size is not None:
            return self.padded_size(sizes, None, pad_size)
        side = self.square(size)
        if side is not None and all(max(size) <= side for size in sizes):
            return side, side
        return self.padded_size(sizes, None)

    def pad_images(
        self,
        images: list[Any],
        size: SizeDict,
        do_pad: bool | None = None,
        pad_size: SizeDict | None = None,
        size_divisor: int | None = None,
        pad_value: int = 128,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        **_: Any,
    ) -> tuple[list[Any], tuple[int, int] | None]:
        """Images at the top left of a gray square, and the size to which zeros are added after normalization."""
        if not do_pad:
            return images, None
        square = self.square_size(size, sizes_of(images), pad_size)
        value = pad_value if do_rescale else pad_value * rescale_factor
        padded = [place([image], self.filled(image, (1, image.shape[0], *square), value))[0] for image in images]
        return padded, self.padded_size([square], size_divisor)

    def make_targets(
        self,
        segmentation_maps: Any,
        instance_id_to_semantic_id: Any = None,
        *,
        placed: Placement,
        ignore_index: int | None = None,
        binary_mask_labels: bool | None = False,
        **_: Any,
    ) -> dict[str, list[np.ndarray]]:
        """`mask_labels`, masks without classes. Values 0 and `ignore_index` of a plain map are no masks."""
        without_table = instance_id_to_semantic_id is None
        targets = super().make_targets(
            segmentation_maps,
            instance_id_to_semantic_id,
            placed=placed,
            ignore_index=ignore_index,
            do_reduce_labels=without_table,
            binary_mask_labels=binary_mask_labels,
        )
        return {"mask_labels": targets["mask_labels"]}

    def note_sizes(
        self, batch: BatchFeature, original_sizes: list[tuple[int, int]], resized_sizes: list[tuple[int, int]]
    ) -> None:
        """Adds both sizes: prompts are scaled by them."""
        batch["original_sizes"], batch["resized_sizes"] = original_sizes, resized_sizes

    # ---------------------------------------------------------------------------------------------- outputs
    def geometry(
        self, mask_shape: Sequence[int], original_sizes: list[tuple[int, int]], size: Any = None
    ) -> dict[str, Any]:
        """Sizes with which `hfseg.postprocess` maps masks back to original images.

        The square is resized to a square of the longer side, of which the image is the top left part. `size` is that
        of the call which prepared the images, where it was not the processor's.
        """
        size = self.size if size is None else size
        padded = (mask_shape[-2] * self.mask_stride, mask_shape[-1] * self.mask_stride)
        sizes: dict[str, Any] = {"padded_size": padded, "output_sizes": original_sizes}
        side = self.square(size)
        if self.do_pad and self.do_resize and side is not None:
            inside = (min(side, padded[0]), min(side, padded[1]))
            sizes["image_sizes"] = [inside] * len(original_sizes)
            sizes["canvas_sizes"] = [(max(size), max(size)) for size in original_sizes]
        else:
            resized = [resized_size(*one, size) if self.do_resize else one for one in original_sizes]
            sizes["image_sizes"] = [(min(one[0], padded[0]), min(one[1], padded[1])) for one in resized]
        return sizes

    @torch.no_grad()
    def post_process_masks(
        self,
        masks: Tensor,
        original_sizes: Sizes,
        mask_threshold: float = 0.0,
        binarize: bool = True,
        size: Any = None,
    ) -> list[Tensor]:
        """Brings the masks of prompts to the size of the original images.

        Args:
            masks: `pred_masks` of the model.
            original_sizes: (height, width) of each original image.
            mask_threshold: smallest logit, exclusive, of a pixel inside.
            binarize: whether to return booleans instead of probabilities.
            size: that with which the images were prepared; default: the processor's.

        Shape: masks (B, Q, M, h, w); results (Q, M, H, W).

        Raises:
            ValueError: if the number of sizes is not that of images.
        """
        sizes = as_sizes(original_sizes, len(masks), "original_sizes")
        results = postprocess.binary_segmentation(
            masks.flatten(1, 2),
            mask_threshold=1 / (1 + math.exp(-mask_threshold)),
            return_probabilities=not binarize,
            **self.geometry(masks.shape, sizes, size),
        )
        return [result.unflatten(0, masks.shape[1:3]) for result in results]

    def select_masks(
        self,
        outputs: Any,
        index: int,
        score_threshold: float | None = None,
        nms_rule: str | None = None,
        iou_threshold: float | None = None,
        cover_threshold: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Selects masks of one image by score, then by mask non-maximum suppression at half the input's size.

        Masks that fail the score are never made, if the model was called with `output_masks=False`.

        Returns:
            Logits of the kept masks, best first, their scores, and their indices among all masks of the image.

        Raises:
            ValueError: A threshold is NaN or infinite.

        Shape: logits (n, h, w), scores (n,), indices (n,).
        """
        scores = outputs.iou_scores[index].flatten().float()
        threshold = self.score_threshold if score_threshold is None else score_threshold
        limits = (
            self.iou_threshold if iou_threshold is None else iou_threshold,
            self.cover_threshold if cover_threshold is None else cover_threshold,
        )
        for name, value in zip(("score_threshold", "iou_threshold", "cover_threshold"), (threshold, *limits)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a number, got {value}.")
        indices = (scores >= threshold).nonzero().flatten()
        masks = outputs.get("masks_queries_logits")
        if masks is None:
            masks = outputs.get("pred_masks")
        if masks is not None:
            logits = masks[index].flatten(0, -3)[indices].float()
        else:
            embeddings = outputs.mask_embeddings[index].flatten(0, -2)[indices].float()
            pixels = outputs.pixel_embedding[index].float()
            logits = (embeddings @ pixels.flatten(1)).unflatten(-1, pixels.shape[-2:])
        doubled = torch.empty(
            (len(logits), 2 * logits.shape[-2], 2 * logits.shape[-1]), dtype=torch.bool, device=logits.device
        )
        for start in range(0, len(logits), MASKS_AT_ONCE):
            part = logits[None, start : start + MASKS_AT_ONCE]
            fine = F.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)
            torch.gt(fine[0], 0, out=doubled[start : start + MASKS_AT_ONCE])
        kept = postprocess.mask_nms(
            doubled,
            scores[indices],
            *limits,
            self.nms_rule if nms_rule is None else nms_rule,
        )
        return logits[kept], scores[indices][kept], indices[kept]

    @torch.no_grad()
    def post_process_mask_generation(
        self,
        outputs: Any,
        original_sizes: Sizes,
        score_threshold: float | None = None,
        nms_rule: str | None = None,
        iou_threshold: float | None = None,
        cover_threshold: float | None = None,
        stability_threshold: float | None = None,
        mask_threshold: float = 0.0,
        min_area: int | None = None,
    ) -> list[dict[str, Any]]:
        """Class-agnostic masks of whole images from the masks of a grid of points.

        Args:
            outputs: model output.
            original_sizes: (height, width) of each original image.
            score_threshold, nms_rule, iou_threshold, cover_threshold, stability_threshold, min_area: default: the
                processor's.
            mask_threshold: smallest logit, exclusive, of a pixel inside.

        Returns:
            Per image `masks` (n, H, W) bool, `scores` (n,), `indices` (n,) among all masks of the image (prompt times
            M plus granularity), best first. n may be 0.

        Raises:
            ValueError: if the number of sizes is not that of images, or the rule is unknown.
        """
        sizes = as_sizes(original_sizes, len(outputs.iou_scores), "original_sizes")
        stability_threshold = self.stability_threshold if stability_threshold is None else stability_threshold
        min_area = self.min_area if min_area is None else min_area
        results = []
        for index, size in enumerate(sizes):
            logits, scores, indices = self.select_masks(
                outputs, index, score_threshold, nms_rule, iou_threshold, cover_threshold
            )
            geometry = self.geometry(logits.shape, [size])

            if stability_threshold is not None and len(logits):
                strict, loose = (_above(logits, level, geometry).flatten(1).sum(1) for level in (0.6, 0.4))
                stable = strict / loose > stability_threshold
                logits, scores, indices = logits[stable], scores[stable], indices[stable]
            masks = _above(logits, mask_threshold, geometry)
            if min_area and len(masks):
                masks = torch.from_numpy(postprocess.clean_small_regions(masks.cpu().numpy(), min_area))
            results.append({"masks": masks, "scores": scores, "indices": indices})
        return results

    def _survivors(self, outputs: Any, index: int, **thresholds: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Mask logits (1, n, h, w), class logits with a void class (1, n, V + 1) and scores (1, n) of one image."""
        if outputs.get("class_queries_logits") is None:
            raise ValueError("The outputs have no class_queries_logits: call the model with input_ids or text_embeds.")
        logits, scores, indices = self.select_masks(outputs, index, **thresholds)
        classes = outputs.class_queries_logits[index, indices].float()
        void = classes.new_full((len(classes), 1), -torch.inf)  # there is none: its probability is zero
        return logits[None], torch.cat((classes, void), dim=-1)[None], scores[None]

    def _open_sizes(self, outputs: Any, target_sizes: Any) -> list[tuple[int, int]]:
        count = len(outputs.iou_scores)
        if target_sizes is not None:
            return as_sizes(target_sizes, count, "target_sizes")
        pixels = outputs.masks_queries_logits if outputs.get("pixel_embedding") is None else outputs.pixel_embedding
        return [(pixels.shape[-2] * self.mask_stride, pixels.shape[-1] * self.mask_stride)] * count

    @torch.no_grad()
    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sizes | None = None,
        return_segmentation_scores: bool = False,
        **thresholds: Any,
    ) -> list[Any]:
        """Class map per image: argmax of the sum over kept masks of class probability times mask probability.

        Args:
            outputs: open-vocabulary output.
            target_sizes: (height, width) of each original image. Default: results at the padded size.
            return_segmentation_scores: whether to return `{"segmentation", "segmentation_scores"}` per image.
            **thresholds: see `select_masks`.

        Shape: maps (H, W) int64, scores (V, H, W) float32. Without any mask a map is `ignore_index` throughout.

        Raises:
            ValueError: if the number of sizes is not that of images, or the model saw no texts.
        """
        results = []
        for index, size in enumerate(self._open_sizes(outputs, target_sizes)):
            logits, classes, _ = self._survivors(outputs, index, **thresholds)
            if logits.shape[1]:
                maps, scores = postprocess.semantic_segmentation(
                    classes, logits, return_scores=return_segmentation_scores, **self.geometry(logits.shape, [size])
                )
                label_map, class_scores = maps[0], scores[0] if scores else None
            else:
                label_map = torch.full(size, self.ignore_index, dtype=torch.int64, device=logits.device)
                class_scores = torch.zeros((classes.shape[-1] - 1, *size), device=logits.device)
            results.append(
                SemanticSegmentationPostProcessorOutput(
                    data={"segmentation": label_map, "segmentation_scores": class_scores}
                )
                if return_segmentation_scores
                else label_map
            )
        return results

    @torch.no_grad()
    def post_process_panoptic_segmentation(
        self,
        outputs: Any,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        target_sizes: Sizes | None = None,
        **thresholds: Any,
    ) -> list[SegmentationResult]:
        """Panoptic segments per image, see `hfseg.postprocess.panoptic_segmentation`.

        Pixels go to the mask with the largest class probability times predicted quality times mask probability.

        Args:
            outputs: open-vocabulary output.
            threshold: smallest class probability; default: the processor's, 0.7.
            mask_threshold: smallest mask probability; default: the processor's, 0.5.
            overlap_mask_area_threshold: smallest visible part of a mask; default: the processor's, 0.4.
            label_ids_to_fuse: stuff classes, one segment each; default: the processor's.
            target_sizes: (height, width) of each original image.
            **thresholds: see `select_masks`.

        Raises:
            ValueError: if the number of sizes is not that of images, or the model saw no texts.
        """
        results = []
        for index, size in enumerate(self._open_sizes(outputs, target_sizes)):
            logits, classes, scores = self._survivors(outputs, index, **thresholds)
            segmentation, segments = postprocess.panoptic_segmentation(
                classes,
                logits,
                threshold=self.threshold if threshold is None else threshold,
                mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
                overlap_mask_area_threshold=(
                    self.overlap_mask_area_threshold
                    if overlap_mask_area_threshold is None
                    else overlap_mask_area_threshold
                ),
                label_ids_to_fuse=self.label_ids_to_fuse or () if label_ids_to_fuse is None else label_ids_to_fuse,
                query_scores=scores,
                **self.geometry(logits.shape, [size]),
            )[0]
            results.append(SegmentationResult(segmentation, segments))
        return results

    @torch.no_grad()
    def post_process_instance_segmentation(
        self,
        outputs: Any,
        threshold: float = 0.0,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        target_sizes: Sizes | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        **thresholds: Any,
    ) -> list[SegmentationResult]:
        """Kept masks with their best class, best first; they may overlap.

        The score is class probability times predicted quality times mean mask probability inside.

        Args:
            outputs: open-vocabulary output.
            threshold: smallest score.
            mask_threshold: mask probability above which a pixel is inside; default: the processor's, 0.5.
            overlap_mask_area_threshold: accepted because pipelines pass it; instances may overlap.
            target_sizes: (height, width) of each original image.
            label_ids_to_fuse: stuff classes, which are left out; default: the processor's.
            **thresholds: see `select_masks`.

        Raises:
            ValueError: if the number of sizes is not that of images, or the model saw no texts.
        """
        results = []
        for index, size in enumerate(self._open_sizes(outputs, target_sizes)):
            logits, classes, scores = self._survivors(outputs, index, **thresholds)
            if not logits.shape[1]:
                results.append(SegmentationResult(torch.zeros(size, dtype=torch.int32, device=logits.device), []))
                continue
            best = classes.softmax(-1).max(-1)
            only = torch.full_like(classes, -torch.inf).scatter(-1, best.indices[..., None], 0.0)
            instances = postprocess.instance_segmentation(
                only,
                logits,
                threshold=threshold,
                mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
                num_instances=logits.shape[1],
                stuff_label_ids=self.label_ids_to_fuse or () if label_ids_to_fuse is None else label_ids_to_fuse,
                query_scores=scores * best.values,
                **self.geometry(logits.shape, [size]),
            )[0]
            columns = (instances.label_ids.tolist(), instances.scores.tolist(), instances.areas.tolist())
            segments = [
                {"id": position, "label_id": label, "was_fused": False, "score": score, "area": area}
                for position, (label, score, area) in enumerate(zip(*columns), start=1)
            ]
            results.append(
                SegmentationResult(instances.segmentation, segments, instances.packed_masks, instances.mask_indices)
            )
        return results


__all__ = ["MaskGenerationProcessing"]
