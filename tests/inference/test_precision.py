# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Half precision on CPUs: everywhere where the processor has it, float32 and a word where it has not."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import hfseg
from hfseg.commands import evaluate, predict
from hfseg.data.synthetic.shapes import render_scene
from hfseg.inference import precision
from hfseg.inference.precision import computes_in, usable_dtype

HALF = {
    "vpnext-tiny-shapes": {},
    "proscale-tiny-shapes": {},
    "unisegformer-tiny-shapes": {},
    "cris-tiny-shapes": {"text": "the red star"},
    "unpairseg-tiny-shapes": {"points": [(30, 30)]},
}


@pytest.fixture
def processor(monkeypatch):
    """Lets a CPU have instructions for half precision, or not."""

    def choose(has: bool) -> None:
        precision._say_once.cache_clear()
        monkeypatch.setattr(precision, "computes_in", lambda dtype: has or dtype is torch.float32)

    yield choose
    precision._say_once.cache_clear()


def scene(number: int = 0) -> Image.Image:
    return Image.fromarray(render_scene(number, image_size=(96, 96), split="test").image)


def test_instructions_of_this_cpu(monkeypatch):
    """On x86 by the processor's flags, not by what oneDNN can imitate."""
    assert computes_in(torch.float32) and isinstance(computes_in(torch.float16), bool)
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    for avx, amx in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert computes_in(torch.bfloat16) is (avx or amx)
    monkeypatch.setattr(precision.platform, "machine", lambda: "aarch64")
    assert computes_in(torch.bfloat16) is torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_without_instructions_models_stay_in_float32_and_it_is_said_once(processor, tmp_path, capsys):
    processor(False)
    with pytest.warns(UserWarning, match="no instructions for bfloat16; the model runs in float32") as said:
        assert usable_dtype("bfloat16", "cpu") is torch.float32
        assert hfseg.load("vpnext-tiny-shapes", dtype="bfloat16").dtype is torch.float32
    assert len(said) == 1
    folder = str(hfseg.checkpoint("vpnext-tiny-shapes"))
    assert pipeline("image-segmentation", model=folder, dtype=torch.bfloat16).model.dtype is torch.float32
    assert hfseg.Predictor(folder, dtype=torch.bfloat16).dtype is torch.float32
    words = ["--model", folder, "--dataset", "shapes:num_scenes=1", "--dtype", "bfloat16", "--device", "cpu"]
    assert evaluate.main([*words, "--overlays", "0", "--output_dir", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["dtype"] == "float32"
    assert usable_dtype(torch.bfloat16, "cuda") is torch.bfloat16


def test_with_instructions_every_door_computes_in_bfloat16(processor, tmp_path):
    processor(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="This CPU")
        folder, photo = str(hfseg.checkpoint("unisegformer-tiny-shapes")), tmp_path / "scene.png"
        scene().save(photo)
        segmenter = pipeline("image-segmentation", model=folder, dtype=torch.bfloat16)
        assert segmenter.model.dtype is torch.bfloat16
        plain = segmenter(str(photo)).result.segmentation
        words = ["--model", folder, "--device", "cpu", "--dtype", "bfloat16"]
        assert predict.main([str(photo), *words, "-o", str(tmp_path / "out"), "--quiet"]) == 0
        with Image.open(tmp_path / "out/scene_ids.png") as written:
            assert np.array_equal(np.asarray(written), np.asarray(plain).clip(0))
        evaluated = ["--dataset", "shapes:num_scenes=2", "--overlays", "0", "--output_dir", str(tmp_path / "report")]
        assert evaluate.main([*words, *evaluated]) == 0
    record = json.loads((tmp_path / "report/metrics.json").read_text())
    assert record["dtype"] == "bfloat16" and record["metrics"]["pq"] > 50


@pytest.mark.parametrize("name", HALF)
def test_a_loaded_model_keeps_its_type_and_its_masks(name, processor):
    processor(True)
    found = []
    for dtype in ("float32", "bfloat16"):
        loaded = hfseg.load(name, dtype=dtype, task="mask-generation" if "unpairseg" in name else None)
        assert loaded.dtype is getattr(torch, dtype)
        found.append([np.asarray(hfseg.predict(loaded, scene(n), **HALF[name]).result.segmentation) for n in range(3)])
    assert np.mean([np.mean((one > 0) == (other > 0)) for one, other in zip(*found)]) > 0.97


def test_volumes_too(processor):
    """Slices are scaled to the network's input in float32, which a CPU does not do in half precision."""
    pytest.importorskip("nibabel")
    processor(True)
    scan = str(Path(hfseg.__file__).parent / "examples/hippocampus.nii.gz")
    one, other = (
        hfseg.predict(hfseg.load("meddensevit-tiny-hippocampus", dtype=dtype), scan).milliliters_per_class
        for dtype in ("float32", "bfloat16")
    )
    assert one.keys() == other.keys() and all(other[name] == pytest.approx(one[name], rel=0.05) for name in one)


@pytest.mark.parametrize(
    ("name", "task", "metric"),
    [
        ("unpairseg-tiny-shapes", "mask-generation", "one_box_iou"),
        ("unpairseg-tiny-shapes", "open-vocabulary", "mean_iou"),
        ("cris-tiny-shapes", "referring", "miou"),
    ],
)
def test_every_evaluation_takes_half_precision(name, task, metric, processor, tmp_path):
    processor(True)
    numbers = []
    for dtype in ("float32", "bfloat16"):
        words = ["--model", name, "--task", task, "--dtype", dtype, "--device", "cpu", "--overlays", "1"]
        data = "referring-shapes:num_scenes=2" if task == "referring" else "shapes:num_scenes=2"
        assert evaluate.main([*words, "--dataset", data, "--output_dir", str(tmp_path / dtype)]) == 0
        record = json.loads((tmp_path / dtype / "metrics.json").read_text())
        assert record["dtype"] == dtype
        numbers.append(record["metrics"][metric])
    assert numbers[1] == pytest.approx(numbers[0], abs=10.0)
