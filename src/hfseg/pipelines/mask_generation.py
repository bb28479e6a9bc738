# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("mask-generation")` for hfseg's models; for every other model it is transformers' pipeline unchanged.

What differs for a model whose image processor sets `owns_postprocessing_defaults`: duplicates are removed by their
masks instead of their boxes, masks below the score threshold are never made, thresholds that the caller does not give
are the processor's own, and prompts (points or boxes) may be given instead of the automatic grid.
"""

from collections.abc import Iterator
from typing import Any

import torch
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.mask_generation import MaskGenerationPipeline

from ..inference.zoomed_prompts import masks_of_boxes, masks_of_points
from ..results.segmentation_result import encode_run_lengths
from .inputs import OneByOne, read_image

__all__ = ["HfsegMaskGenerationPipeline", "register"]

TASK = "mask-generation"
PROMPTS = ("input_points", "input_labels", "input_boxes")
ZOOMS = {"input_boxes": "box_zoom", "input_points": "point_zoom"}
FORWARD = ("points_per_side", "points_per_batch")
# What transformers calls a threshold, and what hfseg does.
THRESHOLDS = {
    "pred_iou_thresh": "score_threshold",
    "stability_score_thresh": "stability_threshold",
    "score_threshold": "score_threshold",
    "stability_threshold": "stability_threshold",
    "mask_threshold": "mask_threshold",
    "nms_rule": "nms_rule",
    "iou_threshold": "iou_threshold",
    "cover_threshold": "cover_threshold",
    "min_area": "min_area",
}


class HfsegMaskGenerationPipeline(OneByOne, MaskGenerationPipeline):
    """Mask generation: `{"masks": [...], "scores": tensor}` per image.

    Every mask is a boolean array (H, W) of the image's size with one score, whatever the prompts: of a grid the masks
    that are left, best first; of points and boxes one mask per prompt, in their order, the one that the model trusts
    most. With `multimask_output=True` a prompt gives all its M masks (of a point: from part to whole), one after
    another, and mask i is of prompt i // M.

    Called like `transformers.MaskGenerationPipeline`. For hfseg's models:

        pipe(image)                                        # a grid of points over the whole image
        pipe(image, points_per_side=32, score_threshold=0.7)
        pipe(image, input_points=[[x, y], ...])            # one mask per point
        pipe(image, input_boxes=[[x0, y0, x1, y1], ...])
        pipe(image, input_boxes=[[x0, y0, x1, y1], ...], box_zoom=3.0)   # from the part around each box
        pipe(image, input_points=[[x, y], ...], point_zoom=32)   # from parts of 32, 64, ... pixels around each point

    Prompts are in pixels of the image. Further arguments: `input_labels`, `nms_rule`, `iou_threshold`,
    `cover_threshold`, `stability_threshold`, `min_area`, `mask_threshold`, `points_per_batch` (memory only), and
    `output_rle_mask=True` for `rle_mask`, COCO run lengths. `box_zoom` (default: the processor's) is the side of the
    part of the image that the network sees of a box, in the box's longer sides; None: the whole image. `point_zoom` is
    the side of the smallest part around a point, in pixels.
    """

    image_processor: Any
    _load_video_processor: Any = False

    @property
    def _is_ours(self) -> bool:
        return getattr(self.image_processor, "owns_postprocessing_defaults", False)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        if not self._is_ours:
            return super()._sanitize_parameters(**kwargs)
        legal = {*PROMPTS, *FORWARD, *THRESHOLDS, "output_rle_mask", "multimask_output", "timeout", *ZOOMS.values()}
        unknown = sorted(set(kwargs) - legal)
        if unknown:
            raise ValueError(f"Unknown argument(s) {', '.join(unknown)}; must be one of {', '.join(sorted(legal))}.")
        for name in FORWARD:
            if kwargs.get(name) is not None and kwargs[name] < 1:
                raise ValueError(f"{name}={kwargs[name]}: give 1 or more.")
        postprocess = {THRESHOLDS[name]: kwargs[name] for name in THRESHOLDS if kwargs.get(name) is not None}
        postprocess |= {name: kwargs[name] for name in ("output_rle_mask", "multimask_output") if name in kwargs}
        return (
            {name: kwargs[name] for name in (*PROMPTS, "timeout") if kwargs.get(name) is not None}
            | {name: kwargs[name] for name in ZOOMS.values() if name in kwargs},
            {name: kwargs[name] for name in FORWARD if kwargs.get(name) is not None},
            postprocess,
        )

    def preprocess(self, image: Any, timeout: float | None = None, **kwargs: Any) -> Iterator[Any]:
        if not self._is_ours:
            yield from super().preprocess(image, timeout=timeout, **kwargs)
            return
        image = read_image(image, timeout)
        given = {name: kwargs.pop(name) for name in ZOOMS.values() if name in kwargs}
        for prompts, name in ZOOMS.items():
            zoom = given.get(name, getattr(self.image_processor, name, None))
            if prompts not in kwargs and given.get(name) is not None:
                raise ValueError(f"{name} was given without {prompts}, whose surroundings it cuts out.")
            if prompts in kwargs and zoom is not None:
                size = [(image.height, image.width)]
                self.image_processor.scale_prompts(size, size, **kwargs)  # checks prompts that contradict each other
                yield {"image": image, "zoomed": prompts, "zoom": zoom, **kwargs, "is_last": True}
                return
        inputs = self.image_processor(images=[image], return_tensors="pt", **kwargs)
        # Coordinates stay float32: in half precision they would be off by pixels.
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        yield {**inputs, "is_last": True}

    def _forward(self, model_inputs: Any, **kwargs: Any) -> Any:
        if not self._is_ours:
            return super()._forward(model_inputs, **kwargs)
        is_last = model_inputs.pop("is_last")
        if "zoomed" in model_inputs:
            return {**model_inputs, "is_last": is_last}
        prompted = any(name in model_inputs for name in PROMPTS)
        outputs = self.model(
            **model_inputs,
            output_masks=prompted,
            points_per_side=kwargs.get("points_per_side"),
            prompt_chunk_size=kwargs.get("points_per_batch"),
        )
        sizes = model_inputs["original_sizes"]
        return {"outputs": outputs, "original_sizes": sizes, "prompted": prompted, "is_last": is_last}

    def postprocess(
        self, model_outputs: Any, output_rle_mask: bool = False, multimask_output: bool = False, **kwargs: Any
    ) -> Any:
        if not self._is_ours:
            return super().postprocess(model_outputs, output_rle_mask=output_rle_mask, **kwargs)
        (result,) = model_outputs
        if "zoomed" in result:
            return self._zoomed(result, output_rle_mask, multimask_output, kwargs.get("mask_threshold", 0.0))
        outputs, sizes = result["outputs"], result["original_sizes"]
        if result["prompted"]:
            threshold = kwargs.get("mask_threshold", 0.0)
            scores, logits = outputs.iou_scores[0], outputs.pred_masks[:1]  # (Q, M), (1, Q, M, h, w)
            if not multimask_output:
                best = scores.argmax(1, keepdim=True)
                scores = scores.gather(1, best)
                logits = logits.gather(2, best[None, :, :, None, None].expand(-1, -1, -1, *logits.shape[-2:]))
            masks = self.image_processor.post_process_masks(logits, sizes, mask_threshold=threshold)[0].flatten(0, 1)
            scores = scores.flatten()
        else:
            generated = self.image_processor.post_process_mask_generation(outputs, sizes, **kwargs)[0]
            masks, scores = generated["masks"], generated["scores"]
        return self._answer(list(masks.cpu().numpy()), scores.float().cpu(), output_rle_mask)

    def _zoomed(self, asked: Any, output_rle_mask: bool, multimask_output: bool, mask_threshold: float) -> Any:
        """Masks of prompts from the parts around them: one by one, as all of them need not fit into memory."""
        masks, trust = [], []
        prompts = asked["zoomed"]
        given: dict[str, Any] = {"mask_threshold": mask_threshold, "dtype": self.dtype}
        if prompts == "input_points":
            given["labels"] = asked.get("input_labels")
        masks_of = masks_of_points if prompts == "input_points" else masks_of_boxes
        with self.device_placement():
            for found, scores in masks_of(
                self.model, self.image_processor, asked["image"], asked[prompts], asked["zoom"], **given
            ):
                count = len(scores) if multimask_output else 1
                masks += list(found[:count])
                trust += scores[:count].tolist()
        return self._answer(masks, torch.tensor(trust), output_rle_mask)

    @staticmethod
    def _answer(masks: list[Any], scores: torch.Tensor, output_rle_mask: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"masks": masks, "scores": scores}
        if output_rle_mask:
            answer["rle_mask"] = [encode_run_lengths(mask) for mask in masks]
        return answer


def register() -> None:
    """Puts the pipeline in the place of transformers' own for the task. Calling it again is harmless."""
    PIPELINE_REGISTRY.supported_tasks[TASK]["impl"] = HfsegMaskGenerationPipeline
