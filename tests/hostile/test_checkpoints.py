# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checkpoint files that are damaged, foreign or malicious: a clear error, and nothing in them is executed."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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
