# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Exported files give what the models give: at two sizes from one file, masks and classes identical.

That every model can be traced with free sizes is tested by `ModelContract`; here are files, and ONNX.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hfseg
from contract import peaked
from export_models import SLOW_MODELS, built
from hfseg.commands.main import main
from hfseg.inference import export
from hfseg.inference.export import Exportable, export_model, exportable, load_program, parity_report
from slow_tests import slow
from tiny_zoo import model_folder
from unisegformer_models import tiny_config as unisegformer_config

needs_onnx = pytest.mark.usefixtures("onnx")
# Batch size, height and width: that of the traced image, and another.
SIZES = [(2, 64, 96), (3, 96, 64)]


@pytest.fixture
def onnx():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="extra `export`")


def check(report, sizes=SIZES):
    assert len(report) == len(sizes)
    for entry in report:
        for name, difference in entry["max_difference"].items():
            assert difference <= 1e-4 * max(1.0, entry["largest_value"][name]), (name, entry)
            assert np.isfinite(entry["largest_value"][name]) and entry["largest_value"][name] > 0
        assert entry["different"] == 0 and entry["decisions"] > 0


@needs_onnx
@pytest.mark.parametrize("name", ["vpnext", pytest.param("proscale-pixels", marks=slow)])
def test_one_onnx_file_serves_two_sizes(name, tmp_path):
    target = exportable(built(name))
    file = export_model(target, tmp_path / "model.onnx", "onnx", SIZES[0][1:])
    check(parity_report(target, file, "onnx", SIZES))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # nothing half-made beside it


@needs_onnx
def test_a_detector_needs_two_rows_and_columns_of_its_coarsest_scale(tmp_path):
    """Of four, at stride 64."""
    with pytest.raises(ValueError, match="multiples of 32, 128 or more"):
        export_model(exportable(built("proscale-boxes")), tmp_path / "model.onnx", "onnx", (64, 96))


@needs_onnx
@slow
def test_one_onnx_file_of_a_detector_serves_two_sizes(tmp_path):
    target, sizes = exportable(built("proscale-boxes")), [(2, 128, 192), (3, 192, 128)]
    file = export_model(target, tmp_path / "model.onnx", "onnx", sizes[0][1:])
    check(parity_report(target, file, "onnx", sizes), sizes)


@needs_onnx
@slow
@pytest.mark.parametrize("name", ["meddensevit", *SLOW_MODELS])
def test_one_onnx_file_of_the_others_serves_two_sizes(name, tmp_path):
    target = exportable(built(name))
    file = export_model(target, tmp_path / "model.onnx", "onnx", SIZES[0][1:])
    check(parity_report(target, file, "onnx", SIZES))


def test_a_program_names_masks(tmp_path):
    """Of one image size; numbers of points and names are free. All sizes: the slow test above."""
    target = exportable(built("unpairseg-names"))
    file = export_model(target, tmp_path / "model.pt2", "torch_export", (64, 96), batch_size=2, dynamic=False)
    check(parity_report(target, file, "torch_export", SIZES[:1]), SIZES[:1])
    plain, inputs = load_program(file, "torch_export"), target.inputs(2, 64, 96)
    inputs["input_points"], inputs["text_embeds"] = inputs["input_points"][:, :3], inputs["text_embeds"][:2]
    with torch.no_grad():
        expected = target.module(*inputs.values())
    for found, value in zip(plain(inputs), expected, strict=True):
        torch.testing.assert_close(found, value, atol=1e-4, rtol=1e-4)


def test_report_sees_a_difference(tmp_path):
    model = built("meddensevit")
    target = exportable(model)
    file = export_model(target, tmp_path / "model.pt2", "torch_export", (64, 64), batch_size=1, dynamic=False)
    assert parity_report(target, file, "torch_export", [(1, 64, 64)])[0]["different"] == 0
    with torch.no_grad():
        model.classifier.bias.add_(torch.tensor([0.0, 3.0, 0.0, 0.0]))
    entry = parity_report(target, file, "torch_export", [(1, 64, 64)])[0]
    assert entry["max_difference"]["logits"] == pytest.approx(3.0, abs=1e-3) and entry["different"] > 0


def test_one_unit_alone_is_a_size_too(tmp_path):
    """What a program for all sizes cannot serve, one for this size can; both say what they do not take."""
    torch.manual_seed(0)
    encoder = {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 4}
    config = unisegformer_config(encoder_config=encoder)
    target = exportable(peaked(hfseg.UniSegFormerForSemanticSegmentation(config)).eval())
    with pytest.raises(ValueError, match="multiples of 32, 64 or more"):
        export_model(target, tmp_path / "a.pt2", "torch_export", (32, 32))
    file = export_model(target, tmp_path / "a.pt2", "torch_export", (32, 32), batch_size=1, dynamic=False)
    assert parity_report(target, file, "torch_export", [(1, 32, 32)])[0]["different"] == 0
    with pytest.raises(ValueError, match=r"a.pt2 does not serve pixel_values \(1, 3, 64, 32\).*Export one for"):
        load_program(file, "torch_export")(target.inputs(1, 64, 32))


def test_command_fails_where_file_and_model_differ(tmp_path, capsys, monkeypatch):
    """Differences count relative to the largest logit, above 1; and any other decision fails."""
    folder = model_folder("meddensevit", tmp_path)

    def write(target, file, *_):
        Path(file).write_bytes(b"program")
        return Path(file)

    monkeypatch.setattr(export, "export_model", write)
    words = ["export", "--model", str(folder), "--format", "torch_export", "-o", str(tmp_path / "a.pt2")]
    cases = [
        ((5e-5, 0.5, 0), 0),
        ((2e-4, 0.5, 0), 1),
        ((5e-3, 100.0, 0), 0),
        ((2e-2, 100.0, 0), 1),
        ((5e-5, 0.5, 1), 1),
    ]
    for (difference, largest, different), status in cases:
        entry = {
            "batch_size": 1, "height": 64, "width": 64, "max_difference": {"logits": difference},
            "largest_value": {"logits": largest}, "decisions": 9, "different": different,
        }  # fmt: skip
        monkeypatch.setattr(export, "parity_report", lambda *_, entry=entry: [entry])
        assert main(words) == status, entry
        assert ("NOT equal" in capsys.readouterr().out) == bool(status)
        assert json.loads((tmp_path / "a.pt2.json").read_text())["passed"] is not bool(status)


