# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The demo without a browser: what its tabs answer, what its server refuses, and the Space made of it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hfseg.commands.main import main
from hfseg.demo.guard import LARGEST_REQUEST, RequestGuard, find_address
from hfseg.demo.space import write_space
from tiny_zoo import model_folder

gradio = pytest.importorskip("gradio", reason="extra `demo`")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


# The guard.


def request(body, host="127.0.0.1:7860", parts=1):
    """Sends a json body through the guard; returns status, answer and what the app behind it got."""
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    step = -(-len(body) // parts) or 1
    chunks = [body[start : start + step] for start in range(0, len(body), step)] or [b""]

    async def receive():
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", host.encode())]
    asyncio.run(RequestGuard(app)({"type": "http", "method": "POST", "headers": headers}, receive, send))
    return sent[0]["status"], sent[1]["body"].decode(), seen


def test_guard_lets_uploads_pass_unchanged():
    body = json.dumps({"data": [{"path": "/tmp/gradio/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=/a"}, "x"]})
    for parts in (1, 3):
        status, _, seen = request(body.encode(), parts=parts)
        assert status == 200 and seen == [body.encode()]


@pytest.mark.parametrize("key", ["path", "url"])
@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png",
        "HTTPS://example.org/a",
        " ftp://x/y",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
    ],
)
def test_guard_refuses_addresses(key, address):
    status, answer, seen = request(json.dumps({"data": [{"nested": [{key: address}]}]}).encode())
    assert status == 400 and "not the address" in answer and not seen


def test_guard_refuses_own_host_as_path_and_large_bodies():
    # The server would fetch it from itself.
    assert find_address({"path": "http://127.0.0.1:7860/x"}, "127.0.0.1:7860")
    assert find_address({"url": "http://127.0.0.1:7860.evil.org/x"}, "127.0.0.1:7860")
    assert request(b"[" + b"1," * LARGEST_REQUEST + b"1]")[0] == 413
    assert request(b"{broken")[0] == 400
    assert request(b"[" * 100_000)[0] == 400


# The Space.


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
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
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


def test_wrong_command_lines(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path / "none"), "--space", str(tmp_path / "space")]) == 2
    assert "no model folder" in capsys.readouterr().err
