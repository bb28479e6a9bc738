# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Public names have types: editors and checkers see the classes, and refuse names that are not there."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hfseg
import hfseg.data
import hfseg.metrics
from hfseg import auto

ROOT = Path(hfseg.__file__).parents[2]
NAMES = ("ProScaleConfig", "ProScaleForUniversalSegmentation", "FolderDataset", "MeanIoU")
# Each is an error that names the type; `reveal_type` is silent where a configuration disables "misc".
GOOD = """
import hfseg
from hfseg import ProScaleForUniversalSegmentation
from hfseg.data import FolderDataset
from hfseg.metrics import MeanIoU

first: int = hfseg.ProScaleConfig
second: int = ProScaleForUniversalSegmentation
third: int = FolderDataset
fourth: int = MeanIoU
"""
BAD = """
from hfseg import DoesNotExist
from hfseg.data import NorDoesThis
from hfseg.metrics import OrThat
"""


def names_for_checkers(module) -> dict[str, str]:
    """Lists what a package imports for type checkers only: name to module."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    names = {}
    for node in (node for block in blocks for node in block.body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"write `{alias.name} as {alias.name}`, or it is not exported"
                names[alias.name] = node.module
    return names


def test_names_for_checkers_are_those_of_the_tables():
    table = {name: place.partition(":")[0] for name, place in auto.public_names().items()}
    seen = names_for_checkers(hfseg)
    assert {name: seen.get(name) for name in table} == table
    for module in (hfseg.data, hfseg.metrics):
        assert names_for_checkers(module) == module._EXPORTS


def check(command: list[str], folder: Path, code: str) -> str:
    """Runs a checker on a file and returns what it says."""
    file = folder / "snippet.py"
    file.write_text(code, encoding="utf-8")
    source = {"MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **source})
    return run.stdout


def test_mypy_sees_the_classes(tmp_path):
    pytest.importorskip("mypy")
    text = check([sys.executable, "-m", "mypy", "--follow-imports=silent"], tmp_path, GOOD)
    assert all(f"type[{name}]" in text for name in NAMES), text
    text = check([sys.executable, "-m", "mypy", "--follow-imports=silent"], tmp_path, BAD)
    assert all(f'has no attribute "{name}"' in text for name in ("DoesNotExist", "NorDoesThis", "OrThat")), text


def test_pyright_sees_the_classes(tmp_path):
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip('pyright is not installed: pip install "pyright[nodejs]"')
    text = check([pyright, "--pythonpath", sys.executable], tmp_path, GOOD)
    assert all(f"type[{name}]" in text for name in NAMES), text
    text = check([pyright, "--pythonpath", sys.executable], tmp_path, BAD)
    assert all(f'"{name}" is unknown import symbol' in text for name in ("DoesNotExist", "NorDoesThis", "OrThat")), text
