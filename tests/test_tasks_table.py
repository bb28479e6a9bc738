# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The table of tasks: everything it names exists, and what other files repeat agrees with it."""

import json

import pytest

import hfseg
from hfseg import auto, tasks
from hfseg.results.visual_formats import FORMATS
from hfseg.volumes import MODALITIES


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_row_names_what_there_is(name):
    row = tasks.find(name)
    if row.auto_class is not None:
        assert auto.find_auto_class(row.auto_class)
    for place in filter(None, (row.training, row.evaluator, row.export, row.collator)):
        assert callable(tasks.load(place)), place
    if row.evaluator:
        assert tasks.load(row.evaluator).kind == row.reader
    if row.needs:
        assert row.needs in row.takes


def test_architectures_name_tasks():
    for row in auto.ARCHITECTURES:
        assert row.tasks, row.model_type
        for name in row.tasks:
            auto_class = tasks.find(name).auto_class
            assert auto_class in row.models or (auto_class is None and row.components), (row.model_type, name)


def test_what_is_repeated_for_quick_help_agrees():
    assert tasks.FORMATS == tuple(sorted(FORMATS)) and tasks.MODALITIES == MODALITIES


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of universal, semantic.*got 'panoptik'"):
        tasks.find("panoptik")


def test_training_places_put_the_architectures_own_first():
    general, own = tasks.training_places(None), tasks.training_places("meddensevit")
    assert general["semantic"] != own["semantic"] and own["universal"] == general["universal"]


def test_a_shipped_checkpoint_is_a_model_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "CHECKPOINTS", tmp_path)
    assert tasks.shipped_checkpoints() == []
    (tmp_path / "tiny").mkdir()
    (tmp_path / "notes").mkdir()  # no configuration: no model
    (tmp_path / "tiny/config.json").write_text(json.dumps({"model_type": "vpnext"}))
    assert hfseg.checkpoint("tiny") == tasks.model_folder("tiny") == tmp_path / "tiny"
    assert tasks.model_folder(tmp_path / "tiny") == tmp_path / "tiny"
    with pytest.raises(ValueError, match="must be one of tiny; got 'notes'"):
        hfseg.checkpoint("notes")
    with pytest.raises(FileNotFoundError, match=r"no model folder 'nowhere'.*shipped model \(tiny\)"):
        tasks.model_folder("nowhere")


def test_paths_without_a_folder_are_no_hub_ids():
    """The Hub's client would complain about the letters of the name."""
    for name in ("/nowhere/model", "./model", "~/model", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="no model folder"):
            tasks.pretrained_source(name)
    assert tasks.pretrained_source("owner/name") == "owner/name"
