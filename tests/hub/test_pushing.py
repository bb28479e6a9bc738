# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From a folder to the Hub: nothing is uploaded while anything is wrong, and copies do not stay."""

import tempfile

import pytest

from hfseg.hub import pushing
from hfseg.hub.publishing import PublishingError
from tiny_zoo import model_folder


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """What would have been uploaded."""
    uploads = []
    monkeypatch.setattr(pushing, "find_token", lambda: "hf_test")
    monkeypatch.setattr(pushing, "check_reachable", lambda: None)
    monkeypatch.setattr(pushing, "upload", lambda target, plan, token: uploads.append(plan.repo_id) or "https://x")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return uploads


@pytest.mark.parametrize(("problems", "uploads"), [(["no license"], []), ([], ["me/model"])])
def test_nothing_leaves_while_anything_is_wrong(sent, monkeypatch, tmp_path, problems, uploads):
    monkeypatch.setattr(pushing, "check", lambda target, size: list(problems))
    found = pushing.push(model_folder("vpnext", tmp_path), "me/model", show=lambda text: None)
    assert sent == uploads and found["problems"] == problems
    assert (found["url"] is None) == bool(problems)
    assert not list((tmp_path / "temporary").glob("hfseg-push-*"))


def test_a_dry_run_inside_the_folder_is_refused(tmp_path):
    folder = model_folder("vpnext", tmp_path)
    with pytest.raises(PublishingError, match="lies in the model's folder"):
        pushing.push(folder, "me/model", dry_run=folder / "out")
