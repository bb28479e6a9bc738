# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Examples below the tabs of shipped models: they fill the right inputs, can be answered, and outlive a visit."""

from pathlib import Path

import pytest

from hfseg.commands import demo
from hfseg.demo.examples import examples
from tiny_zoo import model_folder

gradio = pytest.importorskip("gradio", reason="extra `demo`")

KINDS = ("proscale", "cris", "unpairseg", "lavin_dit", "meddensevit")


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    from hfseg.demo.app import load

    root = tmp_path_factory.mktemp("zoo")
    return load([str(model_folder(kind, root)) for kind in KINDS])


def rows_of(app):
    """The examples of an app: inputs' labels to values."""
    found = {}
    for block in app.blocks.values():
        if type(block).__name__ == "Dataset":
            labels = tuple(component.label for component in block._components)
            found[labels] = block.samples
    return found


def test_every_tab_has_its_examples_only_for_shipped_models(predictors, tmp_path):
    from hfseg.demo.app import build_app
    from hfseg.demo.place_tab import read_places

    assert not rows_of(build_app(predictors, folder=tmp_path / "own"))
    found = rows_of(build_app(predictors, folder=tmp_path / "shipped", shipped=True))
    flat = {labels: rows for labels, rows in found.items()}
    by_name = {example.name: example for example in examples()}
    assert any("hippocampus.nii.gz" in str(rows) for rows in flat.values())
    text = next(rows for labels, rows in flat.items() if any("Expressions" in label for label in labels))
    assert text[0][1].splitlines() == list(by_name["expressions"].text)
    names = next(rows for labels, rows in flat.items() if any("Names, one" in label for label in labels))
    assert names[0][1].splitlines() == list(by_name["names"].labels)
    places = next(rows for labels, rows in flat.items() if any("Points x,y" in label for label in labels))
    read = [read_places(row[1]) for row in places]
    assert [tuple(point) for point in read[0].points] == list(by_name["points"].points)
    assert [tuple(box) for box in read[1].boxes] == list(by_name["box"].boxes)
    pairs = next(rows for labels, rows in flat.items() if "Example 1, input" in labels)
    assert pairs[0][3] == "an image" and "depth_shown.png" in str(pairs[0][0])


def test_an_example_chooses_a_model_of_its_dataset():
    from types import SimpleNamespace

    from hfseg.demo.example_rows import models_for

    names = ("a-nuclei", "b-shapes", "c-shapes", "d-other")
    models = [
        SimpleNamespace(name=name, predictor=SimpleNamespace(task="universal", reads_volumes=False, folder=Path(name)))
        for name in names
    ]
    by_name = {example.name: example for example in examples()}
    assert models_for(by_name["nuclei"], models) == ["a-nuclei"]
    assert models_for(by_name["scene"], models) == ["b-shapes", "c-shapes"]
    assert models_for(by_name["scene"], models[-1:]) == ["d-other"] and not models_for(by_name["names"], models)


def test_without_a_model_the_shipped_ones_are_shown(monkeypatch):
    from hfseg import tasks
    from hfseg.demo import app

    seen = {}

    class Stop(Exception):
        pass

    def stop(predictors, limits, folder, shipped):
        seen.update(folders=predictors, shipped=shipped)
        raise Stop

    monkeypatch.setattr(app, "load", lambda folders, device, dtype: list(folders))
    monkeypatch.setattr(app, "build_app", stop)
    for given, expected in (([], tasks.shipped_checkpoints()), (["--model", "mine"], ["mine"])):
        with pytest.raises(Stop):
            demo.run(demo.parse(given))
        assert seen == {"folders": expected, "shipped": not given}
    with pytest.raises(ValueError, match="--space needs --model"):
        demo.run(demo.parse(["--space", str(Path("space"))]))
