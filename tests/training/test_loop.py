# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the loop promises besides exactness: it learns, keeps the best, stops, refuses, and survives a full disk."""

import errno
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from toy import ToyDataset, ToyModel, collate, toy_arguments
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from hfseg.training import NonFiniteLossError, checkpointing, count_labeled_pixels, train
from hfseg.training.checkpointing import CheckpointError, complete_checkpoints
from hfseg.training.sampler import SampleError


def run(output_dir: Path, model=ToyModel, dataset=None, resume=None, evaluate_fn=None, **sections):
    torch.manual_seed(0)
    arguments = toy_arguments(**sections)
    return train(
        model(),
        dataset or ToyDataset(),
        collate,
        arguments,
        output_dir=output_dir,
        evaluate_fn=evaluate_fn,
        resume_from_checkpoint=resume,
    )


def steps(output_dir: Path) -> list[int]:
    return [int(folder.name[11:]) for folder in complete_checkpoints(output_dir)]


def scores(*values):
    remaining = list(values)
    return lambda model: {"score": remaining.pop(0)}


def test_it_learns(tmp_path):
    result = run(tmp_path, dataset=ToyDataset(noise=False), run={"max_steps": 60, "save_every": None})
    assert result.loss < 0.45 and result.stopped_by == "steps" and steps(tmp_path) == [60]


def test_rotation_keeps_the_best_and_the_last(tmp_path):
    evaluate_fn = scores(0.1, 0.9, 0.3, 0.4, 0.5, 0.6)
    result = run(
        tmp_path, run={"save_every": 2, "evaluate_every": 2, "metric": "score", "keep_last": 2}, evaluate_fn=evaluate_fn
    )
    assert steps(tmp_path) == [4, 10, 12]
    assert (result.state.best_step, result.state.best_metric) == (4, 0.9)


def test_the_best_weights_can_be_the_result(tmp_path):
    options = {
        "evaluate_every": 2,
        "metric": "score",
        "greater_is_better": False,
        "final_weights": "best",
        "ema_decay": 0.5,
    }
    result = run(tmp_path, run=options, evaluate_fn=scores(0.5, 0.1, 0.3, 0.4, 0.5, 0.6))
    assert result.metrics == {"score": 0.1}
    saved, averages = load_file(tmp_path / "model.safetensors"), load_file(tmp_path / "checkpoint-4/ema.safetensors")
    assert all(torch.equal(saved[name], averages[name]) for name in averages)


def test_early_stop(tmp_path):
    options = {"evaluate_every": 2, "metric": "score", "patience": 2}
    result = run(tmp_path, run=options, evaluate_fn=scores(0.5, 0.4, 0.4, 0.9))
    assert (result.stopped_by, result.state.step) == ("patience", 6)
    # Before anything is found nothing can have stopped; a loss of 0 is another matter.
    late = run(tmp_path / "late", run=options, evaluate_fn=scores(0.0, 0.0, 0.0, 0.0, 0.5, 0.4))
    assert (late.stopped_by, late.state.step) == ("steps", 12)
    options |= {"greater_is_better": False}
    lost = run(tmp_path / "loss", run=options, evaluate_fn=scores(0.0, 0.0, 0.0, 0.0))
    assert (lost.stopped_by, lost.state.step) == ("patience", 6)


def test_time_budget(tmp_path):
    result = run(tmp_path, run={"max_steps": 10**6, "max_seconds": 0.5, "save_every": None})
    assert result.stopped_by == "seconds" and 0.5 <= result.state.seconds < 5
    assert (tmp_path / "model.safetensors").exists() and steps(tmp_path) == [result.state.step]


def test_evaluation_does_not_change_the_training(tmp_path):
    def noisy(model):
        torch.rand(3)
        return {"score": 0.0}

    run(tmp_path / "without", model=lambda: ToyModel(0.3))
    run(tmp_path / "with", model=lambda: ToyModel(0.3), run={"evaluate_every": 1}, evaluate_fn=noisy)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("without", "with"))
    assert all(torch.equal(one[name], two[name]) for name in one)


