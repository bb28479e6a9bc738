# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("image-segmentation")` for hfseg's models; for every other model it is transformers' pipeline unchanged.

What differs for a model whose image processor sets `owns_postprocessing_defaults`:

- thresholds that the caller does not give are the processor's own (transformers insists on 0.9 / 0.5 / 0.5);
- batches may hold images of different sizes, and give exactly what single images give: images of one padded size run
  together, others apart (padding them to a common size would change results, because these models see padding);
- masks come from one id map, and instance masks may overlap; instances of low scores are left out (below 0.5, or the
  processor's `instance_threshold` or changed `threshold`; `threshold=0` gives all);
- files are read by `hfseg.files.images.load_image` (full verification, a limit on pixels, 16-bit images).
"""

from collections.abc import Sized
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.image_segmentation import ImageSegmentationPipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator
from transformers.utils import ModelOutput

from ..files.images import load_image
from ..results.segment_list import SegmentList
from ..results.segmentation_result import SegmentationResult
from .inputs import in_usable_dtype, read_image, refuse_nothing

__all__ = ["HfsegImageSegmentationPipeline", "register"]

TASK = "image-segmentation"


class HfsegImageSegmentationPipeline(ImageSegmentationPipeline):
    """Image segmentation pipeline: `[{"score", "label", "mask"}]` per image, masks as PIL images ("L", 0 or 255).

    Called like `transformers.ImageSegmentationPipeline`: `pipe(image_or_images, subtask=..., threshold=...,
    mask_threshold=..., overlap_mask_area_threshold=..., batch_size=..., num_workers=...)`. Images are paths, addresses,
    PIL images, arrays or tensors, one, a list or a generator. Masks are drawn when they are looked at; the attribute
    `result` of the list is the compact `SegmentationResult`.

    With `subtask="semantic"`, `tta={"scales": (0.5, 1.0, 1.5), "flip": True}` averages class probabilities over these
    sizes of the network input and their mirror images.
    """

    # Segmentation needs none; looking for one would ask for trust in the remote-code entry of the image processor.
    _load_video_processor: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._is_ours:
            in_usable_dtype(self.model)

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:
        """Segments; see the class.

        Raises:
            ValueError: For an empty list of images.
        """
        refuse_nothing(inputs)
        return super().__call__(inputs, **kwargs)

    def check_model_type(self, supported_models: Any) -> None:
        """Lets models of hfseg pass, which transformers' table of names cannot know; logs an error for others."""
        if not self._is_ours:
            super().check_model_type(supported_models)

    @property
    def _is_ours(self) -> bool:
        return getattr(self.image_processor, "owns_postprocessing_defaults", False)

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        tta = kwargs.pop("tta", None)
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        if tta is None:
            return preprocess, forward, postprocess
        unknown = sorted(set(tta) - {"scales", "flip"})
        if not self._is_ours or unknown or kwargs.get("subtask") not in (None, "semantic"):
            raise ValueError(
                f"tta={tta!r} takes scales and flip, and averages scores of classes per pixel: use it with a model of "
                'hfseg and subtask="semantic".'
            )
        return {**preprocess, "as_image": True}, {**forward, "tta": dict(tta)}, {**postprocess, "subtask": "semantic"}

    def preprocess(
        self, image: Any, subtask: str | None = None, timeout: float | None = None, as_image: bool = False
    ) -> Any:
        if not self._is_ours:
            return super().preprocess(image, subtask=subtask, timeout=timeout)
        image = read_image(image, timeout, getattr(self.image_processor, "load_image", load_image))
        if as_image:  # every view of it is prepared apart
            return {"image": [image], "target_size": [(image.height, image.width)]}
        inputs = self.image_processor(images=[image], return_tensors="pt").to(self.dtype)
        inputs["target_size"] = [(image.height, image.width)]
        return inputs

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Any:
        if not self._is_ours or batch_size == 1:
            return super().get_iterator(
                inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params
            )
        if isinstance(inputs, Sized):
            dataset: Any = PipelineDataset(inputs, self.preprocess, preprocess_params)
        else:
            # A stream cannot be read by several workers at once without repeating items.
            dataset, num_workers = PipelineIterator(inputs, self.preprocess, preprocess_params), min(num_workers, 1)
        loader = DataLoader(dataset, num_workers=num_workers, batch_size=batch_size, collate_fn=_collate)
        outputs = PipelineIterator(loader, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)

    def _augmented(self, model_inputs: Any, tta: dict[str, Any]) -> Any:
        """Class scores of each image, averaged over views."""
        from ..inference.augmentation import augmented_scores

        def predict(pixel_values: torch.Tensor) -> Any:
            return self.model(pixel_values=pixel_values.to(self.device, self.dtype))

        settings: dict[str, Any] = {"scales": tta.get("scales") or (1.0,), "flip": bool(tta.get("flip", False))}
        images = [image[0] if isinstance(image, list) else image for image in model_inputs["image"]]
        scores = [augmented_scores(image, predict, self.image_processor, **settings) for image in images]
        return ModelOutput(class_scores=scores, target_size=model_inputs["target_size"])

    def _forward(self, model_inputs: Any, tta: dict[str, Any] | None = None) -> Any:
        if tta is not None:
            return self._augmented(model_inputs, tta)
        if not isinstance(model_inputs.get("pixel_values"), list):
            return super()._forward(model_inputs)
        # A list per key, as `_collate` leaves it.
        target_size = model_inputs.pop("target_size")
        images = model_inputs["pixel_values"]
        positions_by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            positions_by_shape.setdefault(tuple(image.shape), []).append(position)
        collected: dict[str, list[Any]] = {}
        for positions in positions_by_shape.values():
            group = {
                name: torch.cat([values[position] for position in positions]) for name, values in model_inputs.items()
            }
            for name, value in self.model(**group).items():
                # Post-processing reads per-image tensors only; hidden states and the like stay behind.
                if isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) == len(positions):
                    per_image = collected.setdefault(name, [None] * len(images))
                    for position, row in zip(positions, value):
                        per_image[position] = row
        return ModelOutput({**collected, "target_size": target_size})

    def postprocess(
        self,
        model_outputs: Any,
        subtask: str | None = None,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        options = {
            "threshold": threshold,
            "mask_threshold": mask_threshold,
            "overlap_mask_area_threshold": overlap_mask_area_threshold,
        }
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if not self._is_ours:
            return super().postprocess(model_outputs, subtask=subtask, **given)

        if "class_scores" in model_outputs:
            (scores,) = model_outputs["class_scores"]
            names: Any = self.model.config.id2label
            return SegmentList(SegmentationResult.from_class_map(scores.argmax(0), names))
        tasks = ("panoptic", "instance", "semantic") if subtask is None else (subtask,)
        # A processor may serve models with and without queries; segments come from queries only.
        possible = tasks if "masks_queries_logits" in model_outputs else {"semantic"} & set(tasks)
        supported = [task for task in possible if hasattr(self.image_processor, f"post_process_{task}_segmentation")]
        if not supported:
            raise ValueError(
                f"Subtask {subtask!r} is not supported by {type(self.model).__name__}; choose 'panoptic', 'instance' "
                "or 'semantic', whichever its image processor and its outputs offer."
            )
        task = supported[0]
        method = getattr(self.image_processor, f"post_process_{task}_segmentation")
        id2label: Any = self.model.config.id2label
        target_sizes = model_outputs["target_size"]
        if task == "semantic":
            return SegmentList(
                SegmentationResult.from_class_map(method(model_outputs, target_sizes=target_sizes)[0], id2label)
            )
        if task == "instance":
            # Evaluation wants all instances; people want those that the model is sure of.
            processor: Any = self.image_processor
            given.setdefault("threshold", processor.shown_threshold())
        stuff = getattr(self.model.config, "stuff_class_ids", None)
        if stuff is not None:  # the model knows its classes; a processor may come from another one
            given["label_ids_to_fuse"] = list(stuff)
        if getattr(self.model.config, "query_selection", None) == "pixels":  # as the model's own outputs say
            model_outputs["num_learned_queries"] = self.model.config.num_learned_queries
        result: SegmentationResult = method(model_outputs, target_sizes=target_sizes, **given)[0]
        for segment in result.segments_info:
            segment["label"] = id2label[segment["label_id"]]
        return SegmentList(result.cpu())


def _collate(items: list[Any]) -> dict[str, list[Any]]:
    """Keeps a batch as a list per key: sizes differ, and the model runs once per size."""
    return {name: [item[name] for item in items] for name in items[0]}


def register() -> None:
    """Puts the pipeline in the place of transformers' own for the task "image-segmentation".

    Only the class is exchanged: model classes and the default model of the task stay. Calling it again is harmless.
    """
    PIPELINE_REGISTRY.supported_tasks[TASK]["impl"] = HfsegImageSegmentationPipeline
