# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg list` and `hfseg --version`."""

import json

import hfseg
from hfseg.commands.main import main


def test_list_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hfseg {hfseg.__version__}\n"
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for word in ("ProScaleForUniversalSegmentation", "referring", "LavinDiTPipeline", "vpnext-tiny-folder"):
        assert word in text
    assert main(["list", "--json", "recipes", "cris"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["architectures"] == [] and all("cris" in name for name in content["recipes"])
    assert content["recipes"]
    assert main(["list", "nothing-like-this"]) == 1
