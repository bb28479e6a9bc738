# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Batches of tables, as engines for much data hand them out: every row as `hfseg.predict` gives it."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import hfseg
from hfseg.data.synthetic.shapes import render_scene
from hfseg.inference.predictor import Options, Prompts
from tiny_zoo import image, model_folder

ROOT = Path(__file__).parents[2]


def as_json(prediction):
    """What a row is to say of an image."""
    entries = prediction.entries()
    return json.dumps([{name: value for name, value in entry.items() if name != "image_id"} for entry in entries])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        Image.fromarray(render_scene(number, image_size=(64, 80), split="test").image).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def expected(photos):
    """Segments of every file by `hfseg.predict`."""
    files = sorted(str(file) for file in photos.iterdir())
    found = dict(zip(files, map(as_json, hfseg.predict("unisegformer-tiny-shapes", files))))
    assert all(len(text) > 100 for text in found.values())
    return found


def test_a_batch_holds_images_in_any_form(tmp_path):
    predictor, photo = hfseg.Predictor(model_folder("proscale", tmp_path), dtype="float32"), image()
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    photo.save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    expected = as_json(predictor(photo))
    assert json.loads(expected)[0]["segmentation"]["size"] == [photo.height, photo.width]
    forms = [photo, path, tmp_path / "a.png", np.asarray(photo), stream.getvalue(), {"bytes": stream.getvalue()},
             {"bytes": None, "path": path}]  # fmt: skip
    batch = predictor({"name": ["x"] * len(forms), "image": forms})
    assert list(batch) == ["name", "image", "segments"] and batch["segments"] == [expected] * len(forms)
    assert (
        predictor({"path": [path]})["segments"] == predictor({"bytes": [stream.getvalue()]})["segments"] == [expected]
    )
    assert predictor({"image": np.stack([np.asarray(photo)] * 2)})["segments"] == [expected] * 2
    every = predictor({"image": [photo]}, options=Options(subtask="instance", threshold=0.0))["segments"]
    assert every == [as_json(predictor(photo, options=Options(subtask="instance", threshold=0.0)))]
    with pytest.raises(ValueError, match="must have a column image, bytes or path; it has photo"):
        predictor({"photo": [photo]})


def test_prompts_and_answers_of_a_batch(tmp_path):
    predictor = hfseg.Predictor(model_folder("cris", tmp_path))
    (found,) = predictor({"image": [image()]}, prompts=Prompts(text=["the red star"]))["segments"]
    assert found == as_json(hfseg.predict(predictor, image(), text="the red star"))


def code_of_page(kind: str, words: str) -> str:
    """The block of the page on prediction at scale that holds these words."""
    page = (ROOT / "docs/prediction_at_scale.md").read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) if words in code]
    return code


def test_datasets_map_on_two_processes(photos, expected, monkeypatch, tmp_path):
    """As the page says. The parent has two threads, which a forked worker must not wait for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    hfseg.predict("unisegformer-tiny-shapes", next(iter(expected)))
    names = {}
    exec(code_of_page("py", "num_proc").replace("proscale-tiny-nuclei", "unisegformer-tiny-shapes"), names)
    torch.set_num_threads(threads)
    rows = names["found"]
    assert {str(photos / Path(path).name): found for path, found in zip(rows["path"], rows["segments"])} == expected


def test_copies_of_a_predictor_know_of_new_weights(tmp_path):
    """`datasets` keeps results by what computed them, as pickle writes it."""
    folder = model_folder("proscale", tmp_path)
    predictor = hfseg.Predictor(folder)
    before = pickle.dumps(predictor)
    assert len(before) < 5000 and pickle.dumps(hfseg.Predictor(folder)) == before
    copy = pickle.loads(before)
    assert as_json(copy(image())) == as_json(predictor(image())) and copy.dtype == torch.float32
    os.utime(folder / "model.safetensors", ns=(0, 0))
    assert pickle.dumps(predictor) != before
    with pytest.raises(pickle.PicklingError, match="make it of the model's name or folder"):
        pickle.dumps(hfseg.Predictor(hfseg.load(folder)))


def test_ray_data_on_two_workers(photos, expected, tmp_path):
    """The page's own words on a local Ray, in a process of its own."""
    pytest.importorskip("ray", reason="extra `ray`")
    (tmp_path / "photos").symlink_to(photos)
    code = code_of_page("py", "import ray").replace("proscale-tiny-nuclei", "unisegformer-tiny-shapes")
    (tmp_path / "example.py").write_text(code)
    environment = {**os.environ, "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = datasets.Dataset.from_parquet([str(file) for file in (tmp_path / "results").glob("*.parquet")])
    assert {str(photos / Path(path).name): found for path, found in zip(rows["path"], rows["segments"])} == expected
