# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's tables: operations against the authors' count, and what a trained model is asked."""

import pytest

from hfseg.commands.benchmark.cris import cost_tables
from hfseg.commands.benchmark.referring import referring_tables
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task


def test_operations():
    tables = cost_tables()
    parts = {row.pop("part"): row for row in tables["GFLOPs by part"]}
    # What nothing was rewritten in costs the same; what depends on the picture only is not paid per expression.
    assert parts["decoder"]["ours, per expression"] == pytest.approx(17.82, rel=0.01)
    assert parts["text"]["ours, per expression"] == pytest.approx(1.28, rel=0.02)
    assert parts["image tower"]["ours, per image"] == pytest.approx(42.69, rel=0.01)
    assert parts["image tower"]["ours, per expression"] == 0
    assert parts["projector"]["ours, per expression"] < 0.4 * parts["projector"]["authors, per expression"]
    ratios = {row["expressions"]: row["times fewer"] for row in tables["GFLOPs of one picture"]}
    assert 1 < ratios[1] < ratios[10] < ratios[100]


def test_questions_to_a_trained_model(tmp_path):
    arguments = load_recipe("cris-tiny-shapes", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train))
    model.save_pretrained(tmp_path)
    task.build_processor(model).save_pretrained(tmp_path)
    tables, _ = referring_tables(str(tmp_path), 4, str(tmp_path / "grid.png"), (64, 64))
    rows = {row["expressions"]: row for row in tables["Referring expressions"]}
    assert set(rows) == {"all", "held-out", "exchanged"} and (tmp_path / "grid.png").is_file()
    assert all(0 <= row["mean_iou"] <= 1 for row in rows.values())
    assert sum(kind["expressions"] for kind in tables["By kind"]) == rows["all"]["num_samples"]
