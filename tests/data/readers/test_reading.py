# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Damaged samples: the dataset stops with the sample's name, or takes another in its place and counts."""

import numpy as np
import pytest
import torch

from hfseg.data import TolerantDataset
from small_ade20k import NAMES, SIZE, load, save


@pytest.fixture
def ade20k(tmp_path):
    for k, name in enumerate(NAMES):
        save(tmp_path / f"images/training/{name}.jpg", np.full((*SIZE, 3), 40 * k))
        save(tmp_path / f"annotations/training/{name}.png", np.full(SIZE, k))
    return tmp_path


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.fixture
def damaged(ade20k):
    """An image in the middle whose header is whole and whose data ends early: only reading it shows."""
    path = ade20k / f"images/training/{NAMES[3]}.jpg"
    save(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3)))
    save(ade20k / f"annotations/training/{NAMES[3]}.png", np.zeros((64, 64)))
    truncate(path)
    return ade20k


def test_corrupt_image_stops_with_its_name(damaged):
    dataset = TolerantDataset(load(damaged))
    assert dataset[2]["image_id"] == NAMES[2]
    with pytest.raises(
        ValueError, match=r"sample ADE_train_00000003 \(index 3\) cannot be read: .*truncated or damaged"
    ):
        dataset[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_image_is_replaced_and_counted(damaged, workers, caplog):
    dataset = TolerantDataset(load(damaged), on_error="skip")
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    for _ in range(2):  # the count is of samples, not of visits
        assert [item["image_id"] for item in loader] == [*NAMES[:3], NAMES[4], NAMES[4], NAMES[5]]
    assert dataset.num_skipped == 1 and dataset.skipped == [NAMES[3]]
    assert dataset.report() == f"1 of 6 samples could not be read: {NAMES[3]}"
    # the same sample stands in whatever was read before, so that a resumed run sees the same
    assert TolerantDataset(load(damaged), on_error="skip")[3]["image_id"] == NAMES[4]
    assert dataset.id2label[0] == "wall" and dataset.sample_id(3) == NAMES[3] and len(dataset) == 6


def test_the_last_is_replaced_by_the_first_and_all_damaged_stops(ade20k):
    truncate(ade20k / f"annotations/training/{NAMES[5]}.png")
    with pytest.raises(ValueError, match=r"00000005\.png"):
        load(ade20k)[5]
    assert TolerantDataset(load(ade20k), on_error="skip")[5]["image_id"] == NAMES[0]
    dataset = TolerantDataset(load(ade20k), on_error="skip", max_in_a_row=4)
    for name in NAMES:
        truncate(ade20k / f"images/training/{name}.jpg")
    with pytest.raises(ValueError, match="4 samples in a row cannot be read, the last is ADE_train_00000003"):
        dataset[0]


def test_tolerance_takes_only_what_it_knows(ade20k):
    with pytest.raises(ValueError, match="on_error must be one of 'stop', 'skip'; got 'ignore'"):
        TolerantDataset(load(ade20k), on_error="ignore")
    with pytest.raises(ValueError, match="0 usable samples"):
        TolerantDataset([])
    with pytest.raises(IndexError, match="index 6"):
        TolerantDataset(load(ade20k))[6]
    with pytest.raises(TypeError):  # a fault of the program is not damage

        class Broken(list):
            def __getitem__(self, index):
                raise TypeError

        TolerantDataset(Broken([1]), on_error="skip")[0]
