# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg benchmark`."""

import json

from hfseg import ProScaleForUniversalSegmentation
from hfseg.commands import benchmark
from proscale_models import tiny_config as proscale_config

QUICK = ["--size", "64", "64", "--batch", "1", "--rounds", "1", "--warmup", "0"]


def test_the_command(tmp_path, capsys):
    ProScaleForUniversalSegmentation(proscale_config()).save_pretrained(tmp_path / "model")
    file = tmp_path / "result.json"
    assert benchmark.main([str(tmp_path / "model"), *QUICK, "--output", str(file)]) == 0
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["command"].startswith("hfseg benchmark") and set(result["tables"]) == {"Size", "Speed"}
    capsys.readouterr()
    for wrong, message in (
        (["params", "--table", "proscale"], "scripts/benchmark.py params"),
        ([str(tmp_path / "nothing")], "nothing"),
        ([str(tmp_path / "model"), "--rounds", "0"], "--rounds 0"),
    ):
        assert benchmark.main(wrong) == 2
        assert message in capsys.readouterr().err