@pytest.mark.parametrize(
    ("file", "content", "size"),
    [
        ("preprocessor_config.json", {"size": {"height": 50, "width": 70}}, (64, 96)),
        ("preprocessor_config.json", {"size": {"shortest_edge": 800, "longest_edge": 1333}}, (800, 800)),
        ("processor_config.json", {"image_processor": {"size": {"longest_edge": 20}}}, (64, 64)),
        ("other.json", {}, (512, 512)),
    ],
)
def test_default_size_is_the_processors_on_the_models_grid(tmp_path, file, content, size):
    (tmp_path / file).write_text(json.dumps(content))
    assert export.default_size(str(tmp_path), 32, 64) == size


class Doubled(torch.nn.Module):
    """The least model that can be exported."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(12.0).reshape(4, 3))

    def forward(self, pixel_values):
        return (torch.einsum("kc,bchw->bkhw", self.weight, pixel_values),)


def doubled():
    pixels = lambda batch, height, width: {"pixel_values": torch.ones(batch, 3, height, width)}  # noqa: E731
    return Exportable(
        Doubled(), pixels, {"pixel_values": (0, 2, 3)}, ("logits",), lambda values: (values[0].argmax(1),)
    )


@needs_onnx
def test_large_weights_go_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_FILE", 16)
    target = doubled()
    file = export_model(target, tmp_path / "a" / "model.onnx", "onnx", (64, 64))
    assert {path.name for path in file.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    (entry,) = parity_report(target, file, "onnx", [(3, 64, 128)])
    assert entry["max_difference"]["logits"] == 0 and entry["largest_value"]["logits"] == 30


class Blocks(torch.nn.Module):
    """Rounds up and takes remainders by free lengths, as tables of shifted windows do."""

    def forward(self, pixel_values):
        height, width = pixel_values.shape[2:]
        rows, columns = -(-height // 48), -(-width // 48)
        number = torch.arange(height * width)
        place = (number % width - 5) % columns + (number - 7) // width * rows
        return (pixel_values.sum((1, 2, 3))[:, None] * 0 + place + (pixel_values.flatten(2)[:, 0] % width),)


@needs_onnx
def test_sizes_round_up_and_remainders_are_those_of_pytorch(tmp_path):
    def pixels(batch, height, width):
        return {"pixel_values": 90 * torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))}

    target = Exportable(Blocks(), pixels, {"pixel_values": (0, 2, 3)}, ("places",), lambda values: (values[0] > 40,))
    file = export_model(target, tmp_path / "model.onnx", "onnx", (64, 96))
    for entry in parity_report(target, file, "onnx", [(2, 64, 96), (3, 96, 160)]):
        assert entry["max_difference"]["places"] <= 1e-4 and entry["different"] == 0
        assert entry["largest_value"]["places"] > 100


class Spectrum(torch.nn.Module):
    """What ONNX does not have."""

    def forward(self, pixel_values):
        return (torch.linalg.eigh(pixel_values[..., :64, :64])[0],)


@needs_onnx
def test_what_onnx_lacks_is_named(tmp_path):
    pixels = lambda batch, height, width: {"pixel_values": torch.ones(batch, 3, height, width)}  # noqa: E731
    target = Exportable(Spectrum(), pixels, {"pixel_values": (0,)}, ("values",), lambda values: (values[0] > 0,))
    with pytest.raises(ValueError, match=r"no translation for the operation aten\._linalg_eigh.*torch_export"):
        export_model(target, tmp_path / "model.onnx", "onnx", (64, 64))
    assert list(tmp_path.iterdir()) == []


def test_other_shapes_are_an_error(monkeypatch):
    monkeypatch.setattr(export, "load_program", lambda *_: lambda inputs: (torch.zeros(1, 4, 64, 32),))
    with pytest.raises(ValueError, match=r"gives the shape \(1, 4, 64, 32\) where the model gives \(1, 4, 64, 64\)"):
        parity_report(doubled(), "a.onnx", "onnx", [(1, 64, 64)])


def test_a_file_carries_what_its_user_needs(tmp_path):
    """Read back by ONNX Runtime alone: labels, the image processor's numbers, sizes."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra `export`")
    folder = model_folder("vpnext", tmp_path)
    assert main(["export", "--model", str(folder), "--format", "onnx", "-o", str(tmp_path / "a.onnx")]) == 0
    about = onnxruntime.InferenceSession(str(tmp_path / "a.onnx")).get_modelmeta().custom_metadata_map
    config = json.loads((folder / "config.json").read_text())
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert about["task"] == "semantic" and about["class"] == "VPNeXtForSemanticSegmentation"
    assert about["hfseg"] == hfseg.__version__ and json.loads(about["id2label"]) == config["id2label"]
    carried = json.loads(about["image_processor"])
    assert "auto_map" not in carried
    assert {name: carried[name] for name in ("image_mean", "image_std", "size")} == {
        name: processor[name] for name in ("image_mean", "image_std", "size")
    }
    report = json.loads((tmp_path / "a.onnx.json").read_text())
    assert json.loads(about["input_size"]) == report["inputs"]["pixel_values"][-2:]
