# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The file that lets a folder load without `hfseg` imported: which classes it names, and what it leaves alone."""

import json

import pytest

import hfseg
from hfseg import auto
from hfseg.files.remote_code import auto_classes, write_shim


@pytest.mark.parametrize("row", [row for row in auto.ARCHITECTURES if row.config], ids=lambda row: row.model_type)
def test_auto_classes_are_public_classes(row):
    found = auto_classes(row.model_type, "")
    assert set(found) == {"AutoConfig", *row.models}
    for place in found.values():
        module, _, name = place.partition(".")
        assert module == "modeling_hfseg" and name in hfseg.__all__
    config_class = getattr(hfseg, found["AutoConfig"].partition(".")[2])
    assert config_class.model_type == row.model_type


def test_the_file_is_written_anew_and_names_what_all_settings_need(tmp_path):
    (tmp_path / "modeling_hfseg.py").write_text("import os; os.remove('x')")
    (tmp_path / "config.json").write_text('{"model_type": "proscale", "auto_map": {"AutoConfig": "elsewhere.Other"}}')
    processors = {"AutoImageProcessor": "modeling_hfseg.ProScaleImageProcessor", "AutoX": "modeling_hfseg.os"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"auto_map": processors}))
    (tmp_path / "processor_config.json").write_text("[1]")
    classes = {"AutoConfig": "modeling_hfseg.ProScaleConfig"}
    write_shim(tmp_path, "config.json", classes)
    assert json.loads((tmp_path / "config.json").read_text()) == {"model_type": "proscale", "auto_map": classes}
    code = (tmp_path / "modeling_hfseg.py").read_text()
    assert code.splitlines()[-1] == "from hfseg import ProScaleConfig, ProScaleImageProcessor" and "os" not in code


@pytest.mark.parametrize("kind", ["Universal", "Semantic"])
def test_an_auto_class_of_two_finds_the_one_that_was_saved(kind):
    """Else the pipeline would build the other class around the weights, with parts that nobody trained."""
    found = auto_classes("unisegformer", f"UniSegFormerFor{kind}Segmentation")
    assert found["AutoModelForImageSegmentation"] == f"modeling_hfseg.UniSegFormerFor{kind}Segmentation"
