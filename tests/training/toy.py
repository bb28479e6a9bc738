# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A segmentation model of a few hundred weights and data with uneven numbers of targets, for the tests of the loop."""

import itertools
import random

import numpy as np
import torch
from torch import nn

from hfseg.training import TrainingArguments


class ToyDataset(torch.utils.data.Dataset):
    """Random 8x8 images; each has its own number of labeled pixels; augmented from all three generators."""

    def __init__(self, length: int = 13, noise: bool = True) -> None:
        self.length, self.noise = length, noise

    def __len__(self) -> int:
        return self.length

    def sample_id(self, index: int) -> str:
        return f"image-{index}"

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        pixel_values = torch.randn(3, 8, 8, generator=generator)
        labels = (pixel_values.sum(0) > 0).long()
        labels[torch.rand(8, 8, generator=generator) < index / self.length] = 255
        if self.noise:
            pixel_values = pixel_values + 0.1 * torch.randn(3, 8, 8) + random.random() + float(np.random.rand())
        return {"pixel_values": pixel_values, "labels": labels}


def _rows(parts):
    for part in parts:
        for index in part:
            yield {"index": index}


class ToyStream:
    """`ToyDataset` as a stream: shards of uneven lengths."""

    def __init__(self, length: int = 26, shards: int = 5) -> None:
        import datasets

        self.images, self.num_samples, self.num_shards = ToyDataset(length), length, shards
        bounds = [round(length * (shard / shards) ** 1.3) for shard in range(shards + 1)]
        parts = [range(start, stop) for start, stop in itertools.pairwise(bounds)]
        self.table = datasets.IterableDataset.from_generator(_rows, gen_kwargs={"parts": parts})

    def shard(self, index):
        return self.table.shard(num_shards=self.num_shards, index=index)

    def name_of(self, row):
        return f"image-{row['index']}"

    def example(self, row):
        return self.images[row["index"]]


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stacks samples; a random brightness per sample stands for augmentation in the collator."""
    pixel_values = torch.stack([sample["pixel_values"] * (0.5 + random.random()) for sample in samples])
    return {"pixel_values": pixel_values, "labels": torch.stack([sample["labels"] for sample in samples])}


class ToyModel(nn.Module):
    """Two convolutions with dropout; `normalized` takes part in the contract of `hfseg.training.normalization`."""

    _no_split_modules = ["Conv2d"]  # units of FSDP

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(8, 2, 1)

    def loss_normalizer(self, batch):
        return (batch["labels"] != 255).sum().float()

    def forward(self, pixel_values, labels=None, loss_normalizer=None):
        logits = self.head(self.dropout(self.norm(self.backbone(pixel_values)).relu()))
        total = nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="sum")
        loss = total / (loss_normalizer if loss_normalizer is not None else (labels != 255).sum())
        return {"loss": loss, "logits": logits, "loss_dict": {"cross_entropy": loss}}


class ToyGan(nn.Module):
    """An image autoencoder with a discriminator, two phases; noise from torch's generator in both."""

    _no_split_modules = ["Conv2d", "Linear"]  # units of FSDP

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(dropout), nn.Conv2d(4, 3, 1))
        self.discriminator = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Dropout(dropout))
        self.score = nn.Linear(4, 1)

    def judge(self, images):
        return self.score(self.discriminator(images).mean((2, 3)))

    def forward(self, pixel_values, phase):
        made = self.generator(pixel_values + 0.1 * torch.randn_like(pixel_values))
        if phase == "generator":
            distance, fooled = (made - pixel_values).pow(2).mean(), -self.judge(made).mean()
            return {"loss": distance + fooled, "loss_dict": {"distance": distance, "adversarial": fooled}}
        return {"loss": (1 - self.judge(pixel_values)).relu().mean() + (1 + self.judge(made.detach())).relu().mean()}


GAN_PHASES = [
    {"name": "generator", "modules": ["generator"]},
    {
        "name": "discriminator",
        "modules": ["discriminator", "score"],
        "optimizer": {"learning_rate": 0.02, "clip_norm": None},
        "schedule": {"name": "constant", "warmup_steps": 0},
        "first_step": 1,
        "every": 2,
    },
]


def toy_arguments(**sections) -> TrainingArguments:
    """Arguments of a short run; keyword `run={...}` and so on change single keys."""
    recipe = {
        "data": {"batch_size": 2},
        "optimizer": {"learning_rate": 0.01, "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": 3},
        "run": {"max_steps": 12, "seed": 5, "save_every": 4, "log_every": 100},
    }
    for name, values in sections.items():
        if isinstance(values, dict):
            recipe.setdefault(name, {}).update(values)
        else:
            recipe[name] = values
    return TrainingArguments.from_dict(recipe)
