# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Addresses as inputs, only where asked for and of public hosts only; commands without a network end soon."""

import json
import os
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import hfseg
import hfseg.commands.predict as predict_command
from fresh_process import run_python
from hfseg.commands.main import main as command
from hfseg.files import downloads
from hfseg.files.downloads import DownloadError, download
from hfseg.files.hub_access import CONNECT_SECONDS, READ_SECONDS
from tiny_zoo import image, model_folder


@pytest.fixture
def server():
    """A server of this machine, which is no public host."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            asked.append(self.path)
            if self.path.startswith("/to="):
                self.send_response(302)
                self.send_header("Location", self.path[4:])
                self.end_headers()
                return
            if self.path == "/none":
                self.send_response(404)
                self.end_headers()
                return
            body = b"x" * 5000
            self.send_response(200)
            if self.path != "/endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.url = asked, f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def public(monkeypatch):
    """Counts this machine as a public host."""
    real = downloads.ipaddress.ip_address

    class Public:
        ipv4_mapped, is_global, is_multicast = None, True, False

    monkeypatch.setattr(downloads.ipaddress, "ip_address", lambda text: Public() if text == "127.0.0.1" else real(text))


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/a.png", "http://localhost:1/a", "http://[::1]/a", "http://169.254.169.254/latest/meta-data",
     "http://10.0.0.1/a", "http://192.168.1.1/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://2130706433/",
     "ftp://example.org/a", "file:///etc/passwd", "gopher://x/", "http:///a", "https://user:word@example.org/a",
     "http://[fe80::1]/", "http://x:99999/", "data:image/png;base64,AA"],
)  # fmt: skip
def test_addresses_that_are_not_opened(address, tmp_path):
    numeric = re.match(r"https?://(\[|localhost|[\d.]+[:/])", address) is not None
    with pytest.raises(DownloadError, match="no public host" if numeric else ""):
        download(address, tmp_path)
    assert not list(tmp_path.iterdir())


def test_this_machine_is_never_asked(server, tmp_path):
    with pytest.raises(DownloadError, match="no public host"):
        download(server.url + "/a.png", tmp_path)
    assert not server.asked


def test_redirections_are_checked_too(server, public, tmp_path):
    assert download(f"{server.url}/to={server.url}/b.png", tmp_path).read_bytes() == b"x" * 5000
    for target, message in (
        ("http://169.254.169.254/", "no public host"),
        ("file:///etc/passwd", "only http"),
        (f"{server.url}/none", "404"),
    ):
        with pytest.raises(DownloadError, match=message):
            download(f"{server.url}/to={target}", tmp_path / "other")
    loop = f"{server.url}/to=" + "/to=" * 8 + "/a"
    with pytest.raises(DownloadError, match="redirects more"):
        download(loop, tmp_path / "other")


@pytest.mark.parametrize("path", ["a.png", "endless"])
def test_size_is_limited(server, public, tmp_path, path):
    with pytest.raises(DownloadError, match="larger than the limit"):
        download(f"{server.url}/{path}", tmp_path, max_bytes=4000)
    assert not list(tmp_path.iterdir())
    assert download(f"{server.url}/../../%2e%2e/a.png", tmp_path).parent == tmp_path


def test_predict_opens_addresses_only_where_asked(tmp_path, capsys, monkeypatch):
    folder = model_folder("proscale", tmp_path)
    words = ["http://example.org/a.png", "--model", str(folder), "-o", str(tmp_path / "out")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("the network was touched"))
    assert predict_command.main(words) == 2
    assert "--allow_urls" in capsys.readouterr().err

    def fetch(address, target, limit):
        target.mkdir(exist_ok=True)
        image().save(target / "a.png")
        return target / "a.png"

    monkeypatch.setattr("hfseg.inference.predict.download", fetch)
    assert predict_command.main([*words, "--allow_urls"]) == 0
    assert (tmp_path / "out" / "a.json").is_file()


@pytest.mark.parametrize("address", ["https://huggingface.co/someone/m", "http://x/someone/m/tree/main", "s3://bucket"])
def test_addresses_are_no_models(tmp_path, capsys, monkeypatch, address):
    """All commands say so, and name the Hub id; nothing is asked."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("the network was touched"))
    image().save(tmp_path / "a.png")
    for words in (
        ["predict", str(tmp_path / "a.png"), "--model", address, "-o", str(tmp_path / "p"), "--allow_urls"],
        ["evaluate", "--model", address, "--dataset", "shapes", "--output_dir", str(tmp_path / "e")],
        ["export", "--model", address, "--format", "onnx", "-o", str(tmp_path / "m.onnx")],
        ["train", "--recipe", "vpnext-tiny-shapes", f"model.pretrained={address}", "--output_dir", str(tmp_path / "t")],
    ):
        assert command(words) == 2
        said = capsys.readouterr().err
        assert address in said and "is an address" in said and "Traceback" not in said, (words, said)
        assert ("'someone/m'" in said) == ("someone" in address)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes_that_are_none(capsys, minutes):
    assert command(["quickstart", "--train", "--minutes", minutes]) == 2
    assert "is not a training time" in capsys.readouterr().err


def test_minutes_shorten_the_warm_up():
    from hfseg.training import TrainingArguments
    from hfseg.training.quickstart import shorten

    recipe = {"schedule": {"warmup_steps": 100, "milestones": [600, 0.9]}, "run": {"max_steps": 1000}}
    for steps, expected in ((50, 5), (1000, 100), (5, 0), (2000, 100)):
        arguments = TrainingArguments.from_dict(recipe)
        shorten(arguments, steps)
        assert arguments.schedule.warmup_steps == expected and arguments.run.max_steps == steps
        assert arguments.schedule.milestones == [round(0.6 * steps), 0.9]


