# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What users wait for besides the forward pass: training losses, metrics, sliding windows, post-processing.

Every row times our side and a peer in one process, in turns, in CPU time, and says how far results agree. `part`
functions return rows of a table; `waits_table` runs those that are asked for.
"""

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

Row = dict[str, Any]
Side = Callable[[], Any]
Case = tuple[int, int, tuple[int, int]]  # live queries, all queries, height and width of the image

NOTES = [
    "ms: CPU time of the process, median over rounds; both sides in one process, in turns. ratio: median over rounds "
    "of ours / peer; smaller is better.",
    "loss: Mask2Former's loss of ten predictions of 100 queries with gradients, 64x88 maps, 12,544 points; agreement: "
    "relative difference of the sums of all terms, where both draw the same points.",
    "metrics: per image of 480x640 with the given number of segments, id maps as references and run lengths as "
    "predictions; peer: pycocotools' COCOeval after `mask.encode` of the references, of AP in both rows.",
    "windows: averages over 512x512 windows with stride 256 of 1024x2048 pixels and 19 classes; the network is a "
    "constant.",
    "post-processing: of 100 queries on a 200x272 map (800-pixel input), as transformers' Mask2FormerImageProcessor.",
]


def paired(name: str, ours: Side, theirs: Side, rounds: int, agreement: str, count: int = 1) -> Row:
    """Times both sides in turns, after one round that is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, run in zip(times, (ours, theirs)):
            start = time.process_time()
            run()
            if number:
                side.append((time.process_time() - start) * 1e3 / count)
    ratios = [mine / other for mine, other in zip(*times)]
    return {
        "row": name, "ours ms": statistics.median(times[0]), "peer ms": statistics.median(times[1]),
        "ratio": statistics.median(ratios), "ratios": f"{min(ratios):.2f}-{max(ratios):.2f}", "agreement": agreement,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- loss
def loss_rows(rounds: int, tiny: bool = False, counts: Sequence[int] = (10, 96), queries: int = 100) -> list[Row]:
    """Loss and gradients of mask classification beside transformers' `Mask2FormerLoss`, by numbers of targets."""
    from transformers import Mask2FormerConfig
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    from hfseg.losses.mask_classification import LossWeights, mask_classification_loss

    from .training_step import segment_maps

    levels, classes, channels = 10, 133, 256
    size, points = ((64, 96), 400) if tiny else ((256, 352), 12544)
    config = Mask2FormerConfig(num_labels=classes, train_num_points=points)
    peer = Mask2FormerLoss(config, weight_dict={"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0})
    rows = []
    for count in counts:
        generator = torch.Generator().manual_seed(0)
        class_logits = torch.randn(levels, 1, queries, classes + 1, generator=generator, requires_grad=True)
        embeddings = (torch.randn(levels, 1, queries, channels, generator=generator) * 0.3).requires_grad_()
        pixels = torch.randn(1, channels, size[0] // 4, size[1] // 4, generator=generator, requires_grad=True)
        leaves, labels = (class_logits, embeddings, pixels), segment_maps(count, 1, size, classes)
        stacks = [(ids == torch.arange(1, count + 1)[:, None, None]).float() for ids in labels["mask_labels"]]

        def ours(leaves: Any = leaves, labels: Any = labels) -> tuple[float, list[torch.Tensor]]:
            torch.manual_seed(1)
            terms = mask_classification_loss(*leaves, **labels, padded_size=size, weights=LossWeights(2, 5, 5, 0.1),
                                             num_points=points)  # fmt: skip
            total = torch.stack([*terms.values()]).sum()
            return total.item(), [*torch.autograd.grad(total, leaves)]

        def theirs(leaves: Any = leaves, labels: Any = labels, stacks: Any = stacks) -> Any:
            torch.manual_seed(1)
            masks = torch.einsum("pbqm,bmhw->pbqhw", leaves[1], leaves[2])
            *auxiliary, last = [
                {"masks_queries_logits": mask, "class_queries_logits": logits} for mask, logits in zip(masks, leaves[0])
            ]
            terms = peer(last["masks_queries_logits"], last["class_queries_logits"], stacks, labels["class_labels"],
                         auxiliary)  # fmt: skip
            weights = {"cross": 2.0, "mask": 5.0, "dice": 5.0}
            total = torch.stack([weights[name.split("_")[1]] * value for name, value in terms.items()]).sum()
            return total.item(), [*torch.autograd.grad(total, leaves)]

        (value, gradients), (reference, expected) = ours(), theirs()
        apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(gradients, expected))
        said = f"loss {abs(value - reference) / abs(reference):.0e}, gradients {apart:.0e}"
        rows.append(paired(f"loss, {count} targets", ours, theirs, rounds, said))
    return rows


# ------------------------------------------------------------------------------------------------------------- metrics
def segment_map(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Ids from 1 of the nearest of random points. Shape: (H, W), int32."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(seed).random((count, 2)) * size
    y, x = np.mgrid[: size[0], : size[1]]
    _, nearest = cKDTree(points).query(np.stack([y.ravel(), x.ravel()], axis=1))
    return (nearest + 1).reshape(size).astype(np.int32)


def coco_figures(sides: list[list[dict]], size: tuple[int, int], images: int, classes: int) -> np.ndarray:
    """The twelve figures by pycocotools' own evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        loaded = []
        for entries in sides:
            dataset = COCO()
            dataset.dataset = {
                "images": [{"id": index, "height": size[0], "width": size[1]} for index in range(images)],
                "categories": [{"id": index, "name": str(index)} for index in range(classes)],
                "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
            }
            dataset.createIndex()
            loaded.append(dataset)
        evaluation = COCOeval(*loaded, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def metric_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """Metrics per image; average precision beside pycocotools on the same run lengths."""
    from pycocotools import mask as mask_tools

    from hfseg.metrics.mask_ap import MaskAP
    from hfseg.metrics.mean_iou import MeanIoU
    from hfseg.metrics.panoptic_quality import PanopticQuality
    from hfseg.results.segmentation_result import SegmentationResult

    size, images, classes = ((64, 80), 2, 80) if tiny else ((480, 640), 10, 80)
    names, rng, rows = {index: str(index) for index in range(classes)}, np.random.default_rng(0), []
    for count in (10, 100):
        scenes = []
        for seed in range(images):
            found = segment_map(count, size, seed)
            labels, scores = rng.integers(0, classes, count), rng.random(count)
            info = [
                {"id": i + 1, "category_id": int(labels[i]), "label_id": int(labels[i]), "score": float(scores[i]),
                 "iscrowd": 0} for i in range(count)
            ]  # fmt: skip
            scenes.append((found, np.roll(found, 4, axis=1), info, labels))
        detections = [SegmentationResult(torch.from_numpy(s[0]), s[2]).to_coco() for s in scenes]

        def ap(scenes: Any = scenes, detections: Any = detections) -> Any:
            metric = MaskAP(names)
            for scene, entries in zip(scenes, detections):
                metric.add(prediction=entries, reference={"segmentation": scene[1], "segments_info": scene[2]})
            return metric.compute()

        def coco(scenes: Any = scenes, detections: Any = detections) -> Any:
            true, found = [], []
            for image, (scene, entries) in enumerate(zip(scenes, detections)):
                for segment in scene[2]:
                    mask = mask_tools.encode(np.asfortranarray(np.uint8(scene[1] == segment["id"])))
                    box, area = mask_tools.toBbox(mask).tolist(), float(mask_tools.area(mask))
                    true.append({**segment, "segmentation": mask, "image_id": image, "area": area, "bbox": box})
                found += [{**entry, "image_id": image} for entry in entries]
            return coco_figures([true, found], size, images, classes)

        apart = abs(ap()["ap"] / 100 - coco()[0])
        row = paired(f"AP, {count} segments", ap, coco, rounds, f"AP {apart:.0e}", images)
        rows.append(row)

        def all_three(scenes: Any = scenes, ap: Side = ap) -> None:
            ap()
            quality, iou = PanopticQuality(names), MeanIoU(names, ignore_index=-1)
            for found, true, info, labels in scenes:
                quality.add(prediction={"segmentation": found, "segments_info": info},
                            reference={"segmentation": true, "segments_info": info})  # fmt: skip
                iou.add(prediction=labels[found - 1], reference=labels[true - 1])
            quality.compute()
            iou.compute()

        row = paired(f"AP, PQ and mean IoU, {count} segments, beside AP alone", all_three, coco, rounds, "", images)
        rows.append(row)
    return rows


# ------------------------------------------------------------------------------------------------------------- windows
def window_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """Bookkeeping of overlapping windows beside MONAI's `sliding_window_inference`."""
    from monai.inferers.utils import sliding_window_inference

    from hfseg.inference import sliding_window_scores, sliding_window_segmentation

    window, size = (32, (64, 128)) if tiny else (512, (1024, 2048))
    logits = torch.randn(1, 19, window, window, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(3, *size)

    def processor(images: Any, **_: Any) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.stack(images)}

    def predict(pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=logits.expand(len(pixel_values), -1, -1, -1))

    settings: dict[str, Any] = {"window": window, "kind": "logits"}
    wrapped = type("Processor", (), {"do_pad": False, "__call__": staticmethod(processor)})()

    def theirs() -> torch.Tensor:
        return sliding_window_inference(image[None], (window, window), 1, lambda _: logits, overlap=0.5)[0]

    def scores() -> torch.Tensor:
        return sliding_window_scores(image, predict, wrapped, **settings)

    def classes() -> torch.Tensor:
        return sliding_window_segmentation(image, predict, wrapped, **settings)

    apart = f"{float((scores() - theirs()).abs().max()):.0e}"
    same = f"{float((classes() == theirs().argmax(0)).float().mean()) * 100:.4f} % of pixels"
    return [
        paired("windows, scores", scores, theirs, rounds, apart),
        paired("windows, class map", classes, lambda: theirs().argmax(0), rounds, same),
    ]


# ----------------------------------------------------------------------------------------------------- post-processing
def postprocess_rows(rounds: int, tiny: bool = False, cases: Sequence[Case] | None = None) -> list[Row]:
    """Post-processing beside transformers' for three tasks, numbers of live queries and output sizes."""
    from transformers import Mask2FormerImageProcessor
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

    from .speed import live_outputs

    ours, theirs = ProScaleImageProcessor(label_ids_to_fuse=list(range(80, 133))), Mask2FormerImageProcessor()
    quarter = (16, 24) if tiny else (200, 272)
    if cases is None:
        cases = [(16, 100, (48, 64))] if tiny else [
            (16, 100, (480, 640)), (100, 100, (480, 640)), (300, 300, (480, 640)), (16, 100, (3000, 4000)),
        ]  # fmt: skip
    rows = []
    for live, queries, size in cases:
        class_logits, masks = live_outputs(live, queries, 133, quarter)
        outputs: Any = Mask2FormerForUniversalSegmentationOutput(  # type: ignore[call-arg]
            class_queries_logits=class_logits, masks_queries_logits=masks
        )
        for task in ("panoptic", "instance", "semantic"):
            name = f"post_process_{task}_segmentation"
            given: dict[str, Any] = {} if task == "semantic" else {"threshold": 0.8 if task == "panoptic" else 0.5}
            extra = {"label_ids_to_fuse": set(range(80, 133))} if task == "panoptic" else {}

            def mine(name: str = name, given: Any = given, outputs: Any = outputs, size: Any = size) -> Any:
                return getattr(ours, name)(outputs, target_sizes=[size], **given)[0]

            def peer(name: str = name, given: Any = given | extra, outputs: Any = outputs, size: Any = size) -> Any:
                return getattr(theirs, name)(outputs, target_sizes=[size], **given)[0]

            one, other = mine(), peer()
            maps = [r if isinstance(r, torch.Tensor) else r["segmentation"] for r in (one, other)]
            if task == "semantic":
                said = f"{float((maps[0] == maps[1]).float().mean()) * 100:.2f} % of pixels"
            else:
                said = f"{len(one['segments_info'])} and {len(other['segments_info'])} segments"
            label = f"{task}, {live} of {queries} queries, {size[0]}x{size[1]}"
            rows.append(paired(label, mine, peer, rounds if size[0] < 1000 else max(1, rounds - 2), said))
    return rows


PARTS = {"loss": loss_rows, "metrics": metric_rows, "windows": window_rows, "postprocess": postprocess_rows}


def waits_table(parts: list[str], rounds: int, tiny: bool = False) -> tuple[dict[str, list[Row]], list[str]]:
    """Runs some parts on one thread."""
    torch.set_num_threads(1)
    return {part: PARTS[part](rounds, tiny) for part in parts}, NOTES
