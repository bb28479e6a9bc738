# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Public names of the data and metric rooms; neither loads a model or heavy libraries before it is used."""

import subprocess
import sys

import hfseg.data
import hfseg.metrics


def test_every_public_name_resolves_and_unknown_ones_fail():
    for module in (hfseg.data, hfseg.metrics):
        for name in module.__all__:
            assert getattr(module, name).__name__ == name
        assert not hasattr(module, "no_such_name")


def test_rooms_import_no_model_and_open_lazily():
    code = (
        "import sys, hfseg.data, hfseg.metrics; early = [m for m in ('torchvision', 'datasets', 'evaluate') if m in "
        "sys.modules]; [getattr(m, n) for m in (hfseg.data, hfseg.metrics) for n in m.__all__]; "
        "models = [m for m in sys.modules if m.startswith('hfseg.models.') or m == 'hfseg.auto'];"
        "print(early, models)"
    )
    # hfseg itself registers its models; the two rooms must not need them.
    stub = "import sys, types; p = types.ModuleType('hfseg'); p.__path__ = [{path!r}]; sys.modules['hfseg'] = p; "
    path = hfseg.data.__path__[0].rsplit("data", 1)[0]
    printed = subprocess.run(
        [sys.executable, "-c", stub.format(path=path) + code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[] []"
