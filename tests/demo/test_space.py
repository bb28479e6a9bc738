# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A Space made of the demo: complete, and without pickles and checkpoints."""

import os
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from fresh_process import run_python
from hfseg.commands.main import main
from hfseg.demo.space import write_space
from tiny_zoo import model_folder

gradio = pytest.importorskip("gradio", reason="extra `demo`")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def test_space_is_complete(zoo, tmp_path):
    folder = tmp_path / "space"
    assert (
        main(["demo", "--model", str(model_folder("vpnext", zoo)), "--space", str(folder), "--title", "Streets"]) == 0
    )
    text = (folder / "README.md").read_text()
    assert text.startswith("---\ntitle: Streets\n") and f"sdk_version: {gradio.__version__}" in text
    from huggingface_hub import RepoCard

    data = RepoCard.load(folder / "README.md", ignore_metadata_errors=False).data.to_dict()
    assert data["sdk"] == "gradio" and data["app_file"] == "app.py" and len(data["short_description"]) <= 60
    needed = (folder / "requirements.txt").read_text().split()
    assert any(line.startswith("transformers") for line in needed) and not any("pytest" in line for line in needed)
    for requirement in metadata.requires("hfseg"):  # what the tabs of volumes and videos need is there, too
        name, _, condition = requirement.partition(";")
        wanted = not condition or "medical" in condition or "video" in condition
        assert (name.strip() in needed) == wanted, requirement
    # It runs from its own copy of the package, and finds its model.
    code = (
        "import hfseg, app; from hfseg.inference.predictor import Predictor; "
        "print(hfseg.__file__, [Predictor(name).class_name for name in app.MODELS])"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    done = run_python(["-c", code], cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(folder) in done.stdout and "VPNeXtForSemanticSegmentation" in done.stdout
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file.txt").touch()
    with pytest.raises(ValueError, match="holds no Space"):
        write_space(tmp_path / "other", [str(zoo / "vpnext")])


def test_pickles_and_checkpoints_stay_at_home(zoo, tmp_path):
    model = Path(shutil.copytree(model_folder("vpnext", zoo), tmp_path / "model"))
    kept = {path.name for path in model.iterdir()}
    for name in ("optimizer.bin", "state.pt", "checkpoint-5/weights.txt", "checkpoints/step_1/rng.pt", "logs/old.bin"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(b"anything")
    folder = write_space(tmp_path / "space", [str(model)])
    copied = {str(path.relative_to(folder / "models/model")) for path in (folder / "models/model").rglob("*.*")}
    assert copied == kept - {"modeling_hfseg.py"} and not [
        path for path in folder.rglob("*") if path.suffix in (".pt", ".bin")
    ]
