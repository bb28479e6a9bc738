# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Streams: every sample once per epoch whoever reads, exact positions, killed and resumed runs, two nodes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_checkpointing_resume import assert_same_run
from toy import ToyModel, ToyStream, collate, toy_arguments

from hfseg.data.readers.tables import TableDataset, TableStream, load_table
from hfseg.training import checkpointing, train
from hfseg.training.sampler import SampleError
from hfseg.training.stream import StreamLoader, StreamReader

HERE = Path(__file__).parent


def visits(stream, readers, epochs, buffer=4):
    """Names that every reader reads in its first epochs."""
    read = []
    for reader in range(readers):
        keys = (key for key, _, _ in StreamReader(stream, reader, readers, seed=3, buffer=buffer, on_error="stop"))
        read.append([(key.epoch, key.name) for key in itertools.takewhile(lambda key: key.epoch < epochs, keys)])
    return read


@pytest.mark.parametrize(("readers", "shards"), [(1, 5), (2, 5), (5, 5), (3, 1), (4, 2)])
def test_every_sample_once_per_epoch(readers, shards):
    stream = ToyStream(26, shards)
    read = visits(stream, readers, epochs=2)
    expected = sorted((epoch, f"image-{index}") for epoch in range(2) for index in range(26))
    assert sorted(itertools.chain(*read)) == expected


