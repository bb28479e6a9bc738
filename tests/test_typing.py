# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Public names have types: editors and checkers see the classes, and refuse names that are not there."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

import hfseg
import hfseg.data
import hfseg.metrics
from hfseg import auto
from slow_tests import slow

ROOT = Path(hfseg.__file__).parents[2]
NAMES = ("ProScaleConfig", "ProScaleForUniversalSegmentation", "FolderDataset", "MeanIoU")
# These may only shrink. Most of pyright's are of torch's and transformers' own declarations.
PYRIGHT_ERRORS, TYPE_IGNORES = 410, 20
# Parts of libraries in whose types ours have no share.
UNREAD = (
    "onnx", "onnxscript", "kornia", "sympy", "torch._inductor", "torch._dynamo", "torch._functorch", "torch.ao",
    "diffusers.pipelines", "diffusers.modular_pipelines",
)  # fmt: skip
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
# In the same file: a checker spends a minute on torch and transformers, each time.
BAD = """
from hfseg import DoesNotExist
from hfseg.data import NorDoesThis
from hfseg.metrics import OrThat
"""
MISSING = ("DoesNotExist", "NorDoesThis", "OrThat")


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


def check(command: list[str], folder: Path) -> str:
    """Runs a checker on a file with good and bad lines and returns what it says."""
    file = folder / "snippet.py"
    file.write_text(GOOD + BAD, encoding="utf-8")
    source = {"MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **source})
    return run.stdout


def unread_modules() -> list[str]:
    """Names what mypy need not read, two thirds of all: `mypy` alone (CONTRIBUTING.md) reads everything."""
    words = set(re.findall(r"\w+", "".join(f.read_text(encoding="utf-8") for f in (ROOT / "src").rglob("*.py"))))
    unread = [*UNREAD]
    for folder in (Path(transformers.__file__).parent / "models").iterdir():
        files = folder.glob("*.py") if folder.name != "auto" else ()
        classes = {
            name for file in files for name in re.findall(r"^class (\w+)", file.read_text("utf-8"), re.MULTILINE)
        }
        if classes and folder.name not in words and not classes & words:
            unread.append(f"transformers.models.{folder.name}")
    return unread


@slow  # the lint job runs it, as it runs mypy over everything
def test_mypy_sees_the_classes_and_finds_nothing_in_the_package(tmp_path):
    """One run over the package and a file with errors: those of the file are all there are."""
    pytest.importorskip("mypy")
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.mypy]")[2].partition("[tool.")[0]
    skipped = (f'[[tool.mypy.overrides]]\nmodule = "{name}.*"\nfollow_imports = "skip"\n' for name in unread_modules())
    (tmp_path / "mypy.toml").write_text("\n".join([f"[tool.mypy]{settings}", *skipped]), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.toml"), "--cache-dir", os.devnull]
    text = check([*command, "src/hfseg"], tmp_path)
    assert all(f"type[{name}]" in text for name in NAMES), text
    errors = [line for line in text.splitlines() if ": error: " in line]
    assert all(line.startswith(str(tmp_path)) or "snippet.py" in line for line in errors), text
    assert all(f'has no attribute "{name}"' in text for name in MISSING), text


@pytest.fixture
def pyright() -> list[str]:
    """Its command, with the packages of this Python."""
    found = shutil.which("pyright")
    if found is None or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip('pyright is not installed, or cannot fetch itself: pip install "pyright[nodejs]"')
    return [found, "--pythonpath", sys.executable]


def errors_of_pyright(text: str) -> int:
    found = re.findall(r"^(\d+) errors?", text, re.MULTILINE)
    return int(found[-1]) - GOOD.count("int =") - len(MISSING)


def test_pyright_sees_the_classes(pyright, tmp_path):
    text = check(pyright, tmp_path)
    assert all(f"type[{name}]" in text for name in NAMES), text
    assert all(f'"{name}" is unknown import symbol' in text for name in MISSING), text
    assert errors_of_pyright(text) == 0, text


@slow
def test_pyright_finds_no_more_in_the_package(pyright, tmp_path):
    text = check([*pyright, "src/hfseg"], tmp_path)
    assert errors_of_pyright(text) <= PYRIGHT_ERRORS, text


def test_errors_are_not_silenced_by_the_file_or_the_folder():
    """`type: ignore` names its code (see the house tests), is rare, and nothing silences more than one line."""
    texts = {file: file.read_text(encoding="utf-8") for file in (ROOT / "src" / "hfseg").rglob("*.py")}
    assert sum(text.count("# type: ignore") for text in texts.values()) <= TYPE_IGNORES
    for file, text in texts.items():
        assert not re.search(r"^# (mypy|pyright): ", text, re.MULTILINE), f"{file} silences a whole file"
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.mypy]")[2]
    assert "check_untyped_defs = true" in settings and "[[tool.mypy.overrides]]" not in settings
    # Both are about classes of transformers and diffusers: signatures of theirs that ours replace, untyped bases.
    assert re.findall(r"^disable_error_code = (.*)$", settings, re.MULTILINE) == ['["override", "misc"]']
