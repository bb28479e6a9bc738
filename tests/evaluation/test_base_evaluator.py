# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What evaluators share: how many samples count, empty data, and what processes gather."""

from types import SimpleNamespace

import pytest

from hfseg.evaluation import base
from hfseg.evaluation.base import TaskEvaluator, gathered
from hfseg.inference import processes


@pytest.mark.parametrize("limit, count", [(None, 5), (3, 3), (5, 5), (9, 5)])
def test_a_limit_is_at_most(limit, count):
    assert TaskEvaluator(None, list(range(5)), SimpleNamespace(limit=limit, split=None)).count == count


def test_empty_data_and_wrong_options_are_refused_in_this_order(monkeypatch):
    options = SimpleNamespace(limit=None, split=None)
    with pytest.raises(ValueError, match="'list' has no samples in split 'validation'"):
        TaskEvaluator(None, [], options)
    opened = []
    monkeypatch.setattr(base, "open_dataset", lambda *arguments, **kind: opened.append((arguments, kind)) or [1, 2])
    evaluator = TaskEvaluator(None, "shapes:", SimpleNamespace(limit=None, split="test"))
    assert opened == [(("shapes:", "test"), {"kind": "segmentation"})]
    assert (evaluator.specification, evaluator.dataset) == ("shapes:", [1, 2])

    class Strict(TaskEvaluator):
        def check_options(self):
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        Strict(None, "shapes:", options)
    assert len(opened) == 1


def test_one_process_gathers_its_own(monkeypatch):
    monkeypatch.setattr(processes, "gather_object", lambda own: [*own, "other"])
    assert gathered("own", 1) == ["own"] and gathered("own", 2) == ["own", "other"]