class PoisonedDataset(ToyDataset):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {**sample, "pixel_values": sample["pixel_values"] * float("nan")} if index == 7 else sample


def test_nan_names_the_samples_and_leaves_a_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"image-7") as caught:
        run(tmp_path, dataset=PoisonedDataset(), data={"batch_size": 1}, run={"save_every": 1, "max_steps": 13})
    last = complete_checkpoints(tmp_path)[-1]
    assert str(last) in str(caught.value)
    assert all(tensor.isfinite().all() for tensor in load_file(last / "model.safetensors").values())


class BrokenDataset(ToyDataset):
    def __getitem__(self, index):
        if index in (7, 8):
            raise OSError("truncated image")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_sample_stops_by_name_or_is_skipped_and_counted(tmp_path, workers):
    with pytest.raises(SampleError, match=r"image-[78]: OSError\('truncated image'\).*data\.on_error=skip"):
        run(tmp_path / "stop", dataset=BrokenDataset(), data={"num_workers": workers}, run={"max_steps": 7})
    options = {"num_workers": workers, "on_error": "skip", "batch_size": 1}
    result = run(tmp_path / "skip", dataset=BrokenDataset(), data=options, run={"max_steps": 26})
    assert result.state.skipped == 2 * (2 + 1)  # in each epoch, 7 falls to 9 over 8, and 8 falls to 9


def test_a_sample_that_does_not_collate_is_named(tmp_path):
    class Uneven(ToyDataset):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "pixel_values": torch.zeros(3, 8, 8 + (index == 7))}

    with pytest.raises(SampleError, match=r"Could not collate the samples .*image-7"):
        run(tmp_path, dataset=Uneven(), run={"max_steps": 7})


