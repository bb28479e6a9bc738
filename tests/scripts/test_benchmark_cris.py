# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's tables: operations against the authors' count, and what a trained model is asked."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import cris
from benchmarks.cris import cost_tables
from benchmarks.referring import referring_tables
from benchmarks.speed import SpeedOptions
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task


def test_operations():
    tables = cost_tables()
    parts = {row.pop("part"): row for row in tables["GFLOPs by part"]}
    # What nothing was rewritten in costs the same; what depends on the image only is not paid per expression.
    assert parts["decoder"]["ours, per expression"] == pytest.approx(17.82, rel=0.01)
    assert parts["text"]["ours, per expression"] == pytest.approx(1.28, rel=0.02)
    assert parts["image tower"]["ours, per image"] == pytest.approx(42.69, rel=0.01)
    assert parts["image tower"]["ours, per expression"] == 0
    assert parts["projector"]["ours, per expression"] < 0.4 * parts["projector"]["authors, per expression"]
    ratios = {row["expressions"]: row["times fewer"] for row in tables["GFLOPs of one image"]}
    assert 1 < ratios[1] < ratios[10] < ratios[100]


class Theirs(torch.nn.Module):
    """In the authors' interface: one expression per image."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.1, 1, 16).unflatten(0, (4, 4)))

    def forward(self, images, ids):
        assert images.dtype == self.weight.dtype == torch.float32
        return images.mean(1, keepdim=True) @ self.weight * ids.sum(1)[:, None, None, None]


class Ours(torch.nn.Module):
    """All expressions at once."""

    def __init__(self, state):
        super().__init__()
        self.weight = torch.nn.Parameter(state["weight"])
        self.types = set()

    def forward(self, images, ids):
        self.types |= {images.dtype, self.weight.dtype}
        logits = images.mean(1, keepdim=True) @ self.weight
        return SimpleNamespace(logits=logits * ids.sum(2)[..., None, None].to(logits.dtype))


@pytest.mark.parametrize(
    ("dtype", "sides", "largest"), [("float32", ["each"], 1e-6), ("bfloat16", ["each", "each, autocast"], 0.1)]
)
def test_speed_in_a_half_type(monkeypatch, dtype, sides, largest):
    """Ours runs wholly in the type; the official code in float32 and, for a half type, under autocast."""
    built = []
    monkeypatch.setattr(cris, "authors_model", lambda code: (Theirs(), {}))
    monkeypatch.setattr(cris, "convert", lambda state, _: built.append(Ours(state)) or built[0])
    settings = SpeedOptions(batch=[2], rounds=1, warmup=0, dtype=dtype)
    tables, notes = cris.speed_table(settings, "nowhere", size=4)
    rows = tables["Speed of the forward pass"]
    assert [row["row"] for row in rows] == [
        f"2 image(s), {count} expression(s) {side}" for count in (1, 10) for side in sides
    ]
    assert built[0].types == {getattr(torch, dtype)} and dtype in notes[0]
    assert all(0 <= row["difference / std"] < largest for row in rows)


def test_questions_to_a_trained_model(tmp_path):
    arguments = load_recipe("cris-tiny-shapes", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train))
    model.save_pretrained(tmp_path)
    task.build_processor(model).save_pretrained(tmp_path)
    tables, _ = referring_tables(str(tmp_path), 4, str(tmp_path / "grid.png"), (64, 64))
    rows = {row["expressions"]: row for row in tables["Referring expressions"]}
    assert set(rows) == {"all", "held-out", "exchanged"} and (tmp_path / "grid.png").is_file()
    assert all(0 <= row["miou"] <= 100 for row in rows.values())
    assert sum(kind["expressions"] for kind in tables["By kind"]) == rows["all"]["num_samples"]
