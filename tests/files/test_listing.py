# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files below a folder: links are followed, loops stop, pipes are refused at once."""

import os

import pytest

from hfseg.files.listing import list_files, list_folders


@pytest.fixture
def tree(tmp_path):
    for name in ("data/a/1.png", "elsewhere/2.png", "elsewhere/deep/3.PNG", "data/.hidden/4.png", "data/a/5.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "data")  # data -> elsewhere -> data -> ...
    (tmp_path / "data/broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "data/itself").symlink_to(tmp_path / "data/itself")
    return tmp_path / "data"


def test_a11_linked_folders_are_followed_and_loops_stop(tree):
    found = [path.relative_to(tree).as_posix() for path in list_files(tree, (".png",))]
    assert found == ["a/1.png", "b/2.png", "b/deep/3.PNG"]
    assert [path.name for path in list_folders(tree)] == ["a", "b"]
    assert len(list_files(tree)) == 4 and len(list_files(tree, hidden=True)) == 5
    assert list_files(tree / "nothing") == []


def test_a11_a_pipe_is_refused_at_once(tree):
    os.mkfifo(tree / "a/pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png is no regular file"):
        list_files(tree, (".png",))
    assert len(list_files(tree, (".txt",))) == 1


def test_links_to_nothing_are_said(tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nowhere.txt")
    assert list_files(tmp_path, (".png",)) == [tmp_path / "a.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'b.png'} is a link to nothing, and is left out."
    ]
