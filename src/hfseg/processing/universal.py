# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processing of models that predict a class and a mask per query: targets and segments."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.utils import logging

from .. import postprocess
from ..files.images import stretch_contrast as stretch
from ..results.incomplete import tell
from ..results.segmentation_result import SegmentationResult
from .limits import cut_instances, full_queries
from .segmentation import Placement, SegmentationProcessing, SemanticSegmentationPostProcessorOutput
from .sizes import output_sizes, resized_size
from .targets import as_integer_maps, check_maps, make_segment_targets, resize_nearest

logger = logging.get_logger(__name__)

__all__ = ["UniversalSegmentationProcessing"]

INSTANCE_THRESHOLD = 0.5


def stretched(image: Any, index: int) -> Any:
    """Stretches the contrast of a channel-first image, tensor or array.

    Raises:
        ValueError: for an image that is not 8-bit.
    """
    if image.dtype not in (torch.uint8, np.uint8):
        raise ValueError(
            f"stretch_contrast needs 8-bit images, but image {index} has the type {image.dtype}: give uint8, or set "
            "stretch_contrast=False."
        )
    if isinstance(image, Tensor):
        return torch.from_numpy(stretch(image.cpu().numpy())).to(image.device)
    return stretch(image)


class UniversalSegmentationProcessing(SegmentationProcessing):
    """Mixin of image processors for models that predict (class logits, mask logits) per query.

    Attributes beyond those of `SegmentationProcessing`:
        size: shortest edge 800, longest at most 1333.
        label_ids_to_fuse: ids of stuff classes: fused in panoptic results, left out of instance results.
        threshold, mask_threshold, overlap_mask_area_threshold: of panoptic results, see
            `hfseg.postprocess.panoptic_segmentation`. They are saved with the processor.
        num_instances: (query, class) pairs looked at for instance results; with `suppress_duplicates` at least as many
            as there are queries, so that duplicates take no other object's place.
        binary_mask_labels: targets are binary masks (N, H, W), as transformers' processors make them and its guides
            expect. False gives id maps (H, W), which are N times as small. Models take both.
        instance_threshold: score from which on pipelines and `hfseg predict` show an instance. Default: `threshold`, or
            0.5 where that is the architecture's own and larger, because the score of an instance counts its mask too.
            `post_process_instance_segmentation` itself keeps all, as average precision wants.
        suppress_duplicates: in panoptic and instance results, a thing gives way to a better one that covers half of its
            mask, see `hfseg.postprocess.distinct_queries`.
        min_segment_area: things of fewer pixels (of the result) are dropped from panoptic and instance results.
        stretch_contrast: every image is brought to the full range of intensities first, as very dark microscopy needs;
            see `hfseg.files.images.stretch_contrast`. For 8-bit images.
        mask_stride: padded input size divided by the size of the mask logits; outputs that say the padded size
            (`input_sizes`, `(B, 2)`) have masks of any.
    """

    size = {"shortest_edge": 800, "longest_edge": 1333}
    label_ids_to_fuse = None
    threshold = 0.8
    instance_threshold = None
    mask_threshold = 0.5
    overlap_mask_area_threshold = 0.8
    num_instances = 100
    binary_mask_labels = True
    suppress_duplicates = False
    min_segment_area = 0
    stretch_contrast = False
    mask_stride = 4

    # ---------------------------------------------------------------------------------------------- inputs
    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        instance_id_to_semantic_id: Sequence[Mapping[int, int]] | Mapping[int, int] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turns images, and optionally their segmentation maps, into a padded batch for the network.

        Args:
            images: PIL images, arrays, tensors or paths of local files, one or a list.
            segmentation_maps: class-id or segment-id maps of the same sizes, one or a list (PIL images with one
                integer channel, or integer arrays (H, W)).
            instance_id_to_semantic_id: class of each segment id, for all maps or one table per map. Ids it lacks are
                void. Without it maps hold class ids.
            **kwargs: any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, H, W) float; with maps also `mask_labels`, a list of boolean masks (N, H, W), and
            `class_labels`, a list of int64 (N,). With `binary_mask_labels=False` masks are int32 id maps (H, W) with
            ids 1..N (0 = nothing or padding).

        Raises:
            ValueError: for empty input, NaN or infinite pixels, maps that are not integer, of another size than their
                image or in another number, and class ids out of range.
        """
        if segmentation_maps is None and instance_id_to_semantic_id is not None:
            raise ValueError("instance_id_to_semantic_id was given without segmentation_maps.")
        return super().preprocess(images, segmentation_maps, instance_id_to_semantic_id, **kwargs)

    def _preprocess(
        self, images: list[Any], *targets: Any, stretch_contrast: bool | None = False, **settings: Any
    ) -> BatchFeature:
        if stretch_contrast:
            images = [stretched(image, index) for index, image in enumerate(images)]
        return super()._preprocess(images, *targets, **settings)

    def segment_targets(
        self,
        segmentation_maps: Any,
        instance_id_to_semantic_id: Sequence[Mapping[int, int]] | Mapping[int, int] | None,
        image_sizes: Sequence[tuple[int, int]],
        resized_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int] | None,
        ignore_index: int | None,
        do_reduce_labels: bool,
        num_labels: int | None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Padded id maps (H, W) int32 and class ids (N,) int64, one per image."""
        maps = as_integer_maps(segmentation_maps)
        check_maps(maps, image_sizes)
        if instance_id_to_semantic_id is None or isinstance(instance_id_to_semantic_id, Mapping):
            tables = [instance_id_to_semantic_id] * len(maps)
        else:
            tables = list(instance_id_to_semantic_id)
            if len(tables) != len(maps):
                raise ValueError(
                    f"instance_id_to_semantic_id has {len(tables)} tables for {len(maps)} segmentation maps."
                )
        id_maps, class_labels = [], []
        for index, (segmentation_map, table) in enumerate(zip(maps, tables)):
            height, width = resized_sizes[index]
            resized = resize_nearest(segmentation_map, height, width)
            id_map, labels = make_segment_targets(resized, table, ignore_index, do_reduce_labels, num_labels)
            if padded_size is not None and padded_size != (height, width):
                id_map = np.pad(id_map, ((0, padded_size[0] - height), (0, padded_size[1] - width)))
            id_maps.append(id_map)
            class_labels.append(labels)
        return id_maps, class_labels

    def make_targets(
        self,
        segmentation_maps: Any,
        instance_id_to_semantic_id: Any = None,
        *,
        placed: Placement,
        ignore_index: int | None = None,
        do_reduce_labels: bool = False,
        num_labels: int | None = None,
        binary_mask_labels: bool | None = True,
        **_: Any,
    ) -> dict[str, list[np.ndarray]]:
        """`mask_labels`, padded id maps (H, W) or binary masks (N, H, W), and `class_labels`."""
        id_maps, class_labels = self.segment_targets(
            segmentation_maps,
            instance_id_to_semantic_id,
            placed.original_sizes,
            placed.resized_sizes,
            placed.padded_size,
            ignore_index,
            do_reduce_labels,
            num_labels,
        )
        if binary_mask_labels:
            counts = [np.arange(1, len(labels) + 1, dtype=np.int32) for labels in class_labels]
            id_maps = [id_map == ids[:, None, None] for id_map, ids in zip(id_maps, counts)]
        return {"mask_labels": id_maps, "class_labels": class_labels}

    # ---------------------------------------------------------------------------------------------- outputs
    def _geometry(
        self, outputs: Any, target_sizes: Any, image_sizes: Any
    ) -> tuple[tuple[int, int], list[tuple[int, int]] | None, list[tuple[int, int]] | None]:
        """Padded size, image sizes within it, and output sizes of a batch of model outputs."""
        mask_logits = outputs.masks_queries_logits
        padded = (mask_logits.shape[-2] * self.mask_stride, mask_logits.shape[-1] * self.mask_stride)
        if getattr(outputs, "input_sizes", None) is not None:  # masks of one size, whatever that of the input
            padded = output_sizes(outputs.input_sizes[:1], 1)[0]
        targets: list[tuple[int, int]] | None = None
        if target_sizes is not None:
            targets = output_sizes(target_sizes, len(mask_logits))
        if image_sizes is None and targets is not None:
            image_sizes = [resized_size(*size, self.size) if self.do_resize else size for size in targets]
            image_sizes = [(min(size[0], padded[0]), min(size[1], padded[1])) for size in image_sizes]
        return padded, image_sizes, targets

    @torch.no_grad()
    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        return_segmentation_scores: bool = False,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Any]:
        """Class map per image, see `hfseg.postprocess.semantic_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            target_sizes: size (height, width) of each original image. Results have these sizes, and the padding of
                the network input is found by applying this processor's resize rule to them. Default: results at the
                padded size.
            return_segmentation_scores: whether to return `{"segmentation", "segmentation_scores"}` per image.
            image_sizes: size of each image within the padded input, where the resize rule does not give it.

        Shape: maps (H, W) int64, scores (K, H, W) float32.

        Raises:
            ValueError: if the number of sizes is not that of images.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        maps, scores = postprocess.semantic_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            return_scores=return_segmentation_scores,
        )
        if scores is None:
            return maps
        return [
            SemanticSegmentationPostProcessorOutput(
                data={"segmentation": label_map, "segmentation_scores": class_scores}
            )
            for label_map, class_scores in zip(maps, scores)
        ]

    @torch.no_grad()
    def post_process_panoptic_segmentation(
        self,
        outputs: Any,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[SegmentationResult]:
        """Panoptic segments per image, see `hfseg.postprocess.panoptic_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            threshold: smallest class probability; default: the processor's, 0.8.
            mask_threshold: smallest mask probability; default: the processor's, 0.5.
            overlap_mask_area_threshold: smallest visible part of a mask; default: the processor's, 0.8.
            label_ids_to_fuse: stuff classes, one segment each; default: those of the model that gave the outputs, else
                the processor's.
            target_sizes: see `post_process_semantic_segmentation`.
            image_sizes: see `post_process_semantic_segmentation`.

        Returns:
            Per image the dict `{"segmentation": (H, W) int32, "segments_info": [...]}`, 0 = void, as a
            `SegmentationResult` with compact masks. Where nearly every query of the model found something, a warning
            says that there may be more objects, as does the result's `incomplete`.

        Raises:
            ValueError: if the number of sizes is not that of images, or a threshold is not legal.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        results = postprocess.panoptic_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            threshold=self.threshold if threshold is None else threshold,
            mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
            overlap_mask_area_threshold=(
                self.overlap_mask_area_threshold if overlap_mask_area_threshold is None else overlap_mask_area_threshold
            ),
            label_ids_to_fuse=self._stuff(label_ids_to_fuse, outputs),
            suppress_duplicates=self.suppress_duplicates,
            min_segment_area=self.min_segment_area,
        )
        least = self.threshold if threshold is None else threshold
        cut = full_queries(outputs, least, [len(segments) for _, segments in results])
        tell(cut)
        return [SegmentationResult(*result, incomplete=message) for result, message in zip(results, cut)]

    @torch.no_grad()
    def post_process_instance_segmentation(
        self,
        outputs: Any,
        threshold: float = 0.0,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        return_coco_annotation: bool = False,
        return_binary_maps: bool = False,
    ) -> list[Any]:
        """Instances of thing classes per image, best first, see `hfseg.postprocess.instance_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            threshold: smallest score; 0 keeps all, as average precision wants and the authors do. For looking at
                results 0.5 is a good value.
            mask_threshold: mask probability above which a pixel is inside; default: the processor's, 0.5.
            overlap_mask_area_threshold: accepted because the pipeline passes it; instances may overlap.
            target_sizes: see `post_process_semantic_segmentation`.
            label_ids_to_fuse: stuff classes, which are left out; default: those of the model that gave the outputs,
                else the processor's.
            image_sizes: see `post_process_semantic_segmentation`.
            return_coco_annotation: gives `segmentation` as run lengths of each mask, as in transformers.
            return_binary_maps: gives `segmentation` as boolean masks (N, H, W), as in transformers; large.

        Returns:
            Per image a `SegmentationResult`: `segmentation` shows the best instance at each pixel (0 = none), ids count
            from 1 in order of score; whole masks come from `masks`, `binary_masks()` or `run_length_masks()`. With a
            threshold above 0 a warning says where instances were left out because of `num_instances`, or the model had
            hardly a query left, as does the result's `incomplete`.

        Raises:
            ValueError: if the number of sizes is not that of images, or a threshold is not legal.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        results = []
        logits = outputs.class_queries_logits
        looked_at = max(self.num_instances, logits.shape[1]) if self.suppress_duplicates else self.num_instances
        cut = cut_instances(logits, threshold, looked_at)
        for instances in postprocess.instance_segmentation(
            logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            threshold=threshold,
            mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
            num_instances=looked_at,
            stuff_label_ids=self._stuff(label_ids_to_fuse, outputs),
            suppress_duplicates=self.suppress_duplicates,
            min_segment_area=self.min_segment_area,
        ):
            columns = (instances.label_ids.tolist(), instances.scores.tolist(), instances.areas.tolist())
            segments = [
                {"id": position, "label_id": label, "was_fused": False, "score": score, "area": area}
                for position, (label, score, area) in enumerate(zip(*columns), start=1)
            ]
            results.append(
                SegmentationResult(instances.segmentation, segments, instances.packed_masks, instances.mask_indices)
            )
        if threshold > 0:
            full = full_queries(outputs, threshold, [len(result) for result in results])
            cut = [" ".join(filter(None, pair)) for pair in zip(cut, full)]
            tell(cut)
            for result, message in zip(results, cut):
                result.incomplete = message
        if return_coco_annotation and return_binary_maps:
            raise ValueError("Give return_coco_annotation or return_binary_maps, not both.")
        if return_coco_annotation or return_binary_maps:
            forms = [r.run_length_masks() if return_coco_annotation else r.binary_masks() for r in results]
            return [{"segmentation": form, "segments_info": r.segments_info} for form, r in zip(forms, results)]
        return results

    def shown_threshold(self) -> float:
        """Score from which on instances are shown to people; see `instance_threshold`."""
        if self.instance_threshold is not None:
            return self.instance_threshold
        own = type(self).threshold
        return min(own, INSTANCE_THRESHOLD) if self.threshold == own else self.threshold

    def stuff_classes(self, outputs: Any) -> Sequence[int] | set[int]:
        """Stuff classes of outputs: those of the model that gave them, else of this processor, if they fit."""
        return self._stuff(None, outputs)

    def _stuff(self, given: Sequence[int] | set[int] | None, outputs: Any) -> Sequence[int] | set[int]:
        """Stuff classes: as given, else of the model that gave the outputs, else of this processor, if they fit."""
        if given is not None:
            return given
        of_model = getattr(outputs, "stuff_class_ids", None)
        if of_model is not None:
            return of_model
        own, number = self.label_ids_to_fuse or (), outputs.class_queries_logits.shape[-1] - 1
        if own and (max(own) >= number or getattr(self, "classes_beside", None) not in (None, number)):
            logger.warning_once(
                f"label_ids_to_fuse={list(own)[:8]} of the image processor are of other classes than the {number} of "
                "these outputs, so no class is fused or left out as stuff. Give label_ids_to_fuse=[...] if some are."
            )
            return ()
        return own
