# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files of predictions: names of results."""

import pytest

from hfseg.inference.files import find_sources, refuse_results_among_inputs
from tiny_zoo import image


def test_names_of_results_do_not_collide(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        image(8, 8).save(tmp_path / name)
    assert [source.stem for source in find_sources([str(tmp_path)])] == ["a.jpg", "a.png", "b"]
    twice = find_sources([str(tmp_path / "b.png"), str(tmp_path / "b.png")])
    assert len({source.stem for source in twice}) == 2


def test_links_to_nothing_fail_by_name_and_the_others_go_on(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    assert [source.path.name for source in find_sources([str(tmp_path)])] == ["a.png", "b.png"]


def test_results_in_the_folder_of_the_inputs_are_refused(tmp_path):
    """They would be inputs of the next run; a folder below is not listed."""
    refuse_results_among_inputs([str(tmp_path)], tmp_path / "out")
    refuse_results_among_inputs([str(tmp_path / "a.png")], tmp_path)
    for same in (tmp_path, tmp_path / "." / "x" / ".."):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="would be segmented the next time"):
            refuse_results_among_inputs(["b", str(tmp_path)], same)
