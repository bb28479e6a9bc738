# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folders load through Auto classes and `pipeline()`, with the package imported and, trusted, without."""

import json
import os
import subprocess
import sys

import pytest

from fresh_process import run_python
from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation, ProScaleImageProcessor, auto

LOADERS = {
    "configuration": "transformers.AutoConfig.from_pretrained(folder, {trust})",
    "model": "transformers.AutoModelForUniversalSegmentation.from_pretrained(folder, {trust})",
    "bare model": "transformers.AutoModel.from_pretrained(folder, {trust})",
    "image processor": "transformers.AutoImageProcessor.from_pretrained(folder, {trust})",
    "pipeline": "transformers.pipeline('image-segmentation', model=folder, device='cpu', {trust}).model",
}
CLASSES = {
    "configuration": "ProScaleConfig",
    "model": "ProScaleForUniversalSegmentation",
    "bare model": "ProScaleModel",
    "image processor": "ProScaleImageProcessor",
    "pipeline": "ProScaleForUniversalSegmentation",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    config = ProScaleConfig(
        backbone_config={**swin, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=2,
        decoder_layers=1,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
    )
    ProScaleForUniversalSegmentation(config).save_pretrained(path)
    ProScaleImageProcessor().save_pretrained(path)
    return path


# With the package imported the other routes are part of the models' contract.
ROUTES = [("pipeline", True), *((what, False) for what in LOADERS)]
# A process per route, forked before anything of hfseg is imported: transformers takes seconds each time.
EVERY_ROUTE = """
import json, os, sys
import torch, transformers, transformers.pipelines
torch.set_num_threads(1)
folder, routes = sys.argv[1], json.loads(sys.argv[2])
for number, (imported, code) in enumerate(routes):
    if (child := os.fork()) == 0:
        try:
            assert "hfseg" not in sys.modules
            if imported:
                import hfseg
            loaded = eval(code)
            print("loaded", number, type(loaded).__name__, flush=True)
        except BaseException as error:
            print("failed", number, repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def loaded(folder, tmp_path_factory):
    """What new interpreters print, in which nobody is there to answer a question."""
    cache = tmp_path_factory.mktemp("cache")
    codes = [
        (imported, LOADERS[what].format(trust="" if imported else "trust_remote_code=True"))
        for what, imported in ROUTES
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(cache)}
    done = run_python(["-c", EVERY_ROUTE, folder, json.dumps(codes)], env=environment, timeout=240)
    assert "custom code" not in done.stdout + done.stderr  # the question that would wait for an answer
    return done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("number", range(len(ROUTES)), ids=["-".join(map(str, route)) for route in ROUTES])
def test_routes(loaded, number):
    assert f"loaded {number} {CLASSES[ROUTES[number][0]]}" in loaded.splitlines(), loaded


def test_shim_holds_no_code_of_its_own(folder):
    lines = (folder / "modeling_hfseg.py").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith('"""')]
    assert len(code) == 1 and code[0].startswith("from hfseg import ")
    named = {name.split(".")[1] for name in json.loads((folder / "config.json").read_text())["auto_map"].values()}
    assert named <= set(code[0].removeprefix("from hfseg import ").split(", "))


def test_unknown_architecture_lists_the_known():
    with pytest.raises(ValueError, match="proscale"):
        auto.find("mask3former")


def test_every_row_resolves():
    for row in auto.ARCHITECTURES:
        for name in [row.config, row.converter, *row.image_processors.values()]:
            assert name is None or callable(auto.load(name))


WITHOUT_TORCHVISION = """
import sys

class Hide:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "torchvision" else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
import numpy as np
from hfseg import ProScaleImageProcessorPil
ProScaleImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(sys.argv[1])
# As `AutoImageProcessor` of transformers 5.23; that of 5.17 asks for torchvision whatever it is to load.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
processor = AutoImageProcessor.from_pretrained(sys.argv[1], backend="pil")
assert type(processor) is ProScaleImageProcessorPil
print(tuple(processor(np.zeros((32, 40, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape))
assert "torchvision" not in sys.modules
"""


def test_pillow_processor_needs_no_torchvision(tmp_path):
    command = [sys.executable, "-c", WITHOUT_TORCHVISION, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.strip() == "(1, 3, 32, 64)", result.stderr[-2000:]
