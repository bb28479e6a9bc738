# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training from a stream: shards divided over nodes, ranks and workers, shuffled, resumed in the middle of an epoch.

A stream is read by R = processes x workers readers (processes of all nodes). In epoch e the shards are permuted by
(seed, e); reader r takes the permuted shards r, r + R, ...; with fewer shards than readers it takes all of them, and of
their samples every R-th. Samples are shuffled in blocks of `data.shuffle_buffer` consecutive ones, by (seed, e, r,
place of the block). Readers go on to their next epoch by themselves, so nobody waits for a longer shard.

A reader's position is the state that `datasets` gives for the shard at the start of the block, and a place in the
block. It travels with every batch; a checkpoint holds the positions of the batches that were used, whatever has been
read ahead. Resuming seeks there and reads one block again, and needs the same numbers of processes and workers.
"""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..data.readers.reading import MAX_IN_A_ROW
from .sampler import KeyedCollate, SampleError, SampleKey, derived_seed, isolated_randomness

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamKey(SampleKey):
    """Names one visit of one sample of a stream.

    Attributes:
        reader: Which reader read it; `index` counts that reader's samples of the epoch.
        name: The sample's own name, if it has one.
    """

    reader: int = 0
    name: str = ""


def is_stream(dataset: Any) -> bool:
    """Tells a stream (`num_shards`, `shard(index)`, `example(row)`) from a map-style dataset."""
    return not hasattr(dataset, "__getitem__") and hasattr(dataset, "shard")


class StreamReader:
    """Reads one reader's samples for ever.

    Args:
        stream: See `hfseg.data.readers.tables.TableStream`.
        reader: Its number among all `readers`.
        readers: Processes times workers.
        seed: The run's seed.
        buffer: Samples per shuffled block; 1 keeps the order.
        on_error: `stop` raises at an unreadable sample; `skip` warns and takes the next.

    Raises:
        SampleError: (when read) A sample is unreadable, ten in a row are, or the stream is empty.
    """

    def __init__(self, stream: Any, reader: int, readers: int, seed: int, buffer: int, on_error: str) -> None:
        self.stream, self.reader, self.readers = stream, reader, readers
        self.seed, self.buffer, self.on_error = seed, buffer, on_error
        self._failed = 0  # unreadable samples since the last good one
        self.position: dict[str, Any] = {"epoch": 0, "shard": 0, "rows": 0, "index": 0, "source": None, "offset": 0}

    def _order(self, epoch: int) -> list[int]:
        """Lists this reader's shards in one epoch."""
        count = self.stream.num_shards
        order = list(range(count))
        if self.buffer > 1:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
            order = torch.randperm(count, generator=generator).tolist()
        return order[self.reader :: self.readers] if count >= self.readers else order

    def __iter__(self) -> Iterator[tuple[StreamKey, Any, dict[str, Any]]]:
        """Yields key, sample and the position after it."""
        strided = self.stream.num_shards < self.readers
        start = copy.deepcopy(self.position)
        resumed = start["source"] is not None or start["offset"] > 0
        epoch, empty_epochs = start["epoch"], 0
        while True:
            found = False
            order = self._order(epoch)
            place = start["shard"] if resumed else 0
            index = start["index"] if resumed else 0  # samples of this epoch before the block
            while place < len(order):
                shard = self.stream.shard(order[place])
                row_number = 0
                if resumed:
                    row_number = start["rows"]
                    if start["source"] is not None:
                        shard.load_state_dict(start["source"])
                offset, resumed = (start["offset"] if resumed else 0), False
                rows = iter(shard)
                while True:
                    source, block_row = copy.deepcopy(shard.state_dict()), row_number
                    block: list[Any] = []
                    while len(block) < self.buffer:
                        row = next(rows, None)
                        if row is None:
                            break
                        if not strided or row_number % self.readers == self.reader:
                            block.append(row)
                        row_number += 1
                    if not block:
                        break
                    found = True
                    if self.buffer > 1:
                        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch, self.reader, index))
                        block = [block[i] for i in torch.randperm(len(block), generator=generator).tolist()]
                    for number in range(offset, len(block)):
                        position = {"epoch": epoch, "shard": place, "rows": block_row, "index": index}
                        position |= {"source": source, "offset": number + 1}
                        yield from self._read(
                            block[number], StreamKey(epoch, index + number, reader=self.reader), position
                        )
                    index, offset = index + len(block), 0
                place += 1
            empty_epochs = 0 if found else empty_epochs + 1
            if empty_epochs > 1:
                raise SampleError("The training stream has 0 usable samples; check its path and split.")
            epoch += 1

    def _read(self, row: Any, key: StreamKey, position: dict[str, Any]) -> Iterator[tuple[StreamKey, Any, dict]]:
        """Decodes one row."""
        try:
            with isolated_randomness(derived_seed(self.seed, key.epoch, key.reader, key.index)):
                sample = self.stream.example(row)
        except Exception as error:
            message = f"Could not read the sample {self.stream.name_of(row) or key.index}: {error!r}"
            self._failed += 1
            if self.on_error != "skip" or self._failed == MAX_IN_A_ROW:
                raise SampleError(f"{message}. Repair or remove it, or set data.on_error=skip.") from error
            logger.warning("%s. The next one is read in its place.", message)
            return
        skipped, self._failed = self._failed, 0
        yield StreamKey(key.epoch, key.index, skipped, key.reader, self.stream.name_of(row)), sample, position


