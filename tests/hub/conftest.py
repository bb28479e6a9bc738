# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A Hub on this machine, permission to reach it, and a folder as training leaves it."""

import pytest
import torch
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from hfseg import ProScaleImageProcessor
from hub_folders import tiny_model
from hub_stand_in import CARD, HubStandIn


@pytest.fixture
def hub():
    server = HubStandIn()
    yield server
    server.close()


@pytest.fixture
def online(monkeypatch):
    """Lets this process reach the stand-in, by the protocol that it knows."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    # A command that ran before in this process has left its client, which may turn the mode on again.
    set_client_factory(default_client_factory)
    yield
    set_client_factory(default_client_factory)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as training leaves it: with checkpoints, which hold pickles, beside the model."""
    folder = tmp_path_factory.mktemp("trained") / "tiny"
    tiny_model().save_pretrained(folder)
    ProScaleImageProcessor().save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "metrics.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoints" / "step_1").mkdir(parents=True)
    torch.save({"step": 1}, folder / "checkpoints" / "step_1" / "optimizer.bin")
    return folder
