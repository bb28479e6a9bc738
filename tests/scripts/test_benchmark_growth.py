# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How cost grows: the tables run at small sizes, and the figures are what the script draws of the results."""

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import growth, half_precision
from benchmarks.growth import growth_tables

ROOT = Path(__file__).parents[2]


def plots():
    spec = importlib.util.spec_from_file_location("growth_plots", ROOT / "scripts/benchmarks/growth_plots.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_have_a_row_per_step():
    tables, notes = growth_tables(["targets", "queries"], 1, tiny=True)
    assert [row["targets"] for row in tables["targets"]] == [1, 3]
    assert [(row["queries"], row["task"]) for row in tables["queries"]][::3] == [(1, "panoptic"), (8, "panoptic")]
    assert all(row["ours ms"] > 0 and row["peer ms"] > 0 for rows in tables.values() for row in rows)
    assert len(notes) == 4 and "Load average" in notes[-1]


def test_figures_are_those_of_the_script(tmp_path, monkeypatch):
    """Figures in the documentation are what the script draws of their results; without a result none is drawn."""
    module = plots()
    for name in module.FIGURES:
        figure = ROOT / f"docs/figures/growth_{name}.svg"
        assert figure.is_file() == (module.RESULTS / f"growth_{name}.json").is_file()
        assert not figure.is_file() or figure.read_text(encoding="utf-8") == module.draw(name)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    rows = [{"side": side, "ours ms": side, "peer ms": 2 * side, "ours MiB": 1, "peer MiB": side} for side in (64, 96)]
    (tmp_path / "growth_side.json").write_text(json.dumps({"tables": {"side": rows}}))
    module.main()
    assert [file.name for file in tmp_path.glob("*.svg")] == ["growth_side.svg"]
    drawn = ElementTree.parse(tmp_path / "growth_side.svg").getroot()
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"forward pass, ms of CPU", "transformers", "64", "96"} <= set(words)


def test_points_lie_where_their_values_are():
    """Twice as far along logarithmic axes for the square, and higher for more."""
    module = plots()
    panel = module.Panel("cost", "n", (module.Line("ms", "ours", "#123456"),))
    drawn = "\n".join(module.draw_panel(panel, [{"n": 1, "ms": 1}, {"n": 10, "ms": 10}, {"n": 100, "ms": 100}], "n", 0))
    circles = [
        [float(part.split('"')[1]) for part in line.split()[1:3]] for line in drawn.splitlines() if "<circle" in line
    ]
    (x0, y0), (x1, y1), (x2, y2) = circles
    assert abs((x2 - x0) - 2 * (x1 - x0)) < 0.2 and abs((y2 - y0) - 2 * (y1 - y0)) < 0.2 and y2 < y1 < y0 and x0 < x1
    assert module.ticks(3, 40) == [2.0, 5.0, 10.0, 20.0, 50.0] and module.ticks(5, 5) == [5.0, 10.0]
    assert module.shown(12000) == "12,000"


def test_the_types_of_a_model():
    """A quarter of the bytes for linear layers in int8, half for all in bfloat16; outputs stay close."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)).eval()
    sizes = {kind: half_precision.weights_of(model, kind) * 2**20 for kind in half_precision.KINDS}
    assert sizes == {"float32": 4 * 8320, "bfloat16": 2 * 8320, "int8": 4 * 8320 - 3 * 8192}
    inputs = torch.randn(4, 64)
    for kind in half_precision.KINDS:
        own = half_precision.in_kind(model, kind)
        given = inputs.bfloat16() if kind == "bfloat16" else inputs
        assert torch.allclose(own(given).float(), model(inputs), atol=0.05)
    assert model[0].weight.dtype is torch.float32


def test_loading_is_no_cost_of_an_image():
    """101 images in 7 s, of which loading and the first one take 5: 20 ms each."""
    row = growth._per_image({"images": 101, "CPU s": 7.0}, 5.0)
    assert row["ms per image after the first"] == pytest.approx(20.0) and row["images"] == 101


def test_a_step_of_lavin_dit_in_three_types():
    """Half the weights' bytes, almost the same velocities; and the pipeline is evaluated in each."""
    from benchmarks.half_precision_lavin_dit import lavin_dit_rows

    plain, half, whole = lavin_dit_rows(1, 2, tiny=True)
    assert plain["same masks %"] == 100 and 97 < half["same masks %"] < 100 and 97 < whole["same masks %"] < 100
    assert half["weights MiB"] == plain["weights MiB"] / 2 > whole["weights MiB"] > plain["weights MiB"] / 4
    assert all(0 < row["quality"] < 100 for row in (plain, half, whole))


def test_a_folder_of_images_is_predicted_in_a_process_of_its_own():
    """One and three images, three files each; what each image after the first takes."""
    one, three = growth.folder_rows(1, tiny=True)
    assert [one["images"], three["images"]] == [1, 3]
    expected = 1e3 * (three["CPU s"] - one["CPU s"]) / 2
    assert three["ms per image after the first"] == pytest.approx(expected)
    assert 100 < one["peak MiB"] < 4000
