# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The demo without a browser: what its tabs answer, what its server refuses, and the Space made of it."""

import pytest

from hfseg.commands.main import main

gradio = pytest.importorskip("gradio", reason="extra `demo`")


# The guard.


# The Space.


def test_wrong_command_lines(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path / "none"), "--space", str(tmp_path / "space")]) == 2
    assert "no model folder" in capsys.readouterr().err
