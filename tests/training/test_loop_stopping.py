# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs that are stopped by signals, resumed from damaged checkpoints, with another recipe or other data."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import ToyDataset, ToyModel, collate, toy_arguments

from hfseg.training import loop, train
from hfseg.training.arguments import ModelArguments
from hfseg.training.checkpointing import (
    Checkpointer,
    CheckpointError,
    checkpoint_problem,
    complete_checkpoints,
    resolve_checkpoint,
)
from hfseg.training.loop import TrainingStopped


def run(folder: Path, resume: str | None = None, dataset=None, allow: bool = False, **sections):
    torch.manual_seed(0)
    arguments = toy_arguments(run={"ema_decay": 0.9, **sections.pop("run", {})}, **sections)
    dataset = dataset if dataset is not None else ToyDataset()
    return train(
        ToyModel(0.2), dataset, collate, arguments, output_dir=folder, resume_from_checkpoint=resume,
        allow_changed_data=allow,
    )  # fmt: skip


def assert_equal_weights(first: Path, second: Path) -> None:
    left, right = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping") / "whole"
    run(folder)
    return folder


@pytest.fixture
def signaled(monkeypatch):
    """Sends this process a signal during an update."""

    def at(step: int, number: int) -> None:
        original = loop._Run._update_phase

        def update(self, *arguments):
            if self.state.step + 1 == step:
                os.kill(os.getpid(), number)
            return original(self, *arguments)

        monkeypatch.setattr(loop._Run, "_update_phase", update)

    return at


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 6, 8])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, whole, signaled, monkeypatch, number, step):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    signaled(step, number)
    with pytest.raises(TrainingStopped, match=rf"{number.name} at step {step} of 12.*--resume_from_checkpoint latest"):
        run(tmp_path)
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    assert complete_checkpoints(tmp_path)[-1].name == f"checkpoint-{step}"
    assert not (tmp_path / "model.safetensors").exists()
    monkeypatch.undo()
    run(tmp_path, "latest")
    assert_equal_weights(whole, tmp_path)


def test_a_signal_at_the_last_update_ends_the_run(tmp_path, whole, signaled):
    signaled(12, signal.SIGTERM)
    run(tmp_path)
    assert_equal_weights(whole, tmp_path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


SPOILERS = {"truncated": truncate, "missing": Path.unlink, "flipped": flip, "empty": lambda path: path.write_text("{}")}
FILES = ["model.safetensors", "optimizer.safetensors", "ema.safetensors", "random_state_0.safetensors",
         "trainer_state.json", "checksums_0.json"]  # fmt: skip


@pytest.mark.parametrize("kind", SPOILERS)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(tmp_path, whole, caplog, file, kind):
    for step in (8, 12):
        shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    assert sorted(path.name for path in (tmp_path / "checkpoint-12").iterdir()) == sorted(FILES)
    SPOILERS[kind](tmp_path / "checkpoint-12" / file)
    assert checkpoint_problem(tmp_path / "checkpoint-12")
    with pytest.raises(CheckpointError, match=r"checkpoint-12 is (damaged|no complete)|no complete checkpoint"):
        resolve_checkpoint(tmp_path, "checkpoint-12")
    run(tmp_path, "latest")
    assert "checkpoint-12" in caplog.text and "going on from checkpoint-8" in caplog.text
    assert (tmp_path / "checkpoint-12.damaged").is_dir()
    assert checkpoint_problem(tmp_path / "checkpoint-12") is None
    assert_equal_weights(whole, tmp_path)


def test_all_checkpoints_damaged(tmp_path, whole):
    for step in (8, 12):
        shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
        flip(tmp_path / f"checkpoint-{step}" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"checkpoint-12: model.*; checkpoint-8: model"):
        run(tmp_path, "latest")


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"--output_dir .*file/run cannot be made"):
        run(tmp_path / "file" / "run")


def test_a_full_disk_at_the_end(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match=r"trained model.*No space left.*last checkpoint is .*checkpoint-12"):
        run(tmp_path)


