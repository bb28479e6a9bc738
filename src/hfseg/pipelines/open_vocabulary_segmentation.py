# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("open-vocabulary-segmentation")`: segments of classes that are given by their names."""

import inspect
import json
from collections import OrderedDict
from typing import Any

import torch
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline

from ..files.tokenizers import check_vocabulary
from ..inference.vocabulary_inputs import vocabulary_inputs
from ..results.segment_list import SegmentList
from ..results.segmentation_result import SegmentationResult
from .auto_models import AutoModelForOpenVocabularySegmentation
from .inputs import OneByOne, read_image

__all__ = ["OpenVocabularySegmentationPipeline", "register"]

TASK = "open-vocabulary-segmentation"
SUBTASKS = ("panoptic", "semantic", "instance")
# Sets of classes whose text embeddings are kept.
CACHED_VOCABULARIES = 16
FORWARD = ("points_per_side", "points_per_batch", "candidate_labels", "templates")
MASK_SELECTION = ("score_threshold", "nms_rule", "iou_threshold", "cover_threshold")
POSTPROCESS = ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold", *MASK_SELECTION, "stuff_labels")


class OpenVocabularySegmentationPipeline(OneByOne, Pipeline):
    """Segments an image into classes given by their names.

        pipe = pipeline("open-vocabulary-segmentation", model=folder)
        pipe("street.jpg", candidate_labels=["car", "road", "person, pedestrian"])
        pipe(images, candidate_labels={"vehicle": ["car", "bus"], "road": ["road"]}, subtask="semantic")

    Returns, per image, a list of `{"label", "score", "mask"}`: PIL masks ("L", 0 or 255) of the image's size, drawn
    when they are looked at; its attribute `result` is the compact `SegmentationResult`. The score is None for
    `subtask="semantic"`. Nothing found is an empty list. A set of classes is embedded once and kept for later images.
    Images are paths, addresses, PIL images, arrays or tensors, one, a list or a generator.

    Arguments: `candidate_labels`, a list of names (synonyms separated by commas) or `{class: [names]}`; `subtask`,
    "panoptic" (default), "semantic" or "instance"; `templates`, sentences around names, "vild" (default), "simple",
    "imagenet", "imagenet_vild" or a list with places {}; `stuff_labels`, classes that are one segment in "panoptic" and
    left out in "instance"; thresholds of the image processor; of models that look at points also `points_per_side` and
    `points_per_batch` of the grid, and what selects among its masks.
    """

    processor: Any
    _load_processor: Any = True
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False
    _load_video_processor: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._vocabularies: OrderedDict[str, Any] = OrderedDict()
        super().__init__(*args, **kwargs)
        check_vocabulary(self.processor.tokenizer, self.model.config.text_config, type(self.model).__name__)

    def __call__(self, images: Any = None, candidate_labels: Any = None, **kwargs: Any) -> Any:
        """Segments; see the class.

        Raises:
            ValueError: For missing, empty or repeated labels, unknown subtasks, templates or arguments.
        """
        if "image" in kwargs:
            images = kwargs.pop("image")
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        return super().__call__(images, **kwargs)

    def _sanitize_parameters(self, timeout: float | None = None, **kwargs: Any) -> tuple[dict, dict, dict]:
        unknown = sorted(set(kwargs) - {*FORWARD, *POSTPROCESS})
        if unknown:
            raise ValueError(
                f"Unknown argument(s) {', '.join(unknown)}; must be one of "
                f"{', '.join(sorted((*FORWARD, *POSTPROCESS)))}."
            )
        subtask = kwargs.get("subtask")
        if subtask is not None and subtask not in SUBTASKS:
            raise ValueError(f"subtask={subtask!r} is not known: choose one of {', '.join(SUBTASKS)}.")
        return (
            {} if timeout is None else {"timeout": timeout},
            {name: kwargs[name] for name in FORWARD if kwargs.get(name) is not None},
            {name: kwargs[name] for name in POSTPROCESS if kwargs.get(name) is not None},
        )

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:
        image = read_image(image, timeout)
        inputs = self.processor.image_processor(images=[image], return_tensors="pt")
        sizes = torch.tensor([[image.height, image.width]])
        return {"pixel_values": inputs["pixel_values"].to(self.dtype), "original_sizes": sizes}

    def vocabulary(self, candidate_labels: Any, templates: Any = "vild") -> Any:
        """Embeds a set of classes, or returns what was kept of it: classes and embeddings."""
        if candidate_labels is None:
            raise ValueError("candidate_labels is missing: give the names of the classes to look for.")
        ordered = list(candidate_labels.items()) if isinstance(candidate_labels, dict) else candidate_labels
        key = json.dumps([ordered, templates], default=str)
        if key not in self._vocabularies:
            self._vocabularies[key] = self.processor.embed_labels(self.model, candidate_labels, templates)
            while len(self._vocabularies) > CACHED_VOCABULARIES:
                self._vocabularies.popitem(last=False)
        self._vocabularies.move_to_end(key)
        return self._vocabularies[key]

    def _forward(
        self,
        model_inputs: dict[str, Any],
        candidate_labels: Any = None,
        templates: Any = "vild",
        points_per_side: int | None = None,
        points_per_batch: int | None = None,
    ) -> dict[str, Any]:
        classes, text_embeds = self.vocabulary(candidate_labels, templates)
        grid: dict[str, Any] = {"points_per_side": points_per_side, "prompt_chunk_size": points_per_batch}
        outputs = self.model(**vocabulary_inputs(self.model, **model_inputs, text_embeds=text_embeds, **grid))
        return {"outputs": outputs, "labels": list(classes.labels), "original_sizes": model_inputs["original_sizes"]}

    def postprocess(
        self, model_outputs: dict[str, Any], subtask: str = "panoptic", stuff_labels: Any = (), **thresholds: Any
    ) -> list[dict[str, Any]]:
        labels, image_processor = model_outputs["labels"], self.processor.image_processor
        missing = [label for label in stuff_labels if label not in labels]
        if missing:
            raise ValueError(f"stuff_labels names {missing}, which candidate_labels lacks.")
        method = getattr(image_processor, f"post_process_{subtask}_segmentation")
        sizes = model_outputs["original_sizes"]
        taken = inspect.signature(method).parameters
        foreign = [name for name in thresholds if name in MASK_SELECTION and name not in taken]
        if foreign and "thresholds" not in taken:
            raise ValueError(f"{foreign[0]} selects among masks of points, and {type(self.model).__name__} has none.")
        if subtask == "semantic":
            for name in ("threshold", "mask_threshold", "overlap_mask_area_threshold"):
                thresholds.pop(name, None)
            label_map = method(model_outputs["outputs"], target_sizes=sizes, **thresholds)[0]
            return SegmentList(SegmentationResult.from_class_map(label_map, dict(enumerate(labels))))
        if subtask == "instance":
            thresholds.setdefault("threshold", image_processor.shown_threshold())
        stuff = {labels.index(label) for label in stuff_labels}
        result = method(model_outputs["outputs"], target_sizes=sizes, label_ids_to_fuse=stuff, **thresholds)[0]
        for segment in result.segments_info:
            segment["label"] = labels[segment["label_id"]]
        return SegmentList(result.cpu())


def register() -> None:
    """Adds the task to `pipeline()`. Calling it again is harmless."""
    if TASK in PIPELINE_REGISTRY.get_supported_tasks():
        return
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=OpenVocabularySegmentationPipeline,
        pt_model=AutoModelForOpenVocabularySegmentation,
        type="multimodal",
    )
