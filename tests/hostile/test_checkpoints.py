# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checkpoint files that are damaged, foreign or malicious: a clear error, and nothing in them is executed."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from golden import read_case
from hfseg.commands.convert import main
from hfseg.models.checkpoints import read_state_dict


class WritesAFile:
    """What an attacker would put into a pickle."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["torch", "torch-legacy", "pickle", "beside-tensors"])
def test_code_in_a_checkpoint_is_never_executed(tmp_path, form):
    trace, file = tmp_path / "executed", tmp_path / "weights.pth"
    content = {"model": WritesAFile(trace)}
    if form == "beside-tensors":
        content = {"model": {"weight": torch.zeros(1)}, "trainer": WritesAFile(trace)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form != "torch-legacy")
    with pytest.raises(ValueError, match=r"nothing else in a checkpoint is ever executed"):
        read_state_dict(file)
    assert not trace.exists()
    # The trap is a real one: an unguarded reader springs it.
    if form == "pickle":
        pickle.loads(file.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize("kept", [0, 4, 100, -10])
def test_truncated_safetensors(tmp_path, kept):
    file = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"weights\.safetensors is not a valid safetensors file"):
        read_state_dict(file)


@pytest.mark.parametrize("kept", [0, 10, 600])
def test_truncated_pickle(tmp_path, kept):
    file = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"weights\.pth could not be read"):
        read_state_dict(file)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 1}, {"model": {"epoch": 1}}, torch.zeros(2), {}])
def test_no_state_dict_inside(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state_dict(tmp_path / "weights.pth")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="No checkpoint at"):
        read_state_dict(tmp_path / "nowhere.pth")


def convert(tmp_path: Path, tensors: dict[str, torch.Tensor], config: str | None = None) -> int:
    """Runs the convert command on tensors."""
    save_file(tensors, tmp_path / "weights.safetensors")
    arguments = ["--architecture", "proscale", "--checkpoint", str(tmp_path / "weights.safetensors")]
    arguments += ["--output_dir", str(tmp_path / "out")]
    if config is not None:
        (tmp_path / "config.json").write_text(config)
        arguments += ["--config", str(tmp_path / "config.json")]
    return main(arguments)


def test_checkpoint_of_another_architecture(tmp_path, capsys):
    tensors = {"vision_model.embeddings.weight": torch.zeros(3), "text_model.embeddings.weight": torch.zeros(3)}
    assert convert(tmp_path, tensors) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: This is not a checkpoint of PRO-SCALE")
    assert "text_model.embeddings.weight" in error
    assert not (tmp_path / "out").exists()


def test_missing_and_unexpected_keys_are_listed(tmp_path, capsys):
    case = read_case("proscale/swin_full_eval")
    weights = dict(case.weights)
    weights["sem_seg_head.pixel_decoder.adapter_2.weight"] = torch.zeros(3)
    del weights["sem_seg_head.predictor.decoder_norm.bias"]
    assert convert(tmp_path, weights, case.config_file.read_text()) == 2
    error = capsys.readouterr().err
    assert "sem_seg_head.pixel_decoder.adapter_2.weight" in error
    assert "decoder.layer_norm.bias" in error
    assert not (tmp_path / "out").exists()


def test_wrong_shape(tmp_path, capsys):
    case = read_case("proscale/swin_full_eval")
    weights = dict(case.weights)
    key = "sem_seg_head.pixel_decoder.input_proj.0.1.weight"
    weights[key] = torch.zeros(len(weights[key]) + 1)
    assert convert(tmp_path, weights, case.config_file.read_text()) == 2
    error = capsys.readouterr().err
    assert "do not fit" in error and "input_projections.0.1.weight" in error


@pytest.mark.parametrize("config", ["{", "[1, 2]", '"NHEADS"'])
def test_config_that_is_no_object(tmp_path, capsys, config):
    assert convert(tmp_path, {"weight": torch.zeros(1)}, config) == 2
    assert "config.json" in capsys.readouterr().err
