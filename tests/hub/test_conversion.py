# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion by architecture: what is asked wrongly is named; the authors' settings are an object."""

import json
from types import SimpleNamespace

import pytest

from hfseg import ProScaleImageProcessor
from hfseg.hub import conversion
from hfseg.hub.conversion import convert_checkpoint, read_original_config


def test_settings_of_the_authors(tmp_path):
    assert read_original_config(None) is None
    file = tmp_path / "config.json"
    file.write_text('{"MODEL": {"HIDDEN": 8}}')
    assert read_original_config(str(file)) == {"MODEL": {"HIDDEN": 8}}
    for content, message in (("{broken", "not valid JSON"), ("[1]", "holds a list: expected a JSON object")):
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_original_config(str(file))


@pytest.mark.parametrize(
    "architecture, message", [("bert", "Unknown architecture 'bert'"), ("vpnext", "no public checkpoint of 'vpnext'")]
)
def test_architectures_that_have_nothing_to_convert(tmp_path, architecture, message):
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(architecture, str(tmp_path / "a.pth"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_processor_fuses_the_stuff_classes_of_the_model(tmp_path, monkeypatch):
    """And not those of its published default."""
    config = SimpleNamespace(stuff_class_ids=(2, 5))
    model = SimpleNamespace(config=config, save_pretrained=lambda folder: folder.mkdir(parents=True))
    parts = {"converter": lambda tensors, original: model, "processor": ProScaleImageProcessor}
    row = SimpleNamespace(
        folder_converter=None, converter="converter", image_processors={"torchvision": "processor"},
        tokenizer_builder=None, processor=None,
    )  # fmt: skip
    monkeypatch.setattr(conversion.auto, "ARCHITECTURES", [])
    monkeypatch.setattr(conversion.auto, "find", lambda name: row)
    monkeypatch.setattr(conversion.auto, "load", parts.__getitem__)
    monkeypatch.setattr(conversion, "read_state_dict", lambda file: {})
    folder = convert_checkpoint("any", "a.pth", str(tmp_path / "out"))
    assert json.loads((folder / "preprocessor_config.json").read_text())["label_ids_to_fuse"] == [2, 5]
