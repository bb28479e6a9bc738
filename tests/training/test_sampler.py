# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The order of samples: complete, sharded, resumable without loading."""

from itertools import islice

import pytest
import torch
from toy import ToyDataset, collate

from hfseg.training.sampler import EndlessBatchSampler, training_loader


def flat(sampler, batches):
    return [key for batch in islice(sampler, batches) for key in batch]


def test_every_epoch_holds_every_sample_once_in_another_order():
    keys = flat(EndlessBatchSampler(10, 3, seed=1), 10)
    epochs = [[key.index for key in keys if key.epoch == epoch] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(10))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_see_what_one_sees(ranks):
    whole = list(islice(EndlessBatchSampler(11, 2 * ranks, seed=1), 9))
    shards = [list(islice(EndlessBatchSampler(11, 2, seed=1, rank=r, world_size=ranks), 9)) for r in range(ranks)]
    assert [[key for batch in batches for key in batch] for batches in zip(*shards)] == whole


@pytest.mark.parametrize("done", [1, 5, 12])
def test_a_start_skips_by_arithmetic(done):
    whole = list(islice(EndlessBatchSampler(11, 2, seed=1), 20))
    assert list(islice(EndlessBatchSampler(11, 2, seed=1, start=2 * done), 20 - done)) == whole[done:]


def test_far_starts_cost_nothing():
    sampler = EndlessBatchSampler(1000, 4, start=10**12)
    orders = []
    sampler.order = lambda epoch: orders.append(epoch) or range(1000)
    assert next(iter(sampler))[0].epoch == 10**9
    assert len(orders) == 1  # one permutation, whatever was skipped


def test_other_seeds_give_other_orders():
    assert flat(EndlessBatchSampler(50, 5, seed=1), 10) != flat(EndlessBatchSampler(50, 5, seed=2), 10)


def test_empty_data_is_refused():
    with pytest.raises(ValueError, match="0 usable samples"):
        EndlessBatchSampler(0, 2)


def test_augmentation_belongs_to_the_sample_not_to_its_batch_or_worker():
    def load(batch_size, workers, **start):
        sampler = EndlessBatchSampler(7, batch_size, seed=3, batches=12 // batch_size, **start)
        loader = training_loader(ToyDataset(7), collate, sampler, num_workers=workers)
        return torch.cat([batch["pixel_values"] for _, batch in loader])

    reference = load(1, 0)
    torch.manual_seed(99)  # the main process's generators do not matter
    assert torch.equal(load(4, 0), reference)
    assert torch.equal(load(3, 2), reference)
    assert not torch.equal(reference[:5], load(1, 0, start=7)[:5])


def test_loading_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(training_loader(ToyDataset(7), collate, EndlessBatchSampler(7, 2, batches=3)))
    assert torch.equal(before, torch.get_rng_state())
