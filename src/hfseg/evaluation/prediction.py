# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From the samples of a dataset to a model's results in the dataset's classes, by the model's own post-processing."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..inference.scores import Predict, pad_to_divisor, prepare, resized_logits
from ..inference.vocabulary_inputs import vocabulary_inputs
from ..processing.universal import UniversalSegmentationProcessing
from .labels import LabelMatch

__all__ = [
    "OpenVocabularySegmenter",
    "Sample",
    "Segmenter",
    "as_predict",
    "open_vocabulary_samples",
    "predict_samples",
]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labeled image with the model's outputs.

    Attributes:
        index: Position in the dataset.
        example: As the dataset gives it.
        outputs: Of the model, batch of 1, float32.
        padded_size: Height and width of the network input.
        inner_size: Of the image inside it, at its top left.
        size: Of the image as it was given, and of the labels.
    """

    index: int
    example: Mapping[str, Any]
    outputs: Any
    padded_size: tuple[int, int]
    inner_size: tuple[int, int]
    size: tuple[int, int]


class _Batches(torch.utils.data.Dataset):
    """Batches of (index, example, network input), read where the loader asks for them."""

    def __init__(self, dataset: Any, image_processor: Any, batches: Sequence[Sequence[int]]):
        self.dataset, self.image_processor, self.batches = dataset, image_processor, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, position: int) -> list[tuple[int, Any, Tensor]]:
        read = []
        for index in self.batches[position]:
            example = self.dataset[index]
            read.append((index, example, prepare(np.asarray(example["image"]), self.image_processor)))
        return read


def _as_read(batch: Any) -> Any:
    return batch  # the loader would turn arrays into tensors


def as_predict(model: nn.Module) -> Predict:
    """Function from float32 pixel values to the model's outputs, on the model's device and in its data type."""
    parameter = next(model.parameters())

    def predict(pixel_values: Tensor) -> Any:
        with torch.inference_mode():
            return model(pixel_values=pixel_values.to(parameter.device, parameter.dtype))

    return predict


def predict_samples(
    model: nn.Module,
    image_processor: Any,
    dataset: Any,
    batch_size: int = 8,
    *,
    batches: Sequence[Sequence[int]] | None = None,
    num_workers: int = 0,
) -> Iterator[Sample]:
    """Runs a model over a dataset, in its order.

    Images of a batch whose padded sizes agree run together, others apart, so that no result depends on its neighbors
    (but for rounding).

    Args:
        model: Model in evaluation mode.
        image_processor: Its image processor.
        dataset: Examples in the universal or semantic schema.
        batch_size: Images per forward pass at most.
        batches: Positions to predict, by batch; default: all.
        num_workers: Processes that read and resize images; 0 reads them here.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    if batches is None:
        count = len(dataset)
        batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    predict = as_predict(model)
    loader: Iterable[Any] = torch.utils.data.DataLoader(
        _Batches(dataset, image_processor, batches), batch_size=None, num_workers=num_workers, collate_fn=_as_read
    )
    for read in loader:
        groups: dict[tuple[int, ...], list[int]] = {}
        padded = [pad_to_divisor(pixel_values, image_processor) for _, _, pixel_values in read]
        for place, pixel_values in enumerate(padded):
            groups.setdefault(tuple(pixel_values.shape), []).append(place)
        singles: dict[int, Any] = {}
        for places in groups.values():
            outputs = predict(torch.cat([padded[place] for place in places]))
            for row, place in enumerate(places):
                singles[place] = _row(outputs, row, len(places))
        for place, (index, example, pixel_values) in enumerate(read):
            height, width = np.asarray(example["image"]).shape[:2]
            yield Sample(
                index,
                example,
                singles[place],
                (padded[place].shape[-2], padded[place].shape[-1]),
                (pixel_values.shape[-2], pixel_values.shape[-1]),
                (height, width),
            )


def _row(outputs: Any, row: int, count: int) -> Any:
    """Outputs of one image of a batch, without what post-processing never reads."""
    names = ("class_queries_logits", "masks_queries_logits", "logits", "pred_boxes", "input_sizes")
    kept = {name: outputs[name] for name in names if name in outputs and isinstance(outputs[name], Tensor)}
    if not kept:
        raise ValueError(
            f"The model returns {', '.join(outputs)}; evaluation needs class_queries_logits and masks_queries_logits, "
            "or logits."
        )
    return type(outputs)(**{name: value[row : row + 1].float() for name, value in kept.items() if len(value) == count})


