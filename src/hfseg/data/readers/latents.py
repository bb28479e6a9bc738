# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Precomputed latents: encode an in-context dataset once, then train without the autoencoder.

A folder of `shard-00000.safetensors`, ... and `index.json`. Shards are memory-mapped and read sample by sample, so that
nothing but the current samples is in memory. Kept are mean and spread of the posterior, from which training draws anew
every time. Samples keep the examples they were drawn with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...files.writing import replacing, write_json

__all__ = ["LatentDataset", "collate_latents", "write_latents"]

PARTS = ("input_mean", "input_std", "target_mean", "target_std")
Encoder = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def write_latents(
    dataset: Any,
    collate: Callable[[list], Mapping[str, Any]],
    encode: Encoder,
    folder: str | os.PathLike,
    *,
    samples_per_shard: int = 256,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Encodes a dataset. Shards that are complete already are kept, so that an interrupted call goes on.

    Args:
        dataset: `InContextDataset`.
        collate: `InContextCollator`.
        encode: Pixels (B, N, 3, T, H, W) to mean and spread, e.g. `LavinDiTForTraining.encode_moments`.
        folder: Where to write.
        samples_per_shard: Samples per file.
        dtype: Of the files; bfloat16 halves them.

    Returns:
        The folder.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    count = len(dataset)
    tasks = []
    for number, start in enumerate(range(0, count, samples_per_shard)):
        file = path / f"shard-{number:05d}.safetensors"
        indices = range(start, min(start + samples_per_shard, count))
        tasks += [dataset.task_of(index).name for index in indices]
        if file.exists():
            continue
        tensors = {}
        for index in indices:
            batch = collate([dataset[index]])
            moments = [*encode(batch["input_pixels"]), *encode(batch["target_pixels"])]
            for part, tensor in zip(PARTS, moments):
                tensors[f"{index}.{part}"] = tensor[0].to("cpu", dtype).contiguous()
        with replacing(file) as temporary:
            save_file(tensors, temporary)
    write_json(path / "index.json", {"samples": count, "samples_per_shard": samples_per_shard, "tasks": tasks})
    return path


class LatentDataset(torch.utils.data.Dataset):
    """Samples that `write_latents` wrote.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: It is not there or not complete.
        ValueError: (when read) A shard is damaged.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{folder} has no index.json: no folder of latents, or writing broke off."
            ) from error
        self.samples, self.per_shard = int(index["samples"]), int(index["samples_per_shard"])
        self.tasks: list[str] = index["tasks"]
        missing = [
            self._file(start).name
            for start in range(0, self.samples, self.per_shard)
            if not self._file(start).is_file()
        ]
        if missing:
            raise FileNotFoundError(f"{folder} lacks {', '.join(missing[:5])}; write the latents again.")

    @property
    def num_examples(self) -> int:
        """Pairs that show a sample's task, by the first sample."""
        return len(self[0]["input_mean"]) - 1

    def _file(self, index: int) -> Path:
        return self.folder / f"shard-{index // self.per_shard:05d}.safetensors"

    def __len__(self) -> int:
        return self.samples

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        return f"{self.tasks[index]}-{index}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.samples:
            raise IndexError(f"sample {index} of {self.samples}")
        try:
            with safe_open(self._file(index), "pt") as shard:
                tensors = {part: shard.get_tensor(f"{index}.{part}") for part in PARTS}
        except SafetensorError as error:
            raise ValueError(
                f"{self._file(index)} is damaged ({error}); delete it and write the latents again."
            ) from error
        return {**tensors, "task": self.tasks[index]}


def collate_latents(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Makes batches of `LatentDataset`; each part (B, N + 1, C, F, h, w)."""
    return {**{part: torch.stack([item[part] for item in items]) for part in PARTS}, "task": [i["task"] for i in items]}
