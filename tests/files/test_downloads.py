# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Downloads as they are written: names without a way out, and the limit to the byte. Addresses: see `hostile`."""

import io

import pytest

from hfseg.files.downloads import DownloadError, _save


class Answer(io.BytesIO):
    def __init__(self, body, length=None):
        super().__init__(body)
        self.length = length

    def getheader(self, name):
        return self.length


@pytest.mark.parametrize(
    "address, name",
    [
        ("http://x.org/a/photo%20one.png?size=3", "photo_one.png"),
        ("http://x.org/", "download"),
        ("http://x.org/..%2F..%2F.bashrc", "_.._.bashrc"),
        ("http://x.org/.hidden", "hidden"),
        ("http://x.org/" + "n" * 300 + ".png", "n" * 96 + ".png"),
    ],
)
def test_names_are_plain(tmp_path, address, name):
    assert _save(Answer(b"abc"), address, address, tmp_path, 10) == tmp_path / name
    assert _save(Answer(b"def"), address, address, tmp_path, 10) == tmp_path / f"2-{name}"
    assert (tmp_path / name).read_bytes() == b"abc" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("length", [None, "10", "11", "many"])
def test_the_limit_is_a_byte_exact(tmp_path, length):
    """What the header says is only a reason to stop sooner."""
    if length != "11":
        assert _save(Answer(b"x" * 10, length), "http://x.org/a", "http://x.org/a", tmp_path, 10).stat().st_size == 10
    with pytest.raises(DownloadError, match="larger than the limit"):
        _save(Answer(b"x" * 11, length), "http://x.org/b", "http://x.org/b", tmp_path, 10)
    assert not (tmp_path / "b").exists()
