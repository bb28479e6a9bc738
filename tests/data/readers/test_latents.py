# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Latents on disk: every sample comes back as it was encoded, broken-off calls go on, damage is named."""

from types import SimpleNamespace

import pytest
import torch

from hfseg.data.readers.latents import LatentDataset, collate_latents, write_latents


class Pairs:
    """Sample n shows n, and asks for n + 100."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return {
            "input": torch.full((2, 3, 1, 4, 4), float(index)),
            "target": torch.full((2, 3, 1, 4, 4), index + 100.0),
        }

    def task_of(self, index):
        return SimpleNamespace(name=f"task{index % 2}")


def collate(items):
    return {f"{part}_pixels": torch.stack([item[part] for item in items]) for part in ("input", "target")}


def encode(pixels):
    return pixels[:, :, :1] * 2, pixels[:, :, :1] + 0.5


def test_samples_come_back_in_their_places(tmp_path):
    folder = write_latents(Pairs(), collate, encode, tmp_path / "latents", samples_per_shard=3)
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        f"shard-0000{n}.safetensors" for n in range(3)
    ]
    data = LatentDataset(folder)
    assert len(data) == 7
    for index in range(7):
        sample = data[index]
        assert sample["input_mean"].shape == (2, 1, 1, 4, 4)
        found = [sample[part].unique().item() for part in ("input_mean", "input_std", "target_mean", "target_std")]
        assert found == [2 * index, index + 0.5, 2 * (index + 100), index + 100.5]
        assert sample["task"] == f"task{index % 2}" and data.sample_id(index) == f"task{index % 2}-{index}"
    batch = collate_latents([data[6], data[1]])
    assert batch["target_std"].shape == (2, 2, 1, 1, 4, 4) and batch["task"] == ["task0", "task1"]
    assert batch["target_std"][:, 0, 0, 0, 0, 0].tolist() == [106.5, 101.5]
    with pytest.raises(IndexError, match="sample 7 of 7"):
        data[7]


def test_a_call_that_broke_off_goes_on_and_keeps_whole_shards(tmp_path):
    calls = []

    def counting(pixels):
        calls.append(len(pixels))
        if len(calls) == 9:  # sample 4's input, in the second shard
            raise KeyboardInterrupt
        return encode(pixels)

    with pytest.raises(KeyboardInterrupt):
        write_latents(Pairs(), collate, counting, tmp_path, samples_per_shard=3)
    with pytest.raises(FileNotFoundError, match=r"no index\.json"):
        LatentDataset(tmp_path)
    write_latents(Pairs(), collate, counting, tmp_path, samples_per_shard=3)
    assert len(calls) == 9 + 2 * 4
    assert LatentDataset(tmp_path)[4]["input_mean"].unique().item() == 8


def test_damage_is_named(tmp_path):
    write_latents(Pairs(), collate, encode, tmp_path, samples_per_shard=3)
    shard = tmp_path / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors is damaged"):
        LatentDataset(tmp_path)[3]
    assert LatentDataset(tmp_path)[2]["input_mean"].unique().item() == 4
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks shard-00001\.safetensors"):
        LatentDataset(tmp_path)
