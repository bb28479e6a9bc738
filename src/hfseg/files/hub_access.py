# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Look-ups on the Hub that end soon where there is no network: one short wait for all of them together.

The client of huggingface_hub tries a file several times with growing pauses, and libraries ask for many files, so a
command on a machine without a network would stand still for minutes. Here the first request that finds nobody turns
the client to its offline mode, for the rest of the command.
"""

import logging
import threading
from typing import Any

__all__ = ["CONNECT_SECONDS", "READ_SECONDS", "bound_hub_look_ups", "resolves", "what_was_not_reached"]

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0  # to resolve the name, and again to connect
READ_SECONDS = 5.0  # between two pieces of an answer
# Beginnings of servers that `datasets` asks beside the Hub, for counting downloads and for converted files: it goes on
# without them.
AUXILIARY = ("s3.amazonaws.com", "datasets-server.")
_given_up: dict[str, str] = {}  # why, and what was wanted, once the Hub could not be reached


def what_was_not_reached() -> str | None:
    """Says what a look-up wanted when the Hub could not be reached, and how to give it; None if all was well."""
    if not _given_up:
        return None
    return (
        f"The Hub could not be reached ({_given_up['why']}){_given_up['what']}: download it elsewhere (hf download "
        "NAME --local-dir DIR) and give DIR where the name stands: --model, --tokenizer, model.backbone, "
        "model.pretrained, model.tokenizer, or the path of a dataset."
    )


def bound_hub_look_ups() -> None:
    """Makes requests to the Hub of this process give up early; uploads and downloads in progress are not cut."""
    try:
        from huggingface_hub import constants, set_client_factory
        from huggingface_hub.utils import _http
    except ImportError:  # a release with another client: its own limits stay
        return

    def build() -> Any:
        client = _http.default_client_factory()
        original = client.send
        known: set[str] = set()

        def send(request: Any, **options: Any) -> Any:
            host, look_up = request.url.host, request.method in ("GET", "HEAD")
            if look_up:
                request.extensions = {**request.extensions, "timeout": _bounded(request.extensions.get("timeout"))}
            # What is sent, such as a card to be validated, fails by itself.
            new = look_up and host not in known and not host.startswith(AUXILIARY)
            if new and not constants.is_offline_mode() and not resolves(host):
                _give_up(constants, f"the name {host} cannot be resolved", request.url.path)
            try:
                answer = original(request, **options)  # raises OfflineModeIsEnabled once the mode is on
            except Exception as error:
                if new and type(error).__name__ in ("ConnectError", "ConnectTimeout", "ReadTimeout"):
                    _give_up(constants, f"{host} does not answer", request.url.path)
                raise
            known.add(host)
            return answer

        setattr(client, "send", send)  # noqa: B010 - a method of this one client, which mypy lets nobody assign
        return client

    set_client_factory(build)


def _bounded(given: Any) -> dict[str, float]:
    """Timeouts of a request, no longer than ours."""
    limits = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": READ_SECONDS}
    for name, value in (given or {}).items():
        if value is not None and name in limits:
            limits[name] = min(limits[name], value)
    return limits


def resolves(host: str) -> bool:
    """Says whether a name has an address, within the time; the system's own resolver may take much longer."""
    import socket

    found: list[bool] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(host, 443)
            found.append(True)
        except OSError:
            found.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return bool(found and found[0])


def _give_up(constants: Any, reason: str, path: str) -> None:
    _given_up.update(why=reason, what=_repository(path))
    logger.warning("The Hub cannot be reached: %s. Going on offline, with local files and the cache.", reason)
    constants.HF_HUB_OFFLINE = True


def _repository(path: str) -> str:
    """` for NAME`, if the path of a request names a repository."""
    parts = [part for part in path.split("/") if part]
    if "resolve" in parts:
        return " for " + "/".join(parts[: parts.index("resolve")])
    if parts[:1] == ["api"] and len(parts) > 3:
        return " for " + "/".join(parts[2:4])
    return ""
