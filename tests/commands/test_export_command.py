# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg export`: files for other runtimes, and command lines that are wrong."""

import json
from pathlib import Path

import pytest

import hfseg
from export_models import built
from hfseg.commands.main import main
from hfseg.inference.export import export_model, exportable
from tiny_zoo import model_folder
from unisegformer_models import tiny_config as unisegformer_config


def test_command(tmp_path, capsys):
    folder = model_folder("meddensevit", tmp_path)
    file = tmp_path / "out/model.pt2"
    arguments = ["export", "--model", str(folder), "--format", "torch_export", "-o", str(file)]
    assert main([*arguments, "--dynamic", "--size", "64", "64", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(Path(f"{file}.json").read_text())
    assert report["passed"] and [entry["height"] for entry in report["sizes"]] == [64, 64]
    assert [entry["width"] for entry in report["sizes"]] == [64, 96] and report["free_axes"]["pixel_values"] == [
        0,
        2,
        3,
    ]
    assert report["command"].startswith("hfseg export --model")


def test_bad_command_lines(tmp_path, capsys):
    lavin = model_folder("lavin_dit", tmp_path)
    common = ["export", "--format", "torch_export", "-o", str(tmp_path / "a.pt2"), "--model"]
    assert main([*common, str(lavin)]) == 2
    assert "LavinDiTPipeline, a loop of denoising steps" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main([*common, str(model_folder("meddensevit", tmp_path)), "--size", "50", "64"]) == 2
    assert "(50, 64); both sides must be multiples of 32" in capsys.readouterr().err
    for wrong in (["-o", "a.onnx"], ["--check_size", "64", "64"], ["--batch_size", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(["export", "--model", "x", "--format", "torch_export", "-o", "a.pt2", *wrong])
        assert stop.value.code == 2
    with pytest.raises(ValueError, match="UniSegFormerForPreTraining cannot be exported"):
        exportable(hfseg.UniSegFormerForPreTraining(unisegformer_config()))
    with pytest.raises(ValueError, match="format is 'tflite'; must be one of onnx, torch_export"):
        export_model(exportable(built("meddensevit")), tmp_path / "a", "tflite", (64, 64))
