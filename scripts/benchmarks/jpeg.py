# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From JPEG bytes to masks: hfseg's pipeline beside transformers' with the same Mask2Former, in one process.

Decoding, preprocessing, network, post-processing and masks of every segment count, for both sides, which take turns.
Weights are random. transformers keeps the segments above its own score threshold, of which random weights give none:
both sides therefore get a threshold of 0, so that both make masks of every query that wins pixels.
"""

import io
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor, pipeline

import hfseg

SIZES = {"640x480": (640, 480), "12 megapixels": (4000, 3000)}
SWIN_TINY = {
    "model_type": "swin",
    "depths": [2, 2, 6, 2],
    "drop_path_rate": 0.0,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
NOTES = [
    "Both sides: the same random weights (Swin-T, 100 queries, 133 classes), the same JPEG bytes, panoptic, masks of "
    "all segments looked at. `ratio` is CPU time over that of transformers, medians of rounds that take turns in one "
    "process, one thread.",
    "Peak: growth of this process's resident memory during a call, sampled every 2 ms. Threshold 0 on both sides, "
    "because random weights are sure of nothing; both make as many masks as queries win pixels.",
]


def resident() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Peak:
    """Largest resident memory while a block runs, above that at its start, in MiB."""

    def __enter__(self) -> "Peak":
        self.start, self.growth, self.over = resident(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(0.002):
            self.growth = max(self.growth, resident() - self.start)

    def __exit__(self, *error: Any) -> None:
        self.over.set()
        self.thread.join()
        self.growth = max(self.growth, resident() - self.start)


def save_teacher(
    folder: Path, labels: int, backbone: dict, queries: int = 100, edges: tuple[int, int] = (800, 1333)
) -> None:
    """Saves a random Mask2Former with its image processor."""
    torch.manual_seed(0)
    config = Mask2FormerConfig(backbone_config=dict(backbone), num_labels=labels)
    model = Mask2FormerForUniversalSegmentation(config)
    model.save_pretrained(folder)
    size = {"shortest_edge": edges[0], "longest_edge": edges[1]}
    Mask2FormerImageProcessor(size=size, ignore_index=255, do_reduce_labels=False).save_pretrained(folder)


def photo(width: int, height: int) -> bytes:
    """A smooth image as JPEG."""
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def segment(pipe: Any, content: bytes) -> int:
    """JPEG bytes to the pixels of every mask; returns how many masks."""
    found = pipe(Image.open(io.BytesIO(content)), subtask="panoptic", threshold=0.0, overlap_mask_area_threshold=0.0)
    return sum(np.asarray(entry["mask"]).any() for entry in found)


def jpeg_table(
    rounds: int = 3, backbone: dict | None = None, edges: tuple[int, int] = (800, 1333), sizes: Any = None
) -> tuple[dict[str, list[dict]], list[str]]:
    """Times both pipelines.

    Args:
        rounds: Of both sides, after one that is not counted.
        backbone: Configuration of the backbone; default: Swin-T.
        edges: Shortest and longest edge after resizing.
        sizes: Name to (width, height) of the images.
    """
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        theirs, ours = Path(place) / "theirs", Path(place) / "ours"
        save_teacher(theirs, 133, backbone or SWIN_TINY, edges)
        hfseg.from_mask2former(theirs, ours, stuff_class_ids=[])
        sides = {
            "transformers": pipeline("image-segmentation", model=str(theirs), device="cpu"),
            "hfseg": pipeline("image-segmentation", model=str(ours), device="cpu"),
        }
        for name, (width, height) in (sizes or SIZES).items():
            content = photo(width, height)
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            peaks, masks = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0)
            for number in range(rounds + 1):
                for side, pipe in sides.items():
                    start = time.process_time()
                    with Peak() as peak:
                        masks[side] = segment(pipe, content)
                    if number:
                        seconds[side].append(time.process_time() - start)
                        peaks[side] = max(peaks[side], peak.growth)
            medians = {side: statistics.median(values) for side, values in seconds.items()}
            for side in sides:
                rows.append(
                    {
                        "image": name,
                        "pipeline": side,
                        "masks": masks[side],
                        "CPU s": medians[side],
                        "ratio": medians[side] / medians["transformers"],
                        "peak MiB": peaks[side],
                        "memory ratio": peaks[side] / max(peaks["transformers"], 1e-9),
                    }
                )
    return {"From JPEG bytes to masks": rows}, NOTES
