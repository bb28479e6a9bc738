# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: parameters beside the paper's 221M, oracle IoU beside simple baselines, and speed beside SAM."""

import gc
import importlib
import resource
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForMaskGeneration,
    SamConfig,
    SamImageProcessor,
    SamModel,
)

from hfseg.data.readers.promptable import boxes_of_masks
from hfseg.evaluation.promptable import evaluate_promptable, true_masks
from hfseg.metrics.oracle_iou import OracleIoU
from hfseg.models.unpairseg.configuration_unpairseg import UnpairSegConfig
from hfseg.models.unpairseg.image_processing_unpairseg import UnpairSegImageProcessor
from hfseg.models.unpairseg.modeling_unpairseg import UnpairSegForMaskGeneration
from hfseg.models.unpairseg.open_vocabulary_unpairseg import UnpairSegForOpenVocabularySegmentation
from hfseg.pipelines.mask_generation import HfsegMaskGenerationPipeline

PARAMETER_NOTES = [
    "published: counted on the official checkpoint; the paper's table 3.3 prints 221M for what both stages use at "
    "inference without the text tower.",
    "Stage 1 trains the two decoders; stage 2 the adapter, whose sizes nobody published.",
]
ORACLE_NOTES = [
    "Percent, mean over true masks. 1-pt: best of all masks of a grid of points; 1-box: the mask of the own box.",
    "squares: squares of 4 sizes around every point of the same grid (1-pt), and the box itself, filled (1-box).",
]
SPEED_NOTES = [
    "Seconds of the whole pipeline from image to masks, median of the rounds; both sides take turns in one process. "
    "Random weights: the number of kept masks differs, and with it the post-processing.",
]


def parameter_table() -> list[dict]:
    """Counts the published model, part by part."""
    with torch.device("meta"):
        model = UnpairSegForOpenVocabularySegmentation(UnpairSegConfig())

    def count(module: torch.nn.Module | None) -> int:
        return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())

    parts = [
        ("CLIP visual trunk", count(model.model.backbone), 196_230_336),
        ("CLIP visual projection", count(model.visual_projection), 3_540_480),
        ("pixel decoder", count(model.model.pixel_decoder), 5_790_144),
        ("mask decoder with prompt encoder", count(model.model.mask_decoder), 16_188_421),
    ]
    rows: list[tuple[str, int, int | None]] = [*parts]
    rows.append(("sum: the paper's 221M", sum(own for _, own, _ in parts), 221_749_381))
    rows.append(("CLIP text tower with logit scale", count(model.text_model) + 1, 152_001_793))
    trainable = count(model.model.pixel_decoder) + count(model.model.mask_decoder)
    rows.append(("trained in stage 1", trainable, 21_978_565))
    rows.append(("semantic adapter, trained in stage 2", count(model.adapter), None))
    return [
        {
            "part": name,
            "parameters": own,
            "published": published,
            "deviation %": None if published is None else 100 * (own / published - 1),
        }
        for name, own, published in rows
    ]


def squares(height: int, width: int, points_per_side: int) -> np.ndarray:
    """Draws squares of a tenth, a fifth, two fifths and four fifths of the longer side around a grid of points.

    Shape:
        Output: (4 * points_per_side ** 2, H, W), bool.
    """
    steps = (np.arange(points_per_side) + 0.5) / points_per_side
    masks = []
    for y in steps * height:
        for x in steps * width:
            for share in (0.1, 0.2, 0.4, 0.8):
                half = share * max(height, width) / 2
                mask = np.zeros((height, width), dtype=bool)
                mask[max(0, int(y - half)) : int(y + half) + 1, max(0, int(x - half)) : int(x + half) + 1] = True
                masks.append(mask)
    return np.stack(masks)


def oracle_iou(model: Any, processor: Any, dataset: Any, points_per_side: int) -> dict[str, float]:
    """The papers' two numbers."""
    numbers = evaluate_promptable(model, processor, dataset, points_per_side)
    return {"1-pt IoU": numbers["one_point_oracle_iou"], "1-box IoU": numbers["one_box_oracle_iou"]}


def baseline(dataset: Any, points_per_side: int) -> dict[str, float]:
    """Measures what needs no learning; see `ORACLE_NOTES`."""
    pool, paired = OracleIoU("pool"), OracleIoU("paired")
    for index in range(len(dataset)):
        masks = true_masks(dataset[index])
        masks = masks[masks.reshape(len(masks), -1).any(1)]
        if not len(masks):
            continue
        boxes = boxes_of_masks(torch.from_numpy(masks)).int().tolist()
        filled = np.zeros_like(masks)
        for mask, (x0, y0, x1, y1) in zip(filled, boxes):
            mask[y0:y1, x0:x1] = True
        pool.add(prediction=squares(masks.shape[1], masks.shape[2], points_per_side), reference=masks)
        paired.add(prediction=filled, reference=masks)
    return {"1-pt IoU": pool.compute()["oracle_iou"], "1-box IoU": paired.compute()["oracle_iou"]}


