# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("referring-image-segmentation")`: masks of what expressions refer to."""

from typing import Any, Protocol, cast

import torch
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline

from ..files.tokenizers import check_vocabulary
from ..results.segment_list import SegmentList
from ..results.segmentation_result import SegmentationResult
from .auto_models import AutoModelForReferringImageSegmentation
from .inputs import OneByOne, is_stream, read_image

__all__ = ["ReferringImageSegmentationPipeline", "register"]

TASK = "referring-image-segmentation"


class EncodesImages(Protocol):
    """Models that read an image once for many expressions."""

    def encode_image(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes what all expressions share."""
        ...


class ReferringImageSegmentationPipeline(OneByOne, Pipeline):
    """Segments in an image what each expression refers to.

    The image is encoded once, however many expressions there are; expressions run in batches.

        pipe = pipeline("referring-image-segmentation", model=folder)
        pipe("street.jpg", text="the man in the yellow vest")
        pipe(["a.jpg", "b.jpg"], text=[["the dog", "the cat"], ["the bus"]])

    Returns (of a call): for one image a list with one entry per expression, for a list of images a list of these:

    - `label`: the expression;
    - `score`: mean probability inside the mask, 0 for an empty one. It says how sure the model is of the pixels that it
      marks, not that the referent is there;
    - `mask`: PIL image ("L", 0 or 255) of the image's size, drawn when it is looked at;
    - `logits`: with `return_logits=True`, the model's logits, a tensor (h, w).
    """

    _load_processor: Any = True
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False
    _load_video_processor: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tokenizer = cast(Any, self.processor).tokenizer
        check_vocabulary(tokenizer, self.model.config.text_config, type(self.model).__name__)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """Segments.

        Args:
            images: Path, address, PIL image, array or tensor, a list or a generator of them; or dicts
                `{"image", "text"}`.
            text: An expression or a list of them, for every image; for a list of images also one entry per image
                if they are lists themselves.
            threshold: Smallest probability of a pixel of the mask; default: the processor's.
            return_logits: See above.
            expressions_per_batch: Expressions that run at once; fewer need less memory.

        Raises:
            ValueError, TypeError: For missing, empty or non-string expressions, and numbers that differ.
        """
        if "image" in kwargs:
            images = kwargs.pop("image")
        if text is None:
            return super().__call__(images, **kwargs)
        if is_stream(images):
            return super().__call__(({"image": image, "text": text} for image in images), **kwargs)
        if not isinstance(images, (list, tuple)):
            return super().__call__({"image": images, "text": text}, **kwargs)
        texts = [text] * len(images)
        if isinstance(text, (list, tuple)) and any(isinstance(one, (list, tuple)) for one in text):
            if len(text) != len(images):
                raise ValueError(
                    f"There are {len(images)} image(s) and {len(text)} list(s) of expressions; give one per image."
                )
            texts = list(text)
        items = [{"image": image, "text": one} for image, one in zip(images, texts)]
        return super().__call__(items, **kwargs)

    def _sanitize_parameters(
        self,
        threshold: float | None = None,
        return_logits: bool | None = None,
        expressions_per_batch: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> tuple[dict, dict, dict]:
        if expressions_per_batch is not None and expressions_per_batch < 1:
            raise ValueError(f"expressions_per_batch={expressions_per_batch}; give 1 or more.")
        if kwargs:
            raise ValueError(
                f"Unknown argument(s) {', '.join(sorted(kwargs))}; must be one of threshold, return_logits, "
                "expressions_per_batch, timeout and batch_size."
            )
        given = {"threshold": threshold, "return_logits": return_logits}
        return (
            {} if timeout is None else {"timeout": timeout},
            {} if expressions_per_batch is None else {"expressions_per_batch": expressions_per_batch},
            {name: value for name, value in given.items() if value is not None},
        )

    def preprocess(self, inputs: Any, timeout: float | None = None) -> dict[str, Any]:
        if not isinstance(inputs, dict) or "image" not in inputs or inputs.get("text") is None:
            raise ValueError(
                "Each input needs an image and an expression: pipe(image, text='the ...'), or dicts with 'image' and "
                "'text'."
            )
        image, text = inputs["image"], inputs["text"]
        expressions = [text] if isinstance(text, str) or not isinstance(text, (list, tuple)) else list(text)
        if not expressions:
            raise ValueError("The list of expressions is empty; give at least one.")
        image = read_image(image, timeout)
        prepared = self.processor(images=[image], text=[expressions], return_tensors="pt")
        return {
            "pixel_values": prepared["pixel_values"].to(self.dtype),
            "input_ids": prepared["input_ids"],
            "original_size": (image.height, image.width),
            "expressions": expressions,
        }

    def _forward(self, model_inputs: dict[str, Any], expressions_per_batch: int = 16) -> dict[str, Any]:
        features = cast(EncodesImages, self.model).encode_image(model_inputs["pixel_values"])
        logits = [
            self.model(input_ids=ids, image_features=features).logits
            for ids in model_inputs["input_ids"].split(expressions_per_batch, dim=1)
        ]
        kept = {name: model_inputs[name] for name in ("original_size", "expressions")}
        return {"logits": torch.cat(logits, dim=1), **kept}

    def postprocess(
        self, model_outputs: dict[str, Any], threshold: float | None = None, return_logits: bool = False
    ) -> list[dict[str, Any]]:
        image_processor: Any = getattr(self.processor, "image_processor")  # noqa: B009
        limit = image_processor.threshold if threshold is None else threshold
        # Checked there, too.
        (probabilities,) = image_processor.post_process_referring_segmentation(
            model_outputs, [model_outputs["original_size"]], threshold=limit, return_probabilities=True
        )
        masks, scores = [], []
        for map_ in probabilities:
            mask = map_ > limit
            # Cubic interpolation may leave [0, 1] a little.
            scores.append(float(map_[mask].mean().clamp(0, 1)) if bool(mask.any()) else 0.0)
            masks.append(mask.cpu().numpy())
        names = dict(enumerate(model_outputs["expressions"]))
        size = model_outputs["original_size"]
        results = SegmentList(SegmentationResult.from_masks(masks, list(names), scores, size, names))
        if return_logits:
            for index, entry in enumerate(results):
                entry["logits"] = model_outputs["logits"][0, index]
        return results


def register() -> None:
    """Adds the task to `pipeline()`. Calling it again is harmless."""
    if TASK in PIPELINE_REGISTRY.get_supported_tasks():
        return
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=ReferringImageSegmentationPipeline,
        pt_model=AutoModelForReferringImageSegmentation,
        type="multimodal",
    )
