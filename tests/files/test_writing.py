# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A file is the old one or the new one at every moment, and nothing is left beside it."""

import pytest

from hfseg.files.writing import replacing, write_json, write_text


def test_failure_keeps_the_old_file(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old" and temporary.suffix == path.suffix
        raise OSError("disk full")
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_reader_keeps_the_file_it_has_opened(tmp_path):
    """The new file takes the place in one step, instead of being written over the old one."""
    path = write_text(tmp_path / "a.txt", "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old" and path.read_text() == "new"


def test_nothing_is_written_of_what_json_cannot_say(tmp_path):
    path = write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert path.read_text() == '{\n  "old": 1\n}\n'
    write_json(path, [2], indent=1)
    assert path.read_text() == "[\n 2\n]\n" and len(list(tmp_path.iterdir())) == 1