def test_orders_differ_between_epochs_and_unshuffled_is_the_files():
    (one,) = visits(ToyStream(), 1, epochs=2)
    first, second = [name for epoch, name in one if epoch == 0], [name for epoch, name in one if epoch == 1]
    assert first != second and sorted(first) == sorted(second)
    (plain,) = visits(ToyStream(), 1, epochs=1, buffer=1)
    assert [name for _, name in plain] == [f"image-{index}" for index in range(26)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_position_is_exact_wherever_it_is_taken(workers):
    def loader(shards):
        options = {"seed": 1, "num_workers": workers, "buffer": 3, "rank": 1, "ranks": 2}
        return StreamLoader(ToyStream(26, shards), collate, 2, **options)

    for shards in (3, 9):  # strided and by shards
        whole = list(itertools.islice(loader(shards), 30))
        for cut in (1, 8, 17) if workers else range(1, 30):
            first = loader(shards)
            for _ in itertools.islice(first, cut):
                pass
            state = json.loads(json.dumps(first.state_dict()))
            second = loader(shards)
            second.load_state_dict(state)
            for (keys, batch), (expected_keys, expected) in zip(second, whole[cut : cut + 5]):
                assert keys == expected_keys
                assert torch.equal(batch["pixel_values"], expected["pixel_values"])  # augmentation too


def options(workers, **more):
    run = {"ema_decay": 0.9, "save_every": 4, "max_steps": 12, "gradient_accumulation_steps": 2}
    sections = {"run": run, "data": {"num_workers": workers, "shuffle_buffer": 4}}
    return {"sections": sections, "dropout": 0.2, "stream": True, **more}


@pytest.mark.parametrize(("workers", "processes"), [(0, 1), (2, 1), (0, 2)])
def test_killed_in_the_middle_of_an_epoch_and_resumed(tmp_path, run_toy, workers, processes):
    done = run_toy(tmp_path / "whole", processes=processes, **options(workers))
    assert done.returncode == 0, done.output
    killed = run_toy(tmp_path / "killed", processes=processes, **options(workers, kill={"after": 6}))
    assert killed.returncode != 0 and not (tmp_path / "killed/model.safetensors").exists()
    resumed = run_toy(tmp_path / "killed", processes=processes, **options(workers, resume="latest"))
    assert resumed.returncode == 0, resumed.output
    assert "at step 4 of 12" in resumed.output
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_two_rendezvous_groups(tmp_path, run_toy):
    """Two nodes of one process each, started apart and joined over loopback, divide the shards."""
    forked = run_toy(tmp_path / "forked/out", processes=2, **options(0))
    assert forked.returncode == 0, forked.output
    port = str(28000 + os.getpid() % 2000)
    arguments = [str(HERE / "run_toy.py"), str(tmp_path / "nodes/out"), json.dumps(options(0, record=True))]
    (tmp_path / "nodes").mkdir()
    nodes = []
    for rank in range(2):
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank)]
        command += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port, *arguments]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        nodes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [node.communicate(timeout=180)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    read = [set((tmp_path / f"nodes/keys_{rank}.txt").read_text().splitlines()) for rank in range(2)]
    first = [{line for line in lines if line.startswith("0 ")} for lines in read]
    assert not first[0] & first[1] and first[0] | first[1] == {f"0 image-{index}" for index in range(26)}
    one, two = (load_file(tmp_path / place / "out/model.safetensors") for place in ("forked", "nodes"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_other_numbers_of_readers_and_epochs_are_refused(tmp_path):
    train(ToyModel(), ToyStream(), collate, toy_arguments(run={"max_steps": 4}), output_dir=tmp_path)
    with pytest.raises(
        checkpointing.CheckpointError, match=r"1 process\(es\) with 1 worker\(s\) each, this run has 1 with 2"
    ):
        arguments = toy_arguments(data={"num_workers": 2})
        train(ToyModel(), ToyStream(), collate, arguments, output_dir=tmp_path, resume_from_checkpoint="latest")
    stream = ToyStream()
    stream.num_samples = None
    with pytest.raises(ValueError, match=r"length is not known; give run\.max_steps"):
        arguments = toy_arguments(run={"max_steps": None, "epochs": 1.0})
        train(ToyModel(), stream, collate, arguments, output_dir=tmp_path / "other")


class BrokenStream(ToyStream):
    def example(self, row):
        if row["index"] in (7, 8):
            raise OSError("truncated image")
        return super().example(row)


def test_unreadable_samples_are_named_or_counted(tmp_path):
    with pytest.raises(SampleError, match=r"image-[78]: OSError.*data\.on_error=skip"):
        train(ToyModel(), BrokenStream(), collate, toy_arguments(run={"max_steps": 13}), output_dir=tmp_path / "stop")
    arguments = toy_arguments(data={"on_error": "skip"}, run={"max_steps": 12})
    result = train(ToyModel(), BrokenStream(), collate, arguments, output_dir=tmp_path / "skip")
    assert result.state.skipped == 2 and result.state.epoch == 0


def test_an_empty_stream_ends(tmp_path):
    with pytest.raises(SampleError, match="0 usable samples"):
        train(ToyModel(), ToyStream(0, 2), collate, toy_arguments(), output_dir=tmp_path)


def test_a_streamed_table_gives_the_items_of_the_table(tmp_path):
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "segmentation_map": datasets.Image(),
            "classes": datasets.List(datasets.ClassLabel(names=["a", "b"])),
            "image_id": datasets.Value("string"),
        }
    )
    rows = [
        {
            "image": Image.fromarray(np.full((4, 6, 3), index, dtype=np.uint8)),
            "segmentation_map": Image.fromarray(np.full((4, 6), index % 2, dtype=np.uint8)),
            "classes": [index % 2],
            "image_id": f"p{index}",
        }
        for index in range(6)
    ]
    table = datasets.Dataset.from_list(rows, features=features)
    for shard in range(2):
        table.shard(2, shard, contiguous=True).to_parquet(tmp_path / f"train-{shard}.parquet")
    stream, whole = load_table(tmp_path, streaming=True), TableDataset(table)
    assert isinstance(stream, TableStream) and stream.num_shards == 2
    assert (stream.id2label, stream.kind, stream.ignore_index) == (whole.id2label, "semantic", 255)
    read = {key.name: sample for key, sample, _ in itertools.islice(StreamReader(stream, 0, 1, 0, 2, "stop"), 6)}
    for index in range(6):
        for name in ("image", "segmentation_map"):
            assert np.array_equal(read[f"p{index}"][name], whole[index][name])
