# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A new Python process, forked from one that has imported torch, torchvision and SciPy: most of what a start takes.

Environment, folder, path, arguments and standard streams are those of a process that was started. Not for tests of what
an import costs, of hash seeds, or of processes that start further ones by spawning.
"""

import atexit
import functools
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = ["torch", "torch._dynamo", "torchvision", "scipy.optimize"]


@functools.cache
def python_path() -> list[str]:
    """The path of a Python process that has no script: without what pytest added."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True))


def _main(arguments: Sequence[str], path: list[str], environment: dict[str, str], folder: str, streams: Sequence[str]):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(streams):
        os.dup2(os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r", closefd=False) for n in range(3))
    added = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    kind, rest = arguments[0], list(arguments[1:])
    first = "" if kind == "-c" else folder if kind == "-m" else str(Path(kind).resolve().parent)
    sys.path[:] = [first, *added, *path]
    sys.modules.pop("__mp_main__", None)
    try:
        if kind == "-c":
            module = sys.modules["__main__"] = types.ModuleType("__main__")
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), module.__dict__)
        elif kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [kind, *rest]
            runpy.run_path(kind, run_name="__main__")
    finally:  # multiprocessing ends processes without these
        atexit._run_exitfuncs()


def run_python(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 300,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Does what `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)` does, sooner.

    Args:
        arguments: `-c CODE`, `-m MODULE` or a file, and what follows.
        env: Its whole environment, this process's by default.
        cwd: Its folder.
        timeout: Seconds after which it is killed.
        check: Raises `subprocess.CalledProcessError` unless it returns 0.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    words = [str(word) for word in arguments]
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place) / "out", Path(place) / "err"]
        for file in outputs:
            file.touch()
        streams = [os.devnull, *map(str, outputs)]
        environment = dict(os.environ if env is None else env)
        folder = str(Path(cwd or os.curdir).resolve())
        child = context.Process(target=_main, args=(words, python_path(), environment, folder, streams))
        child.start()
        child.join(timeout)
        late = child.exitcode is None
        if late:
            child.kill()
            child.join()
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in outputs)
    if late:
        raise subprocess.TimeoutExpired([sys.executable, *words], timeout, out, err)
    done = subprocess.CompletedProcess([sys.executable, *words], child.exitcode, out, err)
    if check:
        done.check_returncode()
    return done
