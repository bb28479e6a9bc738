# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Deterministic order of samples and randomness of augmentation, so that a resumed run is the uninterrupted run.

Training reads one endless sequence of samples: a permutation of the dataset for epoch 0, another for epoch 1, and so
on. A run's position in it is one integer, the number of samples consumed by all ranks. Batch `m` of rank `r` of `W`
ranks holds the samples at positions `[(m W + r) B, (m W + r + 1) B)`. Hence

* resuming is arithmetic: nothing is loaded to be skipped;
* two ranks with batch `B`, or two accumulated batches of `B`, see together what one rank with batch `2 B` sees;
* no sample is dropped or doubled at the end of an epoch (a batch may hold the end of one and the start of the next).

The randomness of a sample's augmentation, in the dataset or in the collator, comes from (seed, epoch, index) alone,
whichever process loads it and whatever else is in its batch.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data.readers.reading import UnreadableError, check_on_error, read_tolerantly

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleKey:
    """Names one visit of one sample.

    Attributes:
        epoch: The epoch, from 0.
        index: The index in the dataset.
        skipped: Number of unreadable samples in whose place this one was read.
    """

    epoch: int
    index: int
    skipped: int = 0


class SampleError(RuntimeError):
    """A training sample could not be read or collated; the message names it."""


def key_name(dataset: Any, key: SampleKey) -> str:
    """Returns a visited sample's name: its own in a stream, else the dataset's."""
    return getattr(key, "name", "") or sample_name(dataset, key.index)


def sample_name(dataset: Any, index: int) -> str:
    """Returns the dataset's own name of a sample (`sample_id(index)`), or its index."""
    return str(dataset.sample_id(index)) if hasattr(dataset, "sample_id") else str(index)


class EndlessBatchSampler(Sampler[list[SampleKey]]):
    """Yields one rank's batches of `SampleKey` from the endless sequence of shuffled epochs.

    Args:
        length: Number of samples in the dataset.
        batch_size: Samples per batch of one rank.
        seed: Seed of the permutations; epoch `e` is shuffled by (seed, e).
        rank: This process, from 0.
        world_size: Number of processes.
        start: Samples consumed so far by all ranks together; a multiple of `batch_size * world_size` in a plain resume.
        batches: Number of batches to yield; None yields for ever.
        shuffle: False keeps the order of the dataset in every epoch.
        wrap: False cuts the last batch at the end of epoch 0 instead of filling it from epoch 1 (evaluation).

    Raises:
        ValueError: The dataset is empty, or a count is out of range.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        batches: int | None = None,
        shuffle: bool = True,
        wrap: bool = True,
    ) -> None:
        if length < 1:
            raise ValueError(
                f"The training dataset has {length} usable samples; it needs at least 1. Check its path and filters."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} of {world_size} processes; it must be in [0, {world_size}).")
        if start < 0:
            raise ValueError(f"start is {start}; the number of consumed samples cannot be negative.")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size, self.start = rank, world_size, start
        self.batches, self.shuffle, self.wrap = batches, shuffle, wrap

    def order(self, epoch: int) -> list[int] | range:
        """Computes the order of the dataset's indices in one epoch."""
        if not self.shuffle:
            return range(self.length)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
        return torch.randperm(self.length, generator=generator).tolist()

    def __iter__(self) -> Iterator[list[SampleKey]]:
        orders: dict[int, list[int] | range] = {}
        position = self.start + self.rank * self.batch_size
        produced = 0
        while self.batches is None or produced < self.batches:
            batch = []
            for place in range(position, position + self.batch_size):
                epoch, offset = divmod(place, self.length)
                if epoch > 0 and not self.wrap:
                    break
                if epoch not in orders:
                    orders = {old: order for old, order in orders.items() if old == epoch - 1}
                    orders[epoch] = self.order(epoch)
                batch.append(SampleKey(epoch, orders[epoch][offset]))
            yield batch
            produced += 1
            position += self.batch_size * self.world_size


