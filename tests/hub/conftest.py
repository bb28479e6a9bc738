# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A Hub on this machine, and permission to reach it."""

import pytest
from huggingface_hub import constants

from hub_stand_in import HubStandIn


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