# ------------------------------------------------------------------------------------------------- what may change


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {"learning_rate": 0.5}}, {"optimizer": {"weight_decay": 0.5}}, {"optimizer": {"clip_norm": 9.0}},
        {"optimizer": {"betas": (0.5, 0.9)}}, {"schedule": {"warmup_steps": 1}}, {"schedule": {"name": "constant"}},
        {"data": {"batch_size": 3}}, {"data": {"shuffle": False}}, {"run": {"seed": 6}}, {"run": {"ema_decay": 0.5}},
        {"run": {"gradient_accumulation_steps": 2}}, {"run": {"mixed_precision": "bf16"}},
        {"model": {"config": {"hidden_size": 8}}}, {"data": {"transforms": {"name": "instance"}}},
    ],
)  # fmt: skip
def test_what_would_be_ignored_is_refused(tmp_path, whole, change):
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    ((section, values),) = change.items()
    with pytest.raises(CheckpointError, match=rf"{section}\.{next(iter(values))}"):
        run(tmp_path, "latest", **change)
    assert not (tmp_path / "model.safetensors").exists()


def test_another_metric_forgets_the_best(tmp_path, whole, caplog, monkeypatch):
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    state = json.loads((tmp_path / "checkpoint-8" / "trainer_state.json").read_text())
    assert state["best_metric"] is None
    state.update(best_metric=99.0, best_step=4, stale_evaluations=1, format=1)
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text(json.dumps(state))
    for file in (tmp_path / "checkpoint-8").glob("checksums*"):
        file.unlink()
    loaded, original = [], Checkpointer.load

    def load(self, folder):
        original(self, folder)
        loaded.append((self.state.best_metric, self.state.best_step, self.state.stale_evaluations))

    monkeypatch.setattr(Checkpointer, "load", load)
    run(tmp_path, "latest", run={"log_every": 3})
    shutil.rmtree(tmp_path / "checkpoint-12")
    assert "is forgotten" not in caplog.text
    run(tmp_path, "latest", run={"greater_is_better": False})
    assert loaded == [(99.0, 4, 1), (None, None, 0)]
    assert "run.greater_is_better the best evaluation so far is forgotten" in caplog.text


def test_what_may_change_takes_effect(tmp_path, whole, caplog):
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    change = {"save_every": 1, "keep_last": 3, "log_every": 1}
    run(tmp_path, "latest", run=change, data={"num_workers": 1})
    assert [path.name for path in complete_checkpoints(tmp_path)] == [f"checkpoint-{step}" for step in (10, 11, 12)]
    assert "run.save_every: 4 -> 1" in caplog.text
    assert_equal_weights(whole, tmp_path)


def test_the_same_update_in_other_portions(tmp_path, whole):
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    run(tmp_path, "latest", run={"gradient_accumulation_steps": 2}, data={"batch_size": 1})


class Renamed(ToyDataset):
    def sample_id(self, index):
        return f"other-{index}"


@pytest.mark.parametrize("dataset", [ToyDataset(12), Renamed()], ids=["number", "names"])
def test_changed_data_are_refused_unless_told(tmp_path, whole, dataset):
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    with pytest.raises(CheckpointError, match=r"training data are not those .*--allow_changed_data"):
        run(tmp_path, "latest", dataset)
    run(tmp_path, "latest", dataset, allow=True)


def test_unknown_fields_of_a_configuration(tmp_path):
    from hfseg.training.tasks.base import build_model

    for given, message in (
        ({"nonsense": 1}, r"Unknown key model\.config\.nonsense"),
        ({"num_querys": 1}, r"Did you mean model\.config\.num_queries"),
        ({"backbone_config": {"model_type": "swin", "embed_dims": 8}}, r"model\.config\.backbone_config\.embed_dims"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model(ModelArguments(model_type="proscale", config=given))


def test_old_checkpoints_without_checksums_are_read(tmp_path, whole):
    folder = Path(shutil.copytree(whole / "checkpoint-12", tmp_path / "checkpoint-12"))
    (folder / "checksums_0.json").unlink()
    state = json.loads((folder / "trainer_state.json").read_text())
    del state["format"], state["data"]
    (folder / "trainer_state.json").write_text(json.dumps(state))
    assert checkpoint_problem(folder) is None
    run(tmp_path, "latest")
    assert_equal_weights(whole, tmp_path)