def derived_seed(*parts: int) -> int:
    """Computes one 63-bit seed from several integers, well mixed (numpy's SeedSequence)."""
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed_all(seed: int) -> None:
    """Seeds the CPU generators of python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


@contextmanager
def isolated_randomness(seed: int) -> Iterator[None]:
    """Seeds the CPU generators of python, numpy and torch for a block and restores them afterwards.

    CUDA's generators are left alone: transforms run on the CPU, and forked workers must not touch CUDA.
    """
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    _seed_all(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


class KeyedDataset(Dataset):
    """Reads samples by `SampleKey`, each under randomness that depends on (seed, epoch, index) only.

    Args:
        dataset: Map-style dataset: `len(dataset)`, `dataset[index]`.
        seed: The run's seed.
        on_error: `stop` raises at an unreadable sample; `skip` warns and reads the next index instead, so that
            positions, and with them resumes, stay as they are.

    Raises:
        SampleError: (when read) A sample is unreadable, or ten in a row are.
    """

    def __init__(self, dataset: Any, seed: int, on_error: str = "stop") -> None:
        check_on_error(on_error)
        self.dataset, self.seed, self.on_error = dataset, seed, on_error

    def __getitem__(self, key: SampleKey) -> tuple[SampleKey, Any]:
        def read(index: int) -> tuple[int, Any]:
            with isolated_randomness(derived_seed(self.seed, key.epoch, index)):
                return index, self.dataset[index]

        def failure(index: int, error: BaseException | None) -> str:
            return f"Could not read the sample {sample_name(self.dataset, index)}: {error!r}"

        def skip(index: int, error: Exception) -> None:
            logger.warning("%s. The next one is read in its place.", failure(index, error))

        try:
            given = (key.index, len(self.dataset), self.on_error, skip)
            skipped, (index, sample) = read_tolerantly(read, *given, damage=(Exception,))
        except UnreadableError as error:
            message = failure(error.position, error.__cause__)
            raise SampleError(f"{message}. Repair or remove it, or set data.on_error=skip.") from error.__cause__
        return SampleKey(key.epoch, index, skipped), sample


class _SeededSamples(list):
    """A batch's samples; taking one out (by iteration or index) seeds the generators for it.

    So a collator that augments its samples one after the other draws for each what it would draw in any other batch.
    """

    def __init__(self, samples: list, seeds: list[int]) -> None:
        super().__init__(samples)
        self.seeds = seeds

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, int):
            _seed_all(self.seeds[position])
        return super().__getitem__(position)

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))


class KeyedCollate:
    """Collates `(key, sample)` pairs to `(keys, batch)`, under randomness that belongs to each sample's key."""

    def __init__(self, dataset: Any, collate: Callable[[list], Any], seed: int) -> None:
        self.dataset, self.collate, self.seed = dataset, collate, seed

    def __call__(self, pairs: list[tuple[SampleKey, Any]]) -> tuple[list[SampleKey], Any]:
        keys = [key for key, _ in pairs]
        # A stream's index counts within its reader.
        reader = [(reader,) if (reader := getattr(key, "reader", 0)) else () for key in keys]
        seeds = [derived_seed(self.seed, key.epoch, key.index, 1, *more) for key, more in zip(keys, reader)]
        with isolated_randomness(seeds[0]):
            try:
                return keys, self.collate(_SeededSamples([sample for _, sample in pairs], seeds))
            except Exception as error:
                names = ", ".join(key_name(self.dataset, key) for key in keys)
                raise SampleError(f"Could not collate the samples {names} (in this order): {error!r}.") from error


def training_loader(
    dataset: Sized,
    collate: Callable[[list], Any],
    sampler: EndlessBatchSampler,
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
    on_error: str = "stop",
) -> DataLoader:
    """Builds the loader that yields `(keys, batch)` in the sampler's order, the same for any number of workers."""
    return DataLoader(
        KeyedDataset(dataset, sampler.seed, on_error),
        batch_sampler=sampler,
        collate_fn=KeyedCollate(dataset, collate, sampler.seed),
        num_workers=num_workers,
        pin_memory=pin_memory,
        # The loader draws a base seed when it starts; from its own generator, or resuming would shift the global one.
        generator=torch.Generator().manual_seed(sampler.seed),
    )
