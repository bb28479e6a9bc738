# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion by architecture: what is asked wrongly is named; the authors' settings are an object."""

import pytest

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
