# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes share the images of `hfseg.evaluate` and `hfseg predict`, and leave what one leaves."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from hfseg.data.synthetic.shapes import render_scene

SCRIPT = Path(__file__).with_name("run_doors.py")


def contents(folder: Path) -> dict[str, object]:
    """Files by name; the `info` of JSON, with time and command, is left out."""
    found: dict[str, object] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".json":
            found[name] = {k: v for k, v in json.loads(file.read_text()).items() if k != "info"}
        else:
            found[name] = file.read_bytes()
    return found


def test_two_processes_leave_what_one_leaves(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        Image.fromarray(render_scene(number, image_size=(64, 64), split="test").image).save(images / f"{number}.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, str(SCRIPT), str(images), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    for task in ("semantic", "universal"):
        one, two = (json.loads((tmp_path / name / task / "metrics.json").read_text()) for name in ("one", "two"))
        assert (one["processes"], two["processes"]) == (1, 2)
        assert one["number_of_images"] == two["number_of_images"] == 5
        assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-9, nan_ok=True)
        names = [sorted(path.name for path in (tmp_path / name / task).rglob("*")) for name in ("one", "two")]
        assert names[0] == names[1]
    one, two = (contents(tmp_path / name / "predict") for name in ("one", "two"))
    assert len(one) == 15 and one == two