def oracle_table(model: str, reader: str, arguments: Mapping[str, Any], points_per_side: int) -> tuple[dict, list[str]]:
    """Measures a trained folder, the same network untrained, and the baseline.

    Args:
        model: Folder.
        reader: `package.module:attribute` of a reader.
        arguments: Its keywords.
        points_per_side: Of the grid.
    """
    module, _, attribute = reader.partition(":")
    dataset = getattr(importlib.import_module(module), attribute)(**arguments)
    processor = AutoImageProcessor.from_pretrained(model)
    torch.manual_seed(0)
    untrained = AutoModelForMaskGeneration.from_config(AutoConfig.from_pretrained(model)).eval()
    trained = AutoModelForMaskGeneration.from_pretrained(model).eval()
    rows = [
        {"masks of": "squares", **baseline(dataset, points_per_side)},
        {"masks of": "untrained", **oracle_iou(untrained, processor, dataset, points_per_side)},
        {"masks of": "trained", **oracle_iou(trained, processor, dataset, points_per_side)},
    ]
    notes = [*ORACLE_NOTES, f"{len(dataset)} images, {points_per_side} x {points_per_side} points."]
    return {f"Oracle IoU, {Path(model).name}": rows}, notes


class PeakMemory:
    """Largest resident memory of this process while a block runs, sampled 50 times a second, in GiB."""

    def __enter__(self) -> "PeakMemory":
        self.peak, self._running = 0.0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        page = resource.getpagesize()
        while self._running:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**30
            self.peak = max(self.peak, resident)
            time.sleep(0.02)

    def __exit__(self, *_: Any) -> None:
        self._running = False
        self._thread.join()


def speed_table(
    side: int,
    points_per_side: int,
    rounds: int,
    against: str,
    authors_code: str | None = None,
    config: UnpairSegConfig | None = None,
    warmup: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
) -> tuple[dict, list[str]]:
    """Times automatic mask generation of one image, both sides taking turns.

    Args:
        side: Longer side of the network input.
        points_per_side: Of the grid, for both sides.
        rounds: Timed rounds.
        against: `"transformers:sam"`, `"authors"` or `"none"`.
        authors_code: Checkout of the authors' repository, for `"authors"`.
        config: Of our model; default: the published one.
        warmup: Rounds that are not counted.
        device: As torch names it.
        dtype: Of the weights, for both sides.

    Raises:
        ValueError: If the official code is asked for and not there.
    """
    torch.manual_seed(0)
    config = config or UnpairSegConfig()
    processor = UnpairSegImageProcessor(size={"longest_edge": side})
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (side * 3 // 4, side, 3), dtype=np.uint8))
    calls: dict[str, Callable[[], Any]] = {}
    notes = list(SPEED_NOTES)
    if against == "authors":
        if authors_code is None:
            raise ValueError("--against authors needs --authors_code DIR, a checkout of Unpair-Seg.pytorch.")
        from .unpairseg_authors import authors_model, center_scores, same_weights

        theirs = authors_model(authors_code, config, side, points_per_side)
        ours, threshold = same_weights(theirs, config), None
        # Their images come in resized and padded, with gray levels; ours are read from the image as it is.
        values = processor(images=[image], return_tensors="pt")["pixel_values"][0]
        center_scores(theirs, ours, values[None], points_per_side)
        values = values * theirs.pixel_std + theirs.pixel_mean
        inputs = [{"image": values, "height": image.height, "width": image.width}]

        def run_theirs() -> int:
            with torch.inference_mode():
                return len(theirs(inputs)[0]["proposal"])

        notes.append(
            "The official code has the same weights, random but for the scores, half of which pass the threshold; "
            "it gets the image resized and padded, and does not turn logits into masks. Its deformable attention is "
            "its own PyTorch fallback: the compiled one needs a GPU."
        )
    else:
        # Fresh scores lie around one half: the best third of the masks takes part, as with trained weights.
        ours, threshold = UnpairSegForMaskGeneration(config).eval(), 0.5
    place: dict[str, Any] = {"device": device}
    ours = ours.to(getattr(torch, dtype))
    own = HfsegMaskGenerationPipeline(model=ours, image_processor=processor, **place)
    calls["unpairseg"] = lambda: len(
        own(image, points_per_side=points_per_side, score_threshold=threshold)["masks"]  # type: ignore[call-overload, index]
    )
    if against == "authors":
        calls["official code"] = run_theirs
    if against == "transformers:sam":
        sam_config = SamConfig()
        vision_config: Any = sam_config.vision_config
        vision_config.image_size = side
        sam_processor = SamImageProcessor(size={"longest_edge": side}, pad_size={"height": side, "width": side})
        sam: Any = SamModel(sam_config).eval().to(getattr(torch, dtype))
        other = HfsegMaskGenerationPipeline(model=sam, image_processor=sam_processor, **place)
        calls["transformers SAM ViT-B"] = lambda: len(
            other(  # type: ignore[index]
                image,
                points_per_crop=points_per_side,
                points_per_batch=100,
                pred_iou_thresh=-1e9,
                stability_score_thresh=-1.0,
            )["masks"]
        )
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    peaks: dict[str, float] = {}
    found: dict[str, int] = {}
    for turn in range(rounds + warmup):
        for name, call in calls.items():
            gc.collect()
            with PeakMemory() as memory:
                start, start_cpu = time.perf_counter(), time.process_time()
                found[name] = call()
                if turn >= warmup:
                    seconds[name].append(time.perf_counter() - start)
                    cpu[name].append(time.process_time() - start_cpu)
            peaks[name] = max(peaks.get(name, 0.0), memory.peak)
    base = float(np.median(cpu["unpairseg"]))
    rows = [
        {
            "model": name,
            "masks": found[name],
            "seconds": float(np.median(seconds[name])),
            "CPU seconds": float(np.median(cpu[name])),
            "CPU time / ours": float(np.median(cpu[name])) / base,
            "process peak (GiB)": peaks[name],
        }
        for name in calls
    ]
    return {f"Masks of {points_per_side**2} points, {side} pixels": rows}, notes