class Segmenter:
    """Makes the results of the asked tasks from outputs, by the image processor's own post-processing.

    Results are in the dataset's classes: `{"semantic": (H, W) class map, -1 where no class of the dataset is
    predicted, "panoptic": {"segmentation", "segments_info"}, "instance": SegmentationResult}`.

    Image processors of other libraries get the authors' post-processing of mask classification
    (`hfseg.postprocess`) instead of theirs.

    Args:
        image_processor: The model's.
        match: How its classes correspond to the dataset's.
        stuff_label_ids: The model's stuff classes, fused in panoptic results and left out of instances.
        thresholds: `threshold`, `mask_threshold`, `overlap_mask_area_threshold`; default: the processor's.
    """

    def __init__(
        self,
        image_processor: Any,
        match: LabelMatch,
        stuff_label_ids: Collection[int] = (),
        thresholds: Mapping[str, float] | None = None,
    ):
        owns = getattr(image_processor, "owns_postprocessing_defaults", False)
        self.image_processor = image_processor
        self.processing: Any = image_processor if owns else UniversalSegmentationProcessing()
        self.match = match
        self.stuff_label_ids = set(stuff_label_ids)
        self.given = dict(thresholds or {})
        # One entry more, so that -1 (no class) stays -1.
        self._table = np.array([*match.to_dataset, -1], dtype=np.int64)

    @property
    def thresholds(self) -> dict[str, Any]:
        """Thresholds that are used."""
        names = ("threshold", "mask_threshold", "overlap_mask_area_threshold")
        return {name: self.given.get(name, getattr(self.processing, name)) for name in names}

    def __call__(self, sample: Sample, tasks: Collection[str]) -> dict[str, Any]:
        """Results of one image."""
        outputs = sample.outputs
        results: dict[str, Any] = {}
        place: dict[str, Any] = {"target_sizes": [sample.size], "image_sizes": [sample.inner_size]}
        if "semantic" in tasks:
            if "masks_queries_logits" in outputs:
                labels = self.processing.post_process_semantic_segmentation(outputs, **place)[0]
            else:
                labels = resized_logits(outputs, sample.padded_size, [sample.inner_size], [sample.size])[0].argmax(0)
            results["semantic"] = self.semantic(labels)
        if "panoptic" in tasks:
            results["panoptic"] = self.panoptic(
                self.processing.post_process_panoptic_segmentation(
                    outputs, label_ids_to_fuse=self.stuff_label_ids, **self.thresholds, **place
                )[0]
            )
        if "instance" in tasks:
            results["instance"] = self.instance(
                self.processing.post_process_instance_segmentation(
                    outputs, label_ids_to_fuse=self.stuff_label_ids, **place
                )[0]
            )
        return results

    def semantic(self, labels: Tensor) -> np.ndarray:
        """Class map (H, W) in the dataset's classes."""
        return self._table[np.asarray(labels.cpu())]

    def panoptic(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Segments in the dataset's classes; others become void."""
        segmentation = np.array(result["segmentation"].cpu())
        segments = [
            {**segment, "label_id": self.match.to_dataset[segment["label_id"]]} for segment in result["segments_info"]
        ]
        foreign = [segment["id"] for segment in segments if segment["label_id"] < 0]
        if foreign:
            segmentation[np.isin(segmentation, foreign)] = 0
        return {"segmentation": segmentation, "segments_info": [s for s in segments if s["label_id"] >= 0]}

    def instance(self, result: Any) -> list[dict[str, Any]]:
        """Instances `{"segmentation": run lengths, "category_id", "score"}` in the dataset's classes."""
        masks = result.run_length_masks(compressed=True)
        return [
            {
                "segmentation": mask,
                "category_id": self.match.to_dataset[segment["label_id"]],
                "score": segment["score"],
            }
            for mask, segment in zip(masks, result["segments_info"])
            if self.match.to_dataset[segment["label_id"]] >= 0
        ]


def open_vocabulary_samples(
    model: nn.Module, processor: Any, dataset: Any, text_embeds: Tensor, indices: Iterable[int]
) -> Iterator[Sample]:
    """Runs an open-vocabulary model over images, one by one, as its pipeline does.

    Args:
        model: Model in evaluation mode.
        processor: Its processor, which resizes and pads.
        dataset: Examples in the universal or semantic schema.
        text_embeds: Of the classes, see `embed_classes`.
        indices: Positions to predict.
    """
    parameter = next(model.parameters())
    for index in indices:
        example = dataset[index]
        image = np.asarray(example["image"])
        inputs = processor.image_processor(images=[image], return_tensors="pt")
        pixel_values = inputs["pixel_values"].to(parameter.device, parameter.dtype)
        with torch.inference_mode():
            sizes = torch.tensor([image.shape[:2]], device=parameter.device)
            outputs = model(**vocabulary_inputs(model, pixel_values, sizes, text_embeds))
        padded = (pixel_values.shape[-2], pixel_values.shape[-1])
        yield Sample(index, example, outputs, padded, padded, (image.shape[0], image.shape[1]))


class OpenVocabularySegmenter(Segmenter):
    """Makes the results of an open-vocabulary model: its image processor alone knows how to map masks back."""

    def __call__(self, sample: Sample, tasks: Collection[str]) -> dict[str, Any]:
        """Results of one image."""
        processing, place = self.processing, {"target_sizes": [sample.size]}
        results: dict[str, Any] = {}
        if "semantic" in tasks:
            labels = processing.post_process_semantic_segmentation(sample.outputs, **place)[0]
            nothing = labels >= len(self.match.to_dataset)  # an image without any mask
            results["semantic"] = self.semantic(labels.masked_fill(nothing, -1))
        fused = {"label_ids_to_fuse": self.stuff_label_ids}
        if "panoptic" in tasks:
            found = processing.post_process_panoptic_segmentation(sample.outputs, **fused, **self.thresholds, **place)
            results["panoptic"] = self.panoptic(found[0])
        if "instance" in tasks:
            found = processing.post_process_instance_segmentation(sample.outputs, **fused, **place)
            results["instance"] = self.instance(found[0])
        return results
