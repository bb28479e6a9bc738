# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""int8 files: smaller, almost the same decisions, everything else as in the float32 file."""

import json
import shutil

import pytest

from hfseg.commands.main import main
from hfseg.inference import export
from hfseg.inference.export import export_folder
from hfseg.inference.quantization import quantize
from slow_tests import slow

onnx = pytest.importorskip("onnx", reason="extra `export`")
pytest.importorskip("onnxruntime", reason="extra `export`")


@pytest.mark.parametrize("name", [pytest.param("vpnext-tiny-shapes", marks=slow), "proscale-tiny-shapes"])
def test_weights_of_matrix_products_take_a_byte(name, tmp_path, capsys, monkeypatch):
    plain, small = tmp_path / "plain.onnx", tmp_path / "small.onnx"

    def keep_and_quantize(file):
        shutil.copy(file, plain)
        quantize(file)

    monkeypatch.setattr(export, "quantize", keep_and_quantize)
    assert main(["export", "--model", name, "--format", "onnx", "--dtype", "int8", "-o", str(small)]) == 0
    assert "int8 changes up to" in capsys.readouterr().out
    report = json.loads((tmp_path / "small.onnx.json").read_text())
    assert report["dtype"] == "int8" and report["passed"]
    assert all(0 < entry["different"] <= 0.1 * entry["decisions"] for entry in report["sizes"])

    one, other = onnx.load(plain), onnx.load(small)
    assert {prop.key: prop.value for prop in one.metadata_props} == {
        prop.key: prop.value for prop in other.metadata_props
    }

    def bytes_of(model, kind):
        return sum(len(w.raw_data) for w in model.graph.initializer if w.data_type == kind)

    saved = bytes_of(one, onnx.TensorProto.FLOAT) - bytes_of(other, onnx.TensorProto.FLOAT)
    assert saved > 10_000 and bytes_of(other, onnx.TensorProto.INT8) == pytest.approx(saved / 4, rel=0.05)
    assert other.ByteSize() < one.ByteSize()


@pytest.mark.parametrize("words", [["--format", "torch_export", "-o", "a.pt2"], ["--format", "web", "-o", "a.html"]])
def test_int8_is_for_onnx(words, capsys):
    with pytest.raises(SystemExit):
        main(["export", "--model", "vpnext-tiny-shapes", "--dtype", "int8", *words])
    assert "--dtype int8 needs --format onnx" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be float32, or int8 with the format onnx"):
        export_folder("vpnext-tiny-shapes", "a.pt2", "torch_export", dtype="int8")