SCRIPT = """
import sys, time
from hfseg.commands.main import main
from hfseg.files.hub_access import bound_hub_look_ups
import hfseg.commands.predict
start = time.monotonic()
status = main(["predict", sys.argv[1], "--model", "someone/some-model", "-o", sys.argv[2]])
from transformers import CLIPTokenizer
try:
    CLIPTokenizer.from_pretrained("openai/clip-vit-base-patch32")
except (OSError, ValueError) as error:
    print("second", type(error).__name__)
else:
    print("second", "cached")
print("status", status, "seconds", round(time.monotonic() - start, 1))
"""


@pytest.mark.parametrize("kind", ["silent", "refusing", "nameless"])
def test_commands_without_a_network_end_soon(tmp_path, kind):
    """The Hub is a port that takes connections and says nothing; one that is closed; a name without an address."""
    image().save(tmp_path / "a.png")
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    if kind == "silent":
        silent.listen(16)
    host = "no-such-host.invalid" if kind == "nameless" else "127.0.0.1"
    kept = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment = {**kept, "HF_ENDPOINT": f"http://{host}:{silent.getsockname()[1]}", "HF_HOME": str(tmp_path / "home")}
    started = time.monotonic()
    done = run_python(["-c", SCRIPT, tmp_path / "a.png", tmp_path / "out"], env=environment, timeout=120)
    silent.close()
    words = done.stdout.split()
    assert "second" in words and words[words.index("status") + 1] == "2", done.stderr[-2000:]
    assert float(words[-1]) < 12, (done.stdout, time.monotonic() - started)
    assert "someone/some-model" in done.stderr and "--local-dir" in done.stderr and "Traceback" not in done.stderr


def test_nothing_asks_the_network_while_a_folder_is_used(tmp_path, monkeypatch):
    """Neither prediction nor export of a local folder opens a connection."""
    folder = model_folder("proscale", tmp_path)
    image().save(tmp_path / "a.png")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    real = socket.socket.connect

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            pytest.fail(f"a connection to {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert predict_command.main([str(tmp_path / "a.png"), "--model", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert Path(tmp_path / "out" / "a.json").is_file()


EVERY_COMMAND = """
import json, socket, sys
from pathlib import Path
from huggingface_hub import close_session, constants
from hfseg.commands.main import main
from hfseg.files import hub_access

out, shipped = Path(sys.argv[1]), Path(sys.argv[2])
hub_access.READ_SECONDS = 1.0  # to wait less; the real limits are CONNECT_SECONDS and READ_SECONDS
commands = {
    "evaluate": ["evaluate", "--model", "someone/m", "--dataset", "shapes", "--output_dir", out / "evaluated"],
    "export": ["export", "--model", "someone/m", "--format", "onnx", "-o", out / "m.onnx"],
    "convert": ["convert", "--architecture", "mask2former", "--checkpoint", "someone/m", "--output_dir", out / "m"],
    "demo": ["demo", "--model", "someone/m"],
    "train": ["train", "--recipe", "vpnext-tiny-shapes", "model.pretrained=someone/m", "--output_dir", out / "t"],
    "train, tokenizer": ["train", "--recipe", "cris-tiny-shapes", "model.tokenizer=someone/m",
                         "--output_dir", out / "c"],
    "evaluate, table": ["evaluate", "--model", shipped, "--dataset", "table:someone/table",
                        "--output_dir", out / "d"],
    "push": ["push", shipped, "someone/m"],
}
for name, words in commands.items():
    hub_access._given_up.clear()
    constants.HF_HUB_OFFLINE = False
    close_session()
    print("begins", name, file=sys.stderr, flush=True)
    sys.stdout.flush()
    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = stop.code
    print("status", json.dumps([name, status]), flush=True)
    with socket.create_connection((sys.argv[3], int(sys.argv[4]))) as marker:
        marker.sendall(b"MARK")
"""


def test_every_command_asks_an_unreachable_hub_once(tmp_path):
    """One wait of at most CONNECT_SECONDS + READ_SECONDS for all look-ups of a command, and no second connection."""
    assert CONNECT_SECONDS + READ_SECONDS <= 10
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(64)
    port, asked, kept = silent.getsockname()[1], [0], []

    def accept():
        while True:
            try:
                connection, _ = silent.accept()
            except OSError:
                return
            kept.append(connection)
            if connection.recv(4) == b"MARK":
                asked.append(0)
            else:
                asked[-1] += 1

    threading.Thread(target=accept, daemon=True).start()
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    environment = {key: value for key, value in os.environ.items() if key not in offline}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_none"}
    shipped = Path(hfseg.__file__).parent / "checkpoints" / "vpnext-tiny-shapes"
    words = ["-c", EVERY_COMMAND, tmp_path, shipped, "127.0.0.1", port]
    done = run_python(words, env=environment, timeout=600)
    silent.close()
    statuses = dict(json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("status "))
    assert len(statuses) == 8 and set(statuses.values()) == {2}, (statuses, done.stderr[-2000:])
    assert asked[:-1] == [1] * 8, (asked, done.stderr[-2000:])
    assert "Traceback" not in done.stderr
    for part in re.split(r"begins .*\n", done.stderr)[1:]:
        assert "someone/" in part or "--dry_run DIR" in part, part
        assert re.search("could not be reached|cannot be reached", part), part
