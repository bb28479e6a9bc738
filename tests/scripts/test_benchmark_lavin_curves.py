# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT's curves: points lie where values say, rows hold what was measured, the command writes PNG and JSON."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import lavin_dit_curves
from benchmarks import main as benchmark
from benchmarks.curve_plots import COLORS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_lines, ticks
from benchmarks.lavin_dit_curves import CONTEXT_TASKS, context_rows, plot_context, plot_latency, scaling_rows


def places(image: Image.Image, color: str) -> tuple[float, float]:
    """Center of a color's pixels above the legend, in pixels."""
    rgb = tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
    rows, columns = np.nonzero((np.asarray(image)[:HEIGHT] == rgb).all(-1))
    return float(columns.mean()), float(rows.mean())


def test_ticks_hold_the_values():
    assert ticks(0.3, 8, True) == [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert ticks(1, 12, False) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    for low, high in ((5, 5), (1e-4, 3e3), (0.017, 0.018)):
        for logarithmic in (False, True):
            marks = ticks(low, high, logarithmic)
            assert marks[0] <= low and marks[-1] >= high and len(marks) > 1 and marks == sorted(marks)


def test_points_lie_where_their_values_say():
    """In the middle of the axes: 5 of 0 to 10, and 10 of 1 to 100 on a logarithmic one."""
    corners = [(0, 1), (10, 100)]
    image = draw_lines("t", {"corners": corners, "middle": [(5, 10)]}, "x", "y", (False, True))
    column, row = places(image, COLORS[1])
    assert column == pytest.approx((LEFT + WIDTH - RIGHT) / 2, abs=1) and row == pytest.approx(
        (TOP + HEIGHT) / 2, abs=1
    )
    with pytest.raises(ValueError, match="logarithmic"):
        draw_lines("t", {"a": [(0, 0)]}, "x", "y", (False, True))
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_lines("t", {"a": []}, "x", "y")


def test_numbers_of_examples_are_those_of_the_evaluation(monkeypatch, tmp_path):
    asked = []

    def evaluate(model, dataset, task, **options):
        asked.append((model, task, options["num_examples"], options["only"]))
        return {options["only"][0]: 10.0 * options["num_examples"]}

    monkeypatch.setattr(lavin_dit_curves.hfseg, "load", lambda model, device: f"loaded {model}")
    monkeypatch.setattr(lavin_dit_curves.hfseg, "evaluate", evaluate)
    rows = context_rows("m", "shapes", [1, 3], 4, 2, "cpu")
    assert [row["pairs"] for row in rows] == [1, 3] and rows[1]["colorization: mse"] == 30.0
    assert asked[:1] == [("loaded m", "depth_estimation", 1, ["abs_rel"])] and len(asked) == 2 * len(CONTEXT_TASKS)
    plot_context(rows, tmp_path / "context.png", "m")
    assert Image.open(tmp_path / "context.png").size[0] == WIDTH


def test_sizes_are_trained_alike(monkeypatch, tmp_path):
    """Only width and depth differ; the points are the run's own evaluations."""
    changes = {}

    def train(recipe, *overrides, output_dir):
        output_dir.mkdir(parents=True)
        changes[output_dir.name] = overrides
        evaluations = [{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0}]
        (output_dir / "metrics.json").write_text(json.dumps({"training": {"evaluations": evaluations}}))

    network = SimpleNamespace(parameters=lambda: iter([np.zeros(0)]))
    network.parameters = lambda: iter([SimpleNamespace(numel=lambda: 2_000_000)])
    loader = SimpleNamespace(from_pretrained=lambda folder: network)
    monkeypatch.setattr(lavin_dit_curves.hfseg, "train", train)
    monkeypatch.setattr(lavin_dit_curves, "LavinDiTTransformer3DModel", loader)
    monkeypatch.setattr(lavin_dit_curves.hfseg, "evaluate", lambda *a, only, **k: {only[0]: 7.0})
    rows = scaling_rows(10, 5, 4, tmp_path / "run", ["run.seed=1"])
    assert [(row["size"], row["updates"], row["held-out loss"]) for row in rows[:2]] == [
        ("small", 5, 2.0),
        ("small", 10, 1.0),
    ]
    assert rows[1]["colorization: mse"] == 7.0 and rows[1]["parameters (M)"] == 2.0 and len(rows) == 6
    common = [{o for o in overrides if "transformer" not in o} for overrides in changes.values()]
    assert common[0] == common[1] == common[2] == {
        "run.max_steps=10", "run.evaluate_every=5", "run.ema_decay=null", "run.seed=1",
    }  # fmt: skip


def test_latency_leaves_out_the_first_round(monkeypatch):
    """By a clock that the stand-in moves: calls of the first round take 100 s, of the others 1 and 2, 3 and 4, ..."""
    seconds, now = iter([100.0, 100.0, 1.0, 2.0, 3.0, 4.0, 8.0, 9.0]), [0.0]

    def work(*_, **__):
        now[0] += next(seconds)

    class Pipe:
        device = SimpleNamespace(type="cpu")
        prepare_examples, __call__ = staticmethod(work), staticmethod(work)

    monkeypatch.setattr(lavin_dit_curves.time, "perf_counter", lambda: now[0])
    (row,) = lavin_dit_curves.latency_rows(Pipe(), [32], 1, 1, 3)
    assert (row["examples s"], row["query, steps and answer s"], row["total s"]) == (3, 4, 7)


def test_the_command_draws_latency(tmp_path):
    file = tmp_path / "latency.json"
    small = ["--sides", "32", "64", "--pairs", "1", "--steps", "1", "--rounds", "1"]
    assert benchmark(
        ["lavin-curves", "--parts", "latency", *small, "--plots", str(tmp_path), "--output", str(file)]
    ) == 0  # fmt: skip
    (rows,) = json.loads(file.read_text())["tables"].values()
    assert [row["side"] for row in rows] == [32, 64]
    for row in rows:
        assert (
            row["total s"] == pytest.approx(row["examples s"] + row["query, steps and answer s"]) and row["total s"] > 0
        )
    assert Image.open(tmp_path / "lavin_dit_latency.png").format == "PNG"
    plot_latency([{**rows[0], "side": 256}], tmp_path / "one.png", "one")
