# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Speed and memory of the input pipeline: decoding, augmentation, targets.

The other side is a plain torchvision v2 pipeline for the same task: the same files decoded by Pillow, the same kind of
augmentation by torchvision's own transforms (flip, `ScaleJitter`, `RandomCrop` with padding; or `RandomShortestSize`,
`RandomCrop`, `RandomPhotometricDistort`, flip), normalization, and the map of segments with the classes that are left
in it. It keeps ids in one mask; the stacks of binary masks that torchvision's own datasets give are slower.
Every round runs both sides once, in alternating order, on workers that live through all rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from hfseg.data import load_folder
from hfseg.data.collators.collation import IMAGENET_MEAN, IMAGENET_STD, UniversalCollator
from hfseg.data.readers import folders
from hfseg.data.readers.images import read_map, read_rgb_ids
from hfseg.data.readers.schema import segments_from_map
from hfseg.data.transforms import instance_training_transforms, semantic_training_transforms

SEED = 0
SCALES = (0.1, 2.0)
MEMORY_LIMIT_MIB = 50


@dataclass
class DataOptions:
    """What to measure; see `hfseg benchmark data --help`."""

    data: str | None = None
    split: str | None = "train"
    transforms: str = "instance"
    crop: tuple[int, int] = (512, 512)
    samples: int = 64
    batch: int = 4
    rounds: int = 5
    workers: int = 2
    instances: int = 200
    target: int = 1024

    @classmethod
    def from_namespace(cls, options: argparse.Namespace) -> DataOptions:
        """Takes the fields from parsed arguments.

        Raises:
            ValueError: For counts below one (`workers`: below zero).
        """
        settings = cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})
        settings.crop = (settings.crop[0], settings.crop[1])
        for name, least in {"samples": 1, "batch": 1, "rounds": 1, "workers": 0, "instances": 1, "target": 32}.items():
            if getattr(settings, name) < least:
                raise ValueError(f"--{name} {getattr(settings, name)}: give at least {least}.")
        if min(settings.crop) < 1:
            raise ValueError(f"--crop {settings.crop}: give positive numbers.")
        return settings


def write_images(folder: Path, count: int, size: tuple[int, int] = (480, 640)) -> None:
    """Writes images of colored, noisy rectangles with class maps, in a layout that `load_folder` reads."""
    random = np.random.default_rng(SEED)
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    for index in range(count):
        image = np.full((*size, 3), 110, dtype=np.float32)
        label = np.zeros(size, dtype=np.uint8)
        for _ in range(20):
            top, left = random.integers(0, size[0] - 20), random.integers(0, size[1] - 20)
            window = np.s_[top : top + random.integers(20, 200), left : left + random.integers(20, 200)]
            image[window] = random.uniform(0, 255, 3)
            label[window] = random.integers(1, 20)
        image += random.normal(0, 12, image.shape)  # JPEG decoding takes longer where there is texture
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"images/train/{index}.jpg", quality=90)
        Image.fromarray(label).save(folder / f"labels/train/{index}.png")


