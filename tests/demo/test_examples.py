# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Examples of the demo: drawn from the test split, with prompts that are right, small, and with terms."""

import importlib.util
import json
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg import tasks
from hfseg.data.synthetic.referring_shapes import expressions_of
from hfseg.data.synthetic.shapes import render_scene
from hfseg.demo import examples as listed
from hfseg.demo.examples import FOLDER, examples

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_examples.py"


def test_examples_are_drawn_from_the_test_split_and_their_prompts_are_right(tmp_path):
    spec = importlib.util.spec_from_file_location("write_examples", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.write_drawn(tmp_path)
    for file in tmp_path.iterdir():
        assert (FOLDER / file.name).read_bytes() == file.read_bytes() or file.suffix == ".png"
        if file.suffix == ".png":
            with Image.open(file) as drawn, Image.open(FOLDER / file.name) as kept:
                assert np.array_equal(np.asarray(drawn), np.asarray(kept))
    by_name = {example.name: example for example in examples()}
    scene = render_scene(9, image_size=(192, 192), split="test")
    ids = [scene.segmentation[int(y), int(x)] for x, y in by_name["points"].points]
    assert len(set(ids)) == 3 and all(0 < number <= len(scene.objects) for number in ids)
    x0, y0, x1, y1 = by_name["box"].boxes[0]
    mask = scene.segmentation == ids[1]
    ys, xs = np.nonzero(mask)
    assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    told = {text for _, _, text in expressions_of(render_scene(11, image_size=(192, 192), split="test"), (192, 192))}
    assert set(by_name["expressions"].text) <= told


def test_examples_are_all_there_small_and_with_terms():
    files = {entry.path for entry in examples()} | {path for entry in examples() for path in entry.pair}
    named = {path.name for path in files} | {"README.md", "examples.json", "hippocampus_labels.nii.gz"}
    assert {path.name for path in listed.FOLDER.iterdir()} == named
    assert sum(path.stat().st_size for path in listed.FOLDER.iterdir()) < 500_000
    terms = (FOLDER / "README.md").read_text()
    assert "CC0 1.0" in terms and "CC BY-SA 4.0" in terms
    covered = {task for entry in json.loads((FOLDER / "examples.json").read_text()) for task in entry["tasks"]}
    assert covered == {name for name in tasks.segmentation_tasks() if name != "medical"}
