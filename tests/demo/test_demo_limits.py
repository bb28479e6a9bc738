# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The demo's limits by request and by file: what is refused before it is read, and what is left behind."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.demo.guard import LARGEST_REQUEST
from hfseg.files.images import load_image
from tiny_zoo import image, model_folder

gradio = pytest.importorskip("gradio", reason="extra `demo`")
gradio_client = pytest.importorskip("gradio_client", reason="extra `demo`")

SERVE = """
import sys
from hfseg.commands.main import main
sys.exit(main(["demo", "--model", sys.argv[1], "--port", sys.argv[2], "--auth", sys.argv[3]]))
"""


def serve(root: Path, auth: str) -> tuple[subprocess.Popen, int]:
    """Starts the command in a process of its own, temporary files below `root / "tmp"`, and waits until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "TMPDIR": str(root / "tmp"), "HF_HUB_OFFLINE": "1"}
    with open(root / "log.txt", "w") as log:
        command = [sys.executable, "-c", SERVE, str(model_folder("vpnext", root)), str(port), auth]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    for _ in range(600):
        assert process.poll() is None, (root / "log.txt").read_text()[-3000:]
        try:
            if ask(port, "GET", "/")[0]:
                break
        except OSError:
            time.sleep(0.3)
    return process, port


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The command, with a file of users."""
    root = tmp_path_factory.mktemp("served")
    (root / "tmp").mkdir()
    (root / "auth.txt").write_text("# who\nme:secret:word\nyou:other\n")
    process, port = serve(root, str(root / "auth.txt"))
    yield port, root, process
    if process.poll() is None:
        process.kill()


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def sign_in(port: int, user: str, password: str) -> int:
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    form = part.format("username", user) + part.format("password", password) + "--x--\r\n"
    return ask(port, "POST", "/login", form.encode(), Content_Type="multipart/form-data; boundary=x")[0]


ADDRESS = json.dumps(
    {"data": [{"path": "http://169.254.169.254/a.png", "meta": {"_type": "gradio.FileData"}}]}
).encode()


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/JSON", "Application/Json; charset=utf-8", "text/plain", "APPLICATION/vnd.x+JSON",
     "application/octet-stream", " application/json", None],
)  # fmt: skip
def test_requests_by_any_name_are_guarded(server, kind):
    headers = {} if kind is None else {"Content_Type": kind}
    for path in ("/gradio_api/call/segments", "/gradio_api/queue/join", "/gradio_api/run/segments"):
        status, answer = ask(server[0], "POST", path, ADDRESS, **headers)
        assert status == 400 and b"not the address" in answer, (status, answer[:300])
    assert ask(server[0], "POST", "/gradio_api/queue/join", b" " * (LARGEST_REQUEST + 1), **headers)[0] == 413


def test_without_a_password_nothing_is_served(server):
    port = server[0]
    body = json.dumps({"data": []}).encode()
    assert ask(port, "POST", "/gradio_api/call/segments", body, Content_Type="application/json")[0] == 401
    for password, expected in (("wrong", 400), ("secret:word", 200)):
        assert sign_in(port, "me", password) == expected


def test_a_stopped_server_leaves_nothing(server):
    """Last of the tests that use it."""
    _, root, process = server
    assert list((root / "tmp").glob("hfseg-demo-*"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) is not None
    assert not list((root / "tmp").glob("hfseg-demo-*")), (root / "log.txt").read_text()[-2000:]


# ---------------------------------------------------------------------------------------------------------------- files


def test_a_user_of_the_command_line_is_let_in_and_others_are_not(tmp_path):
    """`--auth USER:PASSWORD`, the form without a file; a password may hold colons."""
    (tmp_path / "tmp").mkdir()
    process, port = serve(tmp_path, "me:secret:word")
    try:
        for user, password, status in (("me", "secret:word", 200), ("me", "secret", 400), ("you", "secret:word", 400)):
            assert sign_in(port, user, password) == status
        form = "application/x-www-form-urlencoded"  # as Python's client sends it
        assert ask(port, "POST", "/login", b"username=me&password=secret%3Aword", Content_Type=form)[0] == 200
        assert ask(port, "POST", "/login", b"username=" + b"m" * LARGEST_REQUEST, Content_Type=form)[0] == 413
        assert ask(port, "POST", "/gradio_api/run/segments", b"username=me", Content_Type=form)[0] == 400
        assert ask(port, "GET", "/config")[0] == 401
        address = f"http://127.0.0.1:{port}"
        assert gradio_client.Client(address, auth=("me", "secret:word"), verbose=False).endpoints
        with pytest.raises(ValueError, match="login"):
            gradio_client.Client(address, auth=("me", "secret"), verbose=False)
    finally:
        process.kill()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.eps", "a.tif"])
def test_other_programs_are_never_started(tmp_path, name, monkeypatch):
    """EPS under any name would reach Ghostscript."""
    image().save(tmp_path / "real.eps", format="EPS")
    (tmp_path / name).write_bytes((tmp_path / "real.eps").read_bytes())
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    with pytest.raises(ValueError, match="not an image in a format that is read"):
        load_image(tmp_path / name)


def test_only_the_first_page_is_read(tmp_path):
    pages = [image(seed=seed) for seed in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (4000, 4000)), *pages[1:]])
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    for name in ("a.tif", "a.gif"):
        assert load_image(tmp_path / name, 60 * 90).size == (90, 60)


def test_frames_that_grow(tmp_path):
    av = pytest.importorskip("av")
    from hfseg.inference.video import VideoReader

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reader = VideoReader(tmp_path / "a.mp4", 64 * 48)
    assert len(list(reader)) == 3
    reader.max_pixels = 64 * 48 - 1  # as if the stream had grown after its header was read
    with pytest.raises(ValueError, match=r"Frame 0 of .* 64 x 48"):
        list(reader)
