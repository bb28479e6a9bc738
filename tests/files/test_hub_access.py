# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Look-ups on the Hub: their time limits, and what a message says was wanted. Whole commands: see `hostile`."""

import time

import pytest
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import get_session
from huggingface_hub.utils._http import default_client_factory

from hfseg.files import hub_access
from hfseg.files.hub_access import CONNECT_SECONDS, READ_SECONDS, _bounded, _repository, resolves


def test_limits_are_never_longer_than_ours():
    plain = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": READ_SECONDS}
    assert _bounded(None) == plain
    assert _bounded({"connect": 0.5, "read": 900.0, "pool": None, "other": 1.0}) == {**plain, "connect": 0.5}


@pytest.mark.parametrize(
    "path, text",
    [
        ("/owner/name/resolve/main/config.json", " for owner/name"),
        ("/gpt2/resolve/main/config.json", " for gpt2"),
        ("/datasets/owner/name/resolve/main/a.json", " for datasets/owner/name"),
        ("/api/models/owner/name/tree/main", " for owner/name"),
        ("/api/models", ""),
        ("/", ""),
    ],
)
def test_what_was_wanted_is_named(path, text):
    assert _repository(path) == text


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(hub_access, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments: time.sleep(1))
    start = time.monotonic()
    assert not resolves("example.org") and time.monotonic() - start < 0.9
    monkeypatch.setattr(hub_access, "CONNECT_SECONDS", 5)
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments: [])
    assert resolves("example.org")

    def unknown(*arguments):
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    assert not resolves("example.org")


def test_nothing_is_said_where_all_was_well_and_the_option_where_not(monkeypatch):
    monkeypatch.setattr(hub_access, "_given_up", {})
    assert hub_access.what_was_not_reached() is None
    hub_access._given_up.update(why="no answer", what=" for owner/name")
    text = hub_access.what_was_not_reached()
    assert text.startswith("The Hub could not be reached (no answer) for owner/name: ") and "--tokenizer" in text


def test_what_is_sent_does_not_turn_a_command_offline(monkeypatch):
    """A card that cannot be validated must not end the upload to another place; a look-up goes on offline."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_access, "_given_up", {})
    monkeypatch.setattr(hub_access, "resolves", lambda host: False)
    try:
        hub_access.bound_hub_look_ups()
        with pytest.raises(Exception, match=r"(?i)connect"):
            get_session().post("http://127.0.0.1:9/api/validate-yaml")
        assert not constants.HF_HUB_OFFLINE and hub_access.what_was_not_reached() is None
        with pytest.raises(OfflineModeIsEnabled):
            get_session().get("http://127.0.0.1:9/api/models/owner/name")
        assert constants.HF_HUB_OFFLINE and "127.0.0.1" in hub_access.what_was_not_reached()
    finally:
        set_client_factory(default_client_factory)
