# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What may change when a run is resumed: one table, and a fingerprint of the data."""

import copy
import json
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy import ToyDataset, ToyModel, collate, toy_arguments

from hfseg.training import train
from hfseg.training.arguments import ModelArguments, OptimizerArguments, ScheduleArguments, TrainingArguments
from hfseg.training.checkpointing import CheckpointError
from hfseg.training.resuming import CHANGEABLE, JUDGING, check_resumed, data_fingerprint


def run(folder: Path, resume: str | None = None, dataset=None, allow: bool = False, **sections):
    torch.manual_seed(0)
    arguments = toy_arguments(run={"ema_decay": 0.9, **sections.pop("run", {})}, **sections)
    dataset = dataset if dataset is not None else ToyDataset()
    return train(
        ToyModel(0.2), dataset, collate, arguments, output_dir=folder, resume_from_checkpoint=resume,
        allow_changed_data=allow,
    )  # fmt: skip


OTHER = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v + 0.25, str: lambda v: v + "x"}


def leaves(recipe):
    for section in ("model", "data", "optimizer", "schedule", "run"):
        for key, value in recipe[section].items():
            yield section, key, value
    yield "", "lora", recipe["lora"]
    yield "", "phases", recipe["phases"]


def test_every_field_is_in_the_table_or_refused():
    """What a changed field does when a run is resumed, for all fields of a recipe."""
    accelerator = SimpleNamespace(num_processes=1, is_main_process=False)
    recipe = TrainingArguments(model=ModelArguments(pretrained="old/base")).to_dict()
    plain = {"recipe": json.loads(json.dumps(recipe)), "world_size": 1}
    assert check_resumed(Path("checkpoint-8"), plain, recipe, None, accelerator)
    refused, allowed, judged = [], [], []
    for section, key, value in leaves(recipe):
        changed = copy.deepcopy(recipe)
        other = {"a": 1} if value is None or isinstance(value, dict) else [] if value else ["x"]
        if type(value) in OTHER:
            other = OTHER[type(value)](value)
        (changed[section] if section else changed)[key] = other
        name = f"{section}.{key}" if section else key
        try:
            counts = check_resumed(Path("checkpoint-8"), plain, changed, None, accelerator)
        except CheckpointError as error:
            assert f"{name}" in str(error) and "What may change: " in str(error)
            refused.append(name)
        else:
            allowed.append(name)
            judged += [] if counts else [name]
    assert set(allowed) == {name for name in CHANGEABLE if name != "data.train.path"}
    assert set(judged) == set(JUDGING)
    # What the weights, their updates and the order of samples depend on.
    assert {f"optimizer.{f.name}" for f in fields(OptimizerArguments)} <= set(refused)
    assert {f"schedule.{f.name}" for f in fields(ScheduleArguments)} <= set(refused)
    fixed = {
        "data.name",
        "data.train",
        "data.transforms",
        "data.shuffle",
        "run.seed",
        "run.ema_decay",
        "lora",
        "phases",
    }
    assert fixed | {"model.config", "model.pretrained", "run.mixed_precision"} <= set(refused)
    moved = copy.deepcopy(recipe)
    moved["model"]["pretrained"] = "new/base"
    assert check_resumed(Path("checkpoint-8"), plain, moved, None, accelerator)


def test_sizes_of_files_are_in_the_fingerprint(tmp_path):
    class Files(ToyDataset):
        samples = [{"image": tmp_path / f"{index}.png", "name": "x"} for index in range(13)]

    for sample in Files.samples:
        sample["image"].write_bytes(b"1")
    first = data_fingerprint(Files())
    Files.samples[3]["image"].write_bytes(b"22")
    second = data_fingerprint(Files())
    assert first["files"] == 13 and first["sizes"] != second["sizes"] and first["names"] == second["names"]


def test_a_dataset_that_draws_from_others_is_described_by_them(tmp_path):
    """Its own samples may be millions, each drawn by a generator of its own: asking for their names took a minute."""
    from hfseg.data.readers.in_context import InContextDataset
    from hfseg.data.readers.in_context_sources import PhotoSource

    class Files(ToyDataset):
        samples = [{"image": tmp_path / f"{index}.png", "name": "x"} for index in range(13)]
        keys = ("image", "segmentation", "segments_info")

    for sample in Files.samples:
        sample["image"].write_bytes(b"1")

    def described():
        one, several = {"source": PhotoSource(Files())}, {"sources": {"photos": PhotoSource(Files())}, "check": False}
        found = [
            data_fingerprint(InContextDataset(["colorization"], length=10**7, **given)) for given in (one, several)
        ]
        assert found[1]["parts"] == {"photos": found[0]["parts"]["images"]}
        return found[0]

    first = described()
    assert first["samples"] == 10**7 and first["parts"]["images"]["files"] == 13
    assert described() == first
    Files.samples[3]["image"].write_bytes(b"22")
    assert described()["parts"]["images"]["sizes"] != first["parts"]["images"]["sizes"]


def test_a_description_with_fewer_entries_is_an_older_versions():
    plain = {"recipe": {"data": {"batch_size": 1}, "run": {"gradient_accumulation_steps": 1}}, "world_size": 1}
    accelerator = SimpleNamespace(num_processes=1, is_main_process=True)
    data = {"samples": 5, "parts": {"images": {"samples": 5}}}
    for before, same in (({"samples": 5, "names": "a"}, True), ({"samples": 6, "names": "a"}, False), (data, True)):
        check = partial(check_resumed, Path("checkpoint-8"), {**plain, "data": before}, plain["recipe"], data)
        if same:
            assert check(accelerator)
        else:
            with pytest.raises(CheckpointError, match="samples: 6 -> 5"):
                check(accelerator)
