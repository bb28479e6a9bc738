# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of the input pipeline: both sides do the same work, and crowded images stay within their memory."""

import json

import numpy as np
import pytest
import torch

import benchmarks
from benchmarks import data
from hfseg.data import UniversalCollator, load_folder


@pytest.fixture
def reader(tmp_path):
    data.write_images(tmp_path / "images", 2, (40, 60))
    return load_folder(tmp_path / "images", "train")


def test_both_sides_give_the_same_batch_without_augmentation(reader):
    keep = data.v2.Identity()
    plain = data.collate_plain([data.PlainDataset(reader, [0, 1], keep)[k] for k in range(2)])
    ours = UniversalCollator(reader.ignore_index, size_divisor=1)([reader[0], reader[1]])
    torch.testing.assert_close(ours["pixel_values"], plain["pixel_values"])
    for k in range(2):
        assert torch.equal(ours["class_labels"][k], plain["class_labels"][k].long())
        assert torch.equal(ours["mask_labels"][k] - 1, plain["mask_labels"][k].int())


@pytest.mark.parametrize("transforms", ["instance", "semantic"])
def test_both_sides_augment_to_the_same_shapes(reader, transforms):
    settings = data.DataOptions(transforms=transforms, crop=(32, 32))
    ours, plain = data.transforms_of(settings)
    batch = UniversalCollator(transforms=ours, size_divisor=1)([reader[0], reader[1]])
    other = data.collate_plain([data.PlainDataset(reader, [0, 1], plain)[k] for k in range(2)])
    assert batch["pixel_values"].shape == other["pixel_values"].shape == (2, 3, 32, 32)


def test_crowded_images():
    example = data.crowded_example(200, 256)
    assert len(example["segments_info"]) == 200 and len(np.unique(example["segmentation"])) == 200
    row = data.memory_row(data.DataOptions(batch=2, instances=200, target=1024))
    assert row["instances"] == 200 and 10 < row["peak MiB per sample"] <= data.MEMORY_LIMIT_MIB


def test_command(tmp_path, capsys):
    options = ["--samples", "2", "--batch", "2", "--rounds", "1", "--workers", "0", "--crop", "32", "32"]
    options += ["--target", "64", "--instances", "4", "--output", str(tmp_path / "data.json")]
    assert benchmarks.main(["data", *options]) == 0
    result = json.loads((tmp_path / "data.json").read_text())
    rows = next(iter(result["tables"].values()))
    assert [row["pipeline"] for row in rows] == ["hfseg", "torchvision v2"] and all(
        row["samples/s"] > 0 for row in rows
    )
    assert benchmarks.main(["data", "--rounds", "0"]) == 1
    assert "--rounds 0: give at least 1" in capsys.readouterr().err