class PlainDataset(Dataset):
    """The other side: images and label maps of a reader as torchvision's `tv_tensors`, transformed and normalized.

    Args:
        reader: Whose files are read.
        indices: Samples of it.
        transforms: torchvision v2 transforms of image and mask.
    """

    def __init__(self, reader: folders.FolderDataset, indices: Sequence[int], transforms: v2.Transform) -> None:
        self.files = [reader.files(index) for index in indices]
        self.read = read_rgb_ids if reader.kind == "panoptic" else read_map
        self.transforms = transforms
        self.normalize = v2.Compose(
            [
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image_file, label_file = self.files[index]
        with Image.open(image_file) as opened:
            image = v2.functional.to_image(opened.convert("RGB"))
        mask = tv_tensors.Mask(torch.from_numpy(self.read(label_file))[None])
        image, mask = self.normalize(*self.transforms(image, mask))
        present, ids = mask.as_subclass(torch.Tensor)[0].unique(return_inverse=True)  # (N,), (H, W)
        return image.as_subclass(torch.Tensor), ids, present


def collate_plain(samples: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> dict[str, Any]:
    """Batch of samples of equal size."""
    images, ids, present = zip(*samples)
    return {"pixel_values": torch.stack(images), "mask_labels": list(ids), "class_labels": list(present)}


def transforms_of(settings: DataOptions) -> tuple[v2.Transform, v2.Transform]:
    """Ours and torchvision's augmentation for the same task."""
    crop = settings.crop
    short_sides = [round(min(crop) * factor / 10) for factor in range(10, 21)]
    if settings.transforms == "instance":
        ours = instance_training_transforms(crop, SCALES)
        plain = [v2.RandomHorizontalFlip(), v2.ScaleJitter(crop, SCALES), v2.RandomCrop(crop, pad_if_needed=True)]
    else:
        ours = semantic_training_transforms(crop, short_sides, max_share=1.0)
        plain = [v2.RandomShortestSize(short_sides), v2.RandomCrop(crop, pad_if_needed=True)]
        plain += [v2.RandomPhotometricDistort(), v2.RandomHorizontalFlip()]
    return ours, v2.Compose(plain)


class _Indexed(Dataset):
    """Some samples of a dataset."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        return self.dataset[self.indices[position]]


def _pass_seconds(loader: DataLoader) -> float:
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


def throughput_rows(settings: DataOptions, reader: folders.FolderDataset) -> list[dict]:
    """Samples per second of both sides, medians over rounds, and the median ratio of the rounds."""
    indices = [index % len(reader) for index in range(settings.samples)]
    ours, plain = transforms_of(settings)
    shared: dict[str, Any] = {
        "batch_size": settings.batch,
        "num_workers": settings.workers,
        "persistent_workers": settings.workers > 0,
        "worker_init_fn": _one_thread,
    }
    collator = UniversalCollator(reader.ignore_index, ours, len(reader.id2label))
    sides: dict[str, DataLoader] = {
        "hfseg": DataLoader(_Indexed(reader, indices), collate_fn=collator, **shared),
        "torchvision v2": DataLoader(PlainDataset(reader, indices, plain), collate_fn=collate_plain, **shared),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for loader in sides.values():  # starts the workers, fills the file cache
        _pass_seconds(loader)
    for number in range(settings.rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            torch.manual_seed(SEED + number)  # the seed of the workers' augmentation
            seconds[name].append(_pass_seconds(sides[name]))
    ratio = statistics.median(b / a for a, b in zip(*seconds.values()))
    rows = []
    for name, values in seconds.items():
        rates = [settings.samples / value for value in values]
        rows.append(
            {
                "pipeline": name,
                "samples/s": statistics.median(rates),
                "slowest": min(rates),
                "fastest": max(rates),
                "hfseg / torchvision": ratio if name == "hfseg" else None,
            }
        )
    return rows


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


# ----------------------------------------------------------------------------------------------------------------------
# Memory
# ----------------------------------------------------------------------------------------------------------------------


def _peak_bytes() -> int:
    """Largest resident size of this process since the last `_reset_peak`."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # elsewhere the peak so far counts, which the first batches made
        pass


def crowded_example(instances: int, size: int) -> dict[str, Any]:
    """An image of `size` squared with `instances` instances side by side, in the universal schema."""
    columns = int(np.ceil(np.sqrt(instances)))
    cell = np.arange(size) * columns // size
    ids = np.minimum(cell[:, None] * columns + cell[None] + 1, instances).astype(np.int32)  # (H, W)
    image = np.random.default_rng(SEED).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return {
        "image": image,
        "segmentation": ids,
        "segments_info": segments_from_map(ids, dict.fromkeys(range(1, instances + 1), 0)),
    }


def _memory_of(instances: int, size: int, batch: int) -> tuple[int, int]:
    """Bytes per sample that the peak of one batch lies above the resident size before it, and instances kept."""
    torch.set_num_threads(1)
    collate = UniversalCollator(num_labels=1, transforms=instance_training_transforms((size, size), (1.0, 1.0)))
    collate([crowded_example(9, 64)])  # imports and first allocations are not the sample's
    examples = [crowded_example(instances, size) for _ in range(batch)]
    _reset_peak()
    before = _peak_bytes()
    result = collate(examples)
    return (_peak_bytes() - before) // batch, len(result["class_labels"][0])


def memory_row(settings: DataOptions) -> dict:
    """Peak memory per sample of a batch of crowded images, measured in a fresh process."""
    # An executor, not a pool: a process that dies is an error there, and here would be waited for without end.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        peak, kept = executor.submit(_memory_of, settings.instances, settings.target, settings.batch).result()
    return {
        "instances": kept,
        "target": f"{settings.target} x {settings.target}",
        "batch": settings.batch,
        "peak MiB per sample": peak / 2**20,
        "limit MiB": float(MEMORY_LIMIT_MIB),
    }


def data_tables(settings: DataOptions) -> tuple[dict[str, list[dict]], list[str]]:
    """Tables by title, and notes on how to read them."""
    with tempfile.TemporaryDirectory() as folder:
        source = settings.data
        if source is None:
            write_images(Path(folder), min(settings.samples, 64))
            source = folder
        rows = throughput_rows(settings, load_folder(source, settings.split))
    height, width = settings.crop
    title = f"Input pipeline, `{settings.transforms}` transforms, crop {height} x {width}, {settings.workers} workers"
    notes = [
        f"{settings.samples} samples per round, {settings.rounds} rounds, batches of {settings.batch}; every round "
        "runs both sides, in alternating order; wall time, workers started before. hfseg / torchvision: median of the "
        "rounds' ratios of samples/s, above 1 is faster.",
        "Both sides decode with Pillow, keep segments in one id map, normalize and list the classes left in the crop.",
        "Memory: peak resident size above that before collation, per sample; images and id maps are read before.",
    ]
    if settings.data is None:
        notes.append("Images: 640 x 480 JPEG of noisy rectangles; give --data FOLDER for real ones.")
    return {title: rows, "Memory of crowded images": [memory_row(settings)]}, notes