class StreamBatches(IterableDataset):
    """Batches of one rank, read by its workers in turn; each comes with its worker's number and position."""

    def __init__(
        self,
        stream: Any,
        collate: Callable[[list], Mapping[str, Any]],
        batch_size: int,
        *,
        seed: int,
        rank: int,
        ranks: int,
        workers: int,
        buffer: int,
        on_error: str,
        start: "StreamState",
    ) -> None:
        self.stream, self.batch_size, self.start = stream, batch_size, start
        self.collate = KeyedCollate(stream, collate, seed)
        self.options: dict[str, Any] = {
            "readers": ranks * workers,
            "seed": seed,
            "buffer": buffer,
            "on_error": on_error,
        }
        self.rank, self.workers = rank, workers

    def __iter__(self) -> Iterator[tuple[list[StreamKey], Any, int, dict[str, Any]]]:
        info = get_worker_info()
        # Shards are divided here, over readers of all ranks; `datasets` would divide each of them once more.
        torch.utils.data._utils.worker._worker_info = None
        # The loader asks its workers in turn from the first on; the run may have stopped in the middle of a turn.
        worker = ((info.id if info is not None else 0) + self.start.batches) % self.workers
        reader = StreamReader(self.stream, self.rank * self.workers + worker, **self.options)
        start = self.start.positions[worker]
        if start is not None:
            reader.position = start
        samples: list = []
        for key, sample, position in reader:
            samples.append((key, sample))
            if len(samples) == self.batch_size:
                keys, batch = self.collate(samples)
                yield keys, batch, worker, position
                samples = []


@dataclass
class StreamState:
    """Where one rank's workers stand.

    Attributes:
        positions: Position of every worker after the batches that were used; None before the first.
        batches: Batches that were used.
        ranks: Number of processes.
    """

    positions: list[dict[str, Any] | None]
    batches: int
    ranks: int


class StreamLoader:
    """One rank's endless batches from a stream, with a state.

    Args:
        stream: See `hfseg.data.readers.tables.TableStream`.
        collate: Collator.
        batch_size: Samples per batch.
        seed: The run's seed.
        rank: This process.
        ranks: Number of processes of all nodes.
        num_workers: Loading processes.
        buffer: Samples per shuffled block.
        on_error: `stop` or `skip`.
        pin_memory: As torch's loader.
    """

    def __init__(
        self,
        stream: Any,
        collate: Callable[[list], Mapping[str, Any]],
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        num_workers: int = 0,
        buffer: int = 1,
        on_error: str = "stop",
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1 or buffer < 1:
            raise ValueError(f"batch_size is {batch_size} and the block {buffer}; both must be at least 1.")
        self.workers = max(num_workers, 1)
        self.state = StreamState([None] * self.workers, 0, ranks)
        self._options: dict[str, Any] = {"seed": seed, "rank": rank, "ranks": ranks, "workers": self.workers}
        self._options |= {"buffer": buffer, "on_error": on_error}
        self._stream, self._collate, self._batch_size = stream, collate, batch_size
        self._loader: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pin_memory}

    def __iter__(self) -> Iterator[tuple[list[StreamKey], Any]]:
        batches = StreamBatches(
            self._stream, self._collate, self._batch_size, start=copy.deepcopy(self.state), **self._options
        )
        generator = torch.Generator().manual_seed(self._options["seed"])
        for keys, batch, worker, position in DataLoader(batches, batch_size=None, generator=generator, **self._loader):
            self.state.positions[worker] = position
            self.state.batches += 1
            yield keys, batch

    def state_dict(self) -> dict[str, Any]:
        """Returns plain data that `load_state_dict` takes."""
        return copy.deepcopy(self.state.__dict__)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes where a state says.

        Raises:
            ValueError: It is of another number of processes or workers.
        """
        here = (self.state.ranks, self.workers)
        there = (state["ranks"], len(state["positions"]))
        if here != there:
            raise ValueError(
                f"The checkpoint's stream was read by {there[0]} process(es) with {there[1]} worker(s) each, this run "
                f"has {here[0]} with {here[1]}. A stream resumes with the same numbers only."
            )
        self.state = StreamState(**copy.deepcopy(dict(state)))
