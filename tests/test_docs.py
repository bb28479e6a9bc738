# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The documentation: the site builds without a warning and has every public name; figures are what the script draws."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hfseg

ROOT = Path(__file__).parents[1]


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="extra `docs`")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site/api/index.html").read_text(encoding="utf-8")
    missing = [name for name in hfseg.__all__ if not name.startswith("_") and f">{name}<" not in page]
    assert not missing, f"docs/api.md lacks {missing}"


def test_figures_are_those_of_the_script():
    spec = importlib.util.spec_from_file_location("draw_figures", ROOT / "scripts/draw_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.FIGURES:
        assert (ROOT / "docs/figures" / f"{name}.svg").read_text(encoding="utf-8") == module.draw(name)


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
