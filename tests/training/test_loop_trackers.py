# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Real runs of the trackers, offline: curves and images arrive, and a resumed run goes on under the same id."""

import json
import sqlite3
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy import ToyDataset, ToyModel, collate, toy_arguments

from hfseg.training import train


def run_twice(folder: Path, tracker: str) -> str:
    """Two updates, resumed for two more; returns the id under which both parts were tracked."""
    ids = []
    for steps, resume in ((2, None), (4, "latest")):
        torch.manual_seed(0)
        options = {"trackers": [tracker], "max_steps": steps, "save_every": 2, "log_every": 1, "log_images": 1}
        train(
            ToyModel(),
            ToyDataset(),
            collate,
            toy_arguments(run={**options, "evaluate_every": 2}, schedule={"warmup_steps": 0}),
            output_dir=folder / "run",
            evaluate_fn=lambda model: {"score": 1.0},
            overlay_fn=lambda model, count: [Image.new("RGB", (5, 4), (9, 9, 9))] * count,
            resume_from_checkpoint=resume,
        )
        state = json.loads((folder / f"run/checkpoint-{steps}/trainer_state.json").read_text())
        ids.append(state["tracker_run"])
    assert ids[0] == ids[1] != ""
    return ids[0]


def test_wandb(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install hfseg[wandb]")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    run_id = run_twice(tmp_path, "wandb")
    wandb.teardown()  # its service writes in its own time
    parts = sorted(tmp_path.glob("wandb/offline-run-*"))
    assert len(parts) == 2 and all(part.name.endswith(run_id) for part in parts)
    for part, step in zip(parts, (2, 4)):
        (record,) = part.glob("*.wandb")
        assert b"train/loss" in record.read_bytes() and b"eval/score" in record.read_bytes()
        (image,) = part.glob("files/media/images/eval/*.png")
        assert image.name.startswith(f"sample_0_{step}_") and Image.open(image).size == (5, 4)


def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio", reason="trackio is not installed: pip install hfseg[trackio]")
    run_id = run_twice(tmp_path, "trackio")
    with sqlite3.connect(tmp_path / "trackio/hfseg.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics").fetchall()
    assert {name for name, _, _ in rows} == {run_id}
    assert {step for _, step, text in rows if "train/loss" in str(text)} == {1, 2, 3, 4}
    assert {step for _, step, text in rows if "eval/score" in str(text)} == {2, 4}
    assert len(list((tmp_path / "trackio/media/hfseg" / run_id).glob("*/*.png"))) == 2
