# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg demo`: command lines that are wrong."""

import pytest

from hfseg.commands.main import main

gradio = pytest.importorskip("gradio", reason="extra `demo`")


def test_wrong_command_lines(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path / "none"), "--space", str(tmp_path / "space")]) == 2
    assert "no model folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["me", "me:", ":word", ""])
def test_wrong_passwords_options(text):
    from hfseg.commands.demo import read_auth

    with pytest.raises(ValueError, match="USER:PASSWORD"):
        read_auth(text)
