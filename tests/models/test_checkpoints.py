# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Foreign checkpoint files: every container, one state dict."""

import pytest
import torch
from safetensors.torch import save_file

from hfseg.models.checkpoints import check_keys, read_state_dict

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}


def assert_tensors(actual: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == TENSORS.keys()
    assert all(torch.equal(actual[key], TENSORS[key]) and actual[key].dtype == TENSORS[key].dtype for key in TENSORS)


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "weights.safetensors")
    assert_tensors(read_state_dict(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "pkl"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"model": tensors, "iteration": 7},
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {"model": {"state_dict": tensors}},
        lambda tensors: {"model": {f"module.{key}": value for key, value in tensors.items()}},
        lambda tensors: {**tensors, "epoch": 3},
    ],
    ids=["bare", "model", "state_dict", "nested", "module", "with-a-number"],
)
def test_pickled_containers(tmp_path, suffix, wrap):
    torch.save(wrap(TENSORS), tmp_path / f"weights.{suffix}")
    assert_tensors(read_state_dict(str(tmp_path / f"weights.{suffix}")))


def test_check_keys():
    check_keys([], [], "X")
    with pytest.raises(ValueError, match=r"X.*1 missing key\(s\): a.*2 unexpected key\(s\): b, c"):
        check_keys(["a"], ["c", "b"], "X")
