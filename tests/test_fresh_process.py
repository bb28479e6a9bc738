# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A forked process is what a started one is: code, status, streams, folder, environment and path."""

import json
import subprocess
import sys

import pytest

from fresh_process import run_python

SEEN = """
import json, os, sys
print(json.dumps([sys.argv, sys.path, os.getcwd(), os.environ.get("GIVEN"), __name__, sys.stdin.read()]))
print("said", file=sys.stderr)
raise SystemExit(3)
"""


@pytest.mark.parametrize("kind", ["code", "file"])
def test_as_a_started_process(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    monkeypatch.setenv("GIVEN", "yes")
    (tmp_path / "seen.py").write_text(SEEN)
    words = [*(["-c", SEEN] if kind == "code" else [str(tmp_path / "seen.py")]), "one", "two"]
    forked = run_python(words, cwd=tmp_path)
    started = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert json.loads(forked.stdout) == json.loads(started.stdout)
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (3, "said\n")


def test_errors_and_late_processes():
    failed = run_python(["-c", "1 / 0"])
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
    with pytest.raises(subprocess.CalledProcessError):
        run_python(["-c", "raise SystemExit(2)"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        run_python(["-c", "import time; time.sleep(60)"], timeout=0.5)