def test_nan_gradients_are_caught_before_the_update(tmp_path):
    class BadGradient(ToyModel):
        def forward(self, pixel_values, labels=None, loss_normalizer=None):
            output = super().forward(pixel_values, labels, loss_normalizer)
            # the square root's slope at 0 is infinite, times 0 is NaN; the value is fine
            output["loss"] = output["loss"] + (self.head.weight.sum() * 0).sqrt()
            return output

    with pytest.raises(NonFiniteLossError, match="gradient's norm is nan at step 1"):
        run(tmp_path, model=BadGradient)


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    original = checkpointing.write_tensors

    def full(path, *arguments):
        if path.parent.name.startswith("checkpoint-8") and path.name == "optimizer.safetensors":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        original(path, *arguments)

    monkeypatch.setattr(checkpointing, "write_tensors", full)
    with pytest.raises(CheckpointError, match=r"checkpoint-8: .*No space left.*last good checkpoint is .*checkpoint-4"):
        run(tmp_path)
    assert steps(tmp_path) == [4] and not list(tmp_path.glob("*.partial"))
    monkeypatch.undo()
    run(tmp_path, resume="latest")
    run(tmp_path / "whole")
    one, two = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "whole"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_really_full_disk(tmp_path, monkeypatch, foreseen):
    """On a small tmpfs; with the free space asked before, and with the write itself failing."""
    if not foreseen:
        monkeypatch.setattr(checkpointing.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        with pytest.raises(CheckpointError, match=r"No space left.*last good checkpoint is"):
            run(mount / "run", run={"save_every": 1, "keep_last": 20, "max_steps": 20})
        assert steps(mount / "run") == list(range(1, len(steps(mount / "run")) + 1)) != []
        assert not list((mount / "run").glob("*.partial"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path, run={"max_steps": 4})
    path = tmp_path / "checkpoint-4/model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"is damaged \(checkpoint-4: model\.safetensors"):
        run(tmp_path, resume="latest")


def test_another_models_checkpoint_is_refused(tmp_path):
    run(tmp_path, run={"max_steps": 4})

    class Other(ToyModel):
        def __init__(self):
            super().__init__()
            self.more = torch.nn.Linear(1, 1)

    with pytest.raises(CheckpointError, match=r"another model: 2 tensors differ, first more\.bias"):
        run(tmp_path, model=Other, resume="latest")


def test_a_used_folder_needs_a_decision(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match="--resume_from_checkpoint latest"):
        run(tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint-12, newer than checkpoint-8"):
        run(tmp_path, resume="checkpoint-8")
    with pytest.raises(CheckpointError, match="'checkpoint-9' is no complete checkpoint"):
        run(tmp_path, resume="checkpoint-9")
    run(tmp_path / "branch", resume=str(tmp_path / "checkpoint-8"))
    one, two = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "branch"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_resume_latest_starts_anew_without_checkpoints(tmp_path):
    assert run(tmp_path, resume="latest").state.step == 12


@pytest.mark.parametrize(("given", "match"), [({"max_steps": None}, "exactly one"), ({"epochs": 1.0}, "exactly one")])
def test_length_of_the_run(tmp_path, given, match):
    with pytest.raises(ValueError, match=match):
        run(tmp_path, run=given)


def test_epochs_become_steps(tmp_path):
    assert run(tmp_path, run={"max_steps": None, "epochs": 1.5}).state.step == 10  # 1.5 x 13 samples in batches of 2


def test_a_transformers_model_becomes_a_from_pretrained_folder(tmp_path):
    config = SegformerConfig(
        hidden_sizes=[8] * 4, depths=[1] * 4, num_attention_heads=[1] * 4, sr_ratios=[1] * 4, decoder_hidden_size=8
    )
    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(config)
    arguments = toy_arguments(run={"max_steps": 3, "gradient_checkpointing": True, "ema_decay": 0.9})
    train(model, ToyDataset(), collate, arguments, output_dir=tmp_path, loss_normalizer=count_labeled_pixels)
    loaded = SegformerForSemanticSegmentation.from_pretrained(tmp_path)
    averages = load_file(tmp_path / "checkpoint-3/ema.safetensors")
    assert all(torch.equal(parameter, averages[name]) for name, parameter in loaded.named_parameters())
    assert json.loads((tmp_path / "metrics.json").read_text())["step"] == 3
    assert json.loads((tmp_path / "training_args.json").read_text())["run"]["ema_decay"] == 0.9


def test_channels_last_changes_the_layout_and_not_the_result(tmp_path):
    layouts = {}

    def model(name):
        built = ToyModel()
        built.register_forward_pre_hook(
            lambda module, _: layouts.update(
                {name: module.backbone.weight.is_contiguous(memory_format=torch.channels_last)}
            )
        )
        return built

    for name in (False, True):
        run(tmp_path / str(name), model=lambda name=name: model(name), run={"channels_last": name, "save_every": 4})
    assert layouts == {False: False, True: True}
    usual, last = (load_file(tmp_path / name / "model.safetensors") for name in ("False", "True"))
    for name, value in usual.items():
        torch.testing.assert_close(last[name], value, rtol=1e-4, atol=1e-5)
    resume = tmp_path / "True/checkpoint-8"
    run(tmp_path / "resumed", resume=resume, run={"channels_last": True, "save_every": 4})
    resumed = load_file(tmp_path / "resumed/model.safetensors")
    assert all(torch.equal(value, last[name]) for name, value in resumed.items())


def test_compiled_and_mixed_precision_runs_save_plain_names(tmp_path, monkeypatch):
    compiled = []

    def fake_compile(model, **options):  # a real compilation takes a minute
        compiled.append(options["backend"])
        return torch._dynamo.eval_frame.OptimizedModule(model, torch._dynamo.disable)

    monkeypatch.setattr(torch, "compile", fake_compile)
    run(tmp_path, run={"compile": True, "mixed_precision": "bf16", "max_steps": 4})
    names = set(ToyModel().state_dict())
    assert compiled == ["inductor"]
    assert set(load_file(tmp_path / "model.safetensors")) == names
    assert set(load_file(tmp_path / "checkpoint-4/model.safetensors")) == names
    assert load_file(tmp_path / "model.safetensors")["head.weight"].dtype == torch.float32
