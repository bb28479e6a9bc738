# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Inference Endpoints: `hfseg push --endpoint` adds two files of ours, and the handler answers as the pipeline does."""

import base64
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

import hfseg
from hfseg.commands.push import main as push
from hfseg.inference.endpoint import HANDLER, EndpointHandler
from hfseg.tasks import model_folder
from tiny_zoo import model_folder as tiny_folder

EXAMPLES = Path(hfseg.__file__).parent / "examples"


def encoded(name):
    return base64.b64encode((EXAMPLES / name).read_bytes()).decode()


def mask_of(entry):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["mask"]))))


def same(answer, expected):
    json.dumps(answer)  # what leaves the server
    assert [entry["label"] for entry in answer] == [entry["label"] for entry in expected] and answer
    for mine, theirs in zip(answer, expected):
        np.testing.assert_array_equal(mask_of(mine), np.asarray(theirs["mask"]))


def test_the_published_handler_answers_as_the_pipeline(tmp_path, capsys):
    folder = model_folder("proscale-tiny-shapes")
    target = tmp_path / "repository"
    assert push([str(folder), "me/shapes", "--dry_run", str(target), "--endpoint"]) == 0, capsys.readouterr().err
    assert (target / "handler.py").read_text() == HANDLER
    assert (target / "requirements.txt").read_text() == f"hfseg=={hfseg.__version__}\n"
    spec = importlib.util.spec_from_file_location("handler", target / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(target))
    pipe = pipeline("image-segmentation", model=str(folder))
    same(handler({"inputs": encoded("scene.png")}), pipe(EXAMPLES / "scene.png"))
    data = {"inputs": f"data:image/png;base64,{encoded('scene.png')}", "parameters": {"subtask": "semantic"}}
    same(handler(data), pipe(EXAMPLES / "scene.png", subtask="semantic"))
    same(handler({"inputs": Image.open(EXAMPLES / "scene.png")}), pipe(EXAMPLES / "scene.png"))
    for wrong, words in (
        (None, "inputs is missing"),
        ("http://127.0.0.1/a.png", "paths and addresses are not opened"),
        (str(EXAMPLES / "scene.png"), "paths and addresses are not opened"),
        (base64.b64encode(b"no image").decode(), "not an image in a format that is read"),
    ):
        with pytest.raises(ValueError, match=words):
            handler({"inputs": wrong})
    for given in ({"sub_task": "semantic"}, {"image": str(EXAMPLES / "scene.png")}, {"images": "http://x/a.png"}):
        with pytest.raises(ValueError, match="unknown parameters"):
            handler({"inputs": encoded("scene.png"), "parameters": given})


def test_expressions_and_points():
    handler = EndpointHandler(str(model_folder("cris-tiny-shapes")))
    answer = handler({"inputs": {"image": encoded("expressions.png"), "text": ["the leftmost star"]}})
    pipe = pipeline("referring-image-segmentation", model=str(model_folder("cris-tiny-shapes")))
    same(answer, pipe(EXAMPLES / "expressions.png", text=["the leftmost star"]))


def test_boxes(tmp_path):
    folder = str(tiny_folder("proscale_boxes", tmp_path))
    answer = EndpointHandler(folder)({"inputs": encoded("scene.png"), "parameters": {"threshold": 0.0}})
    json.dumps(answer)
    expected = pipeline("object-detection", model=folder)(str(EXAMPLES / "scene.png"), threshold=0.0)
    assert answer and [(entry["label"], entry["box"]) for entry in answer] == [
        (entry["label"], entry["box"]) for entry in expected
    ]


def test_foreign_code_stays_at_home(tmp_path, capsys):
    import shutil

    folder = Path(shutil.copytree(model_folder("vpnext-tiny-shapes"), tmp_path / "mine"))
    (folder / "handler.py").write_text("import os\nos.system('true')\n")
    (folder / "requirements.txt").write_text("something-else\n")
    assert push([str(folder), "me/mine", "--dry_run", str(tmp_path / "plain")]) == 0, capsys.readouterr().err
    assert not (tmp_path / "plain/handler.py").exists() and not (tmp_path / "plain/requirements.txt").exists()
    assert push([str(folder), "me/mine", "--dry_run", str(tmp_path / "served"), "--endpoint"]) == 0
    assert (tmp_path / "served/handler.py").read_text() == HANDLER


def test_pipelines_of_diffusers_are_refused(tmp_path, capsys):
    folder = model_folder("lavin-dit-tiny-shapes")
    assert push([str(folder), "me/x", "--dry_run", str(tmp_path / "out"), "--endpoint"]) == 2
    assert "--endpoint serves models of transformers" in capsys.readouterr().err
