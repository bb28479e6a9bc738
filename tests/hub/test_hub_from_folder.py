# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From a folder of images and label PNGs to a repository for the Hub, by the commands of the task pages."""

import json

import numpy as np
import pytest
from accelerate.state import AcceleratorState, PartialState
from huggingface_hub import ModelCard
from PIL import Image

from hfseg.commands import evaluate, push, train


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def write_folder(root):
    """Ten images with a bright square on dark ground."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for number in range(10):
        generator = np.random.default_rng(number)
        labels = np.zeros((64, 80), dtype=np.uint8)
        top, left = generator.integers(4, 30, 2)
        labels[top : top + 24, left : left + 24] = 1
        image = (60 + 130 * labels + generator.integers(0, 20, labels.shape)).astype(np.uint8)
        Image.fromarray(image).convert("RGB").save(root / "images" / f"{number}.png")
        Image.fromarray(labels).save(root / "labels" / f"{number}.png")
    (root / "classes.json").write_text(json.dumps(["ground", "square"]))


def test_folder_becomes_a_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "my_images")
    data = ["data.train.path=my_images", "data.train.split=train"]
    data += ["data.validation.path=my_images", "data.validation.split=validation"]
    small = [
        "run.max_steps=2",
        "schedule.warmup_steps=0",
        "data.batch_size=2",
        "run.log_every=1",
        "model.config.decoder_layers=1",
    ]
    train.main(["--recipe", "proscale-tiny-folder", "--output_dir", "squares", *data, *small])
    assert evaluate.main(["--model", "squares", "--dataset", "my_images", "--output_dir", "report"]) == 0
    command = ["squares", "me/squares", "--evaluation", "report", "--license", "apache-2.0", "--dry_run", "repository"]
    capsys.readouterr()
    assert push.main([*command, "--json"]) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    paths = {file["path"] for file in report["files"]}
    assert {"README.md", "model.safetensors", "modeling_hfseg.py", "training_args.json"} <= paths
    card = ModelCard.load("repository/README.md")
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text())["metrics"]
    found = {result.metric_type: result for result in card.data.eval_results if result.metric_config}
    assert found["mean_iou"].metric_value == pytest.approx(numbers["mean_iou"], abs=1e-4)
    assert found["mean_iou"].metric_args["command"].startswith("hfseg evaluate --model squares")
    trained = [result for result in card.data.eval_results if not result.metric_config]
    assert trained and all(result.metric_args["command"].startswith("hfseg train --recipe") for result in trained)
    assert "## Evaluation" in card.text and "ground, square" in card.text
    (tmp_path / "empty").mkdir()
    command[3], command[-1] = "empty", "other"
    assert push.main(command) == 2 and "hfseg evaluate wrote" in capsys.readouterr().err
