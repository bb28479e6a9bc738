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
    assert main(["list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    recipes = {row["architecture"]: row["recipes"] for row in content["architectures"]}
    # Every recipe is of one architecture: that of its models, whatever its name begins with.
    assert sorted(name for names in recipes.values() for name in names) == content["recipes"]
    assert "proscale-tiny-shapes-open-vocabulary" in recipes["proscale_open_vocabulary"]
    assert "vpnext-eva02-l-pascal-context-mask2former" in recipes["proscale"]
    assert main(["list", "nothing-like-this"]) == 1
