# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From the bytes of a JPEG to masks: `pipeline("image-segmentation")` of a Mask2Former and of its PRO-SCALE.

A Mask2Former (Swin-T, COCO's 133 classes, random weights) is saved, `hfseg.from_mask2former` turns its folder into one
of ours (`encoder="full"`: the same weights), and both folders are opened by transformers' own pipeline. Forward passes
run in full; what comes out of them is compared, and then replaced on both sides by the same ellipses, so that results
look like those of a trained model. Both sides run in one process, in turns, on CPU time; the memory of each is the peak
of a process of its own.
"""

import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .predict_instances import ellipses

SUBTASKS = ("panoptic", "instance", "semantic")
TITLE = "From JPEG bytes to masks"
LIVE = 16  # queries that show an object
NOTES = [
    "CPU seconds on one thread, medians; both sides in one process, in turns. Memory: peak of a process of its own, "
    "imports and weights included.",
    f"Forward passes run in full; masks and classes are then replaced on both sides by the same {LIVE} ellipses.",
    "Agreement: of the pixels that ours gives to a class, those that transformers gives to the same. Three things "
    "differ on purpose: transformers stretches images to multiples of 32 (ours pads, as the official code), resizes "
    "mask probabilities to 384 x 384 before it decides (ours decides at the image's size), and its panoptic segments "
    "take pixels that lie outside of their own masks.",
    "With run lengths: the segments are encoded as COCO run lengths, ours by `result.to_coco`, transformers' masks "
    "by `pycocotools.mask.encode`.",
    "Logits apart: mask logits of both networks for the same pixels, largest difference over the largest logit.",
]


def coco_names() -> dict[int, str]:
    """133 names; what they are does not matter here."""
    return {index: f"class {index}" for index in range(133)}


def save_folders(folder: str) -> None:
    """Writes the two model folders."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    from hfseg import from_mask2former

    torch.manual_seed(0)
    config = Mask2FormerConfig(id2label=coco_names())
    Mask2FormerForUniversalSegmentation(config).save_pretrained(f"{folder}/theirs")
    # The published checkpoints' preprocessing: short side 800, long side at most 1333.
    Mask2FormerImageProcessor(
        size={"shortest_edge": 800, "longest_edge": 1333}, size_divisor=32, ignore_index=255, do_reduce_labels=False
    ).save_pretrained(f"{folder}/theirs")
    from_mask2former(f"{folder}/theirs", f"{folder}/ours", stuff_class_ids=list(range(80, 133)))


def photograph(height: int, width: int) -> bytes:
    """Bytes of a smooth JPEG."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def show_ellipses(model: torch.nn.Module) -> None:
    """Replaces what the model found, after it has found it."""
    plain = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        outputs = plain(*args, **kwargs)
        masks = outputs.masks_queries_logits
        outputs.masks_queries_logits = torch.full_like(masks, -9.0)
        outputs.masks_queries_logits[0, :LIVE] = ellipses(LIVE, *masks.shape[-2:])
        classes = torch.full_like(outputs.class_queries_logits, -4.0)
        for index in range(LIVE):
            classes[0, index, (index * 7) % 133] = 7.0 + 0.01 * index
        classes[0, LIVE:, -1] = 9.0
        outputs.class_queries_logits = classes
        return outputs

    model.forward = forward  # type: ignore[method-assign]


def open_pipeline(folder: str, side: str) -> Any:
    """Opens one side's folder with transformers' pipeline."""
    from transformers import pipeline

    import hfseg  # noqa: F401  registers our classes

    return pipeline("image-segmentation", model=f"{folder}/{side}", device="cpu")


def segment(segmenter: Any, data: bytes, subtask: str) -> list[dict]:
    """What a user waits for: decoding, preprocessing, model, masks."""
    return segmenter(Image.open(io.BytesIO(data)).convert("RGB"), subtask=subtask, threshold=0.5)


@torch.no_grad()
def logits_apart(sides: dict[str, Any], data: bytes) -> float:
    """Largest difference of mask logits, over the largest of them; both networks get transformers' pixels."""
    pixels = sides["theirs"].image_processor(Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")
    one, other = (sides[side].model(pixel_values=pixels["pixel_values"]) for side in ("ours", "theirs"))
    masks, reference = one.masks_queries_logits, other.masks_queries_logits
    return float((masks - reference).abs().max() / reference.abs().max())


def class_map(results: list[dict], names: dict[str, int]) -> np.ndarray:
    """Class of every pixel, 0 where there is none; smaller segments lie on top. Shape: (H, W)."""
    masks = [(np.asarray(result["mask"]) > 0, names[result["label"]] + 1) for result in results]
    total = np.zeros(masks[0][0].shape, dtype=np.int64)
    for mask, label in sorted(masks, key=lambda pair: -int(pair[0].sum())):
        total[mask] = label
    return total


def _high_water() -> float:
    """Peak of this process in GiB. (`getrusage` also knows what its parent had.)"""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def run_lengths(side: str, results: Any) -> list[Any]:
    """Run lengths of all segments, as files of results hold them: ours of the result, the peer's by pycocotools."""
    if side == "ours":
        return results.result.to_coco(image_id=1)
    from pycocotools import mask

    return [mask.encode(np.asfortranarray(np.asarray(found["mask"], dtype=bool))) for found in results]


def _peak(folder: str, side: str, data: bytes, subtask: str) -> float:
    torch.set_num_threads(1)
    segmenter = open_pipeline(folder, side)
    show_ellipses(segmenter.model)
    segment(segmenter, data, subtask)
    return _high_water()


def peak_memory(folder: str, side: str, data: bytes, subtask: str) -> float:
    """Peak in GiB of a new process that loads everything and segments one image."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, folder, side, data, subtask).result()


def pipeline_rows(
    sizes: list[tuple[int, int]],
    rounds: int,
    folder: str,
    memory: bool = True,
    done: Callable[[list[dict]], None] | None = None,
) -> list[dict]:
    """One row per image size and subtask.

    Args:
        sizes: Heights and widths of the photographs.
        rounds: Measured images per side, after one that is not counted.
        folder: Of the two model folders.
        memory: Whether to measure peaks too.
        done: Called with the rows so far after each.
    """
    sides = {side: open_pipeline(folder, side) for side in ("theirs", "ours")}
    apart = {size: logits_apart(sides, photograph(*size)) for size in sizes}
    for segmenter in sides.values():
        show_ellipses(segmenter.model)
    names = {name: index for index, name in coco_names().items()}
    rows = []
    for height, width in sizes:
        data = photograph(height, width)
        for subtask in SUBTASKS:
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            with_lengths: dict[str, list[float]] = {side: [] for side in sides}
            results: dict[str, list[dict]] = {}
            for turn in range(rounds + 1):
                for side, segmenter in sides.items():
                    start = time.process_time()
                    results[side] = segment(segmenter, data, subtask)
                    segmented = time.process_time() - start
                    run_lengths(side, results[side])
                    if turn:
                        seconds[side].append(segmented)
                        with_lengths[side].append(time.process_time() - start)
            maps = {side: class_map(result, names) for side, result in results.items()}
            medians = {side: float(np.median(values)) for side, values in seconds.items()}
            lengths = {side: float(np.median(values)) for side, values in with_lengths.items()}
            given = maps["ours"] > 0
            row = {
                "image": f"{width} x {height}",
                "subtask": subtask,
                "transformers_s": round(medians["theirs"], 2),
                "hfseg_s": round(medians["ours"], 2),
                "ratio": round(medians["ours"] / medians["theirs"], 3),
                "with_run_lengths_transformers_s": round(lengths["theirs"], 2),
                "with_run_lengths_hfseg_s": round(lengths["ours"], 2),
                "with_run_lengths_ratio": round(lengths["ours"] / lengths["theirs"], 3),
                "segments": [len(results["theirs"]), len(results["ours"])],
                "agreement_percent": round(100 * float((maps["ours"] == maps["theirs"])[given].mean()), 2),
                "logits_apart": float(f"{apart[height, width]:.1e}"),
            }
            if memory:
                row |= {f"{side}_peak_gib": round(peak_memory(folder, side, data, subtask), 2) for side in sides}
            rows.append(row)
            if done is not None:
                done(rows)
    return rows


def pipeline_table(
    sizes: list[tuple[int, int]],
    rounds: int,
    done: Callable[[dict[str, list[dict]], list[str]], None] | None = None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """The whole measurement, in a temporary folder; `done` gets the table so far after each row."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save_folders(folder)
        assert Path(folder, "ours", "preprocessor_config.json").is_file()

        def report(rows: list[dict]) -> None:
            if done is not None:
                done({TITLE: rows}, NOTES)

        return {TITLE: pipeline_rows(sizes, rounds, folder, done=report)}, NOTES
