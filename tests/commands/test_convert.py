# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg convert`: checkpoints of another architecture, keys and shapes that do not fit, settings that are none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from golden import read_case
from hfseg.commands.convert import main


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
