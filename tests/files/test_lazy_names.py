# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Names that are imported when they are first used."""

import subprocess
import sys

import pytest

import hfseg.data
import hfseg.metrics


def test_a_name_loads_its_module_when_it_is_used():
    code = (
        "import sys, hfseg.metrics\n"
        "assert 'hfseg.metrics.froc' not in sys.modules and 'FROC' in dir(hfseg.metrics)\n"
        "made = hfseg.metrics.FROC\n"
        "assert 'hfseg.metrics.froc' in sys.modules and vars(hfseg.metrics)['FROC'] is made"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [hfseg.data, hfseg.metrics])
def test_every_name_resolves_and_others_are_refused(package):
    assert all(getattr(package, name) is not None and name in dir(package) for name in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
