# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the server refuses before anything is computed: addresses in place of files, and requests that are too large."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["RequestGuard", "find_address"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Requests that carry arguments; uploads have a limit of their own (`max_file_size`).
LARGEST_REQUEST = 1_000_000
FILE_KEYS = ("path", "url")
ADDRESSES = ("http://", "https://", "ftp://", "file:", "data:", "//")


def find_address(value: Any, host: str = "") -> str | None:
    """Finds a file that is given by an address, anywhere in the arguments of a request.

    The address of this server's own files, which a browser sends back, is none.

    >>> find_address({"data": [{"path": "/tmp/a.png"}, {"url": "https://example.org/a.png"}]})
    'https://example.org/a.png'
    >>> find_address({"data": ["see https://example.org", {"url": "http://me:1/gradio_api/file=/tmp/a.png"}]}, "me:1")
    """
    if isinstance(value, dict):
        for key in FILE_KEYS:
            text = value.get(key)
            own = host and isinstance(text, str) and text.startswith((f"http://{host}/", f"https://{host}/"))
            if isinstance(text, str) and text.strip().lower().startswith(ADDRESSES) and not (own and key == "url"):
                return text
        return next((found for part in value.values() if (found := find_address(part, host))), None)
    if isinstance(value, list):
        return next((found for part in value if (found := find_address(part, host))), None)
    return None


class RequestGuard:
    """ASGI middleware that answers 400 to addresses and 413 to large bodies; everything else passes unchanged."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        # Only forms carry files. Whatever calls itself otherwise, or nothing at all, may be read as json.
        is_form = headers.get(b"content-type", b"").strip().lower().startswith(b"multipart/form-data")
        if scope["type"] != "http" or scope["method"].upper() not in ("POST", "PUT", "PATCH") or is_form:
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LARGEST_REQUEST:
                await _refuse(send, 413, f"The request is larger than {LARGEST_REQUEST} bytes; upload files as files.")
                return
        if not body.strip() or _is_sign_in(scope):
            await _replayed(self.app, scope, receive, send, body)
            return
        try:
            address = find_address(json.loads(body), headers.get(b"host", b"").decode("latin-1"))
        except (ValueError, RecursionError):
            await _refuse(send, 400, "The request is no json.")
            return
        if address is not None:
            await _refuse(send, 400, f"Only uploaded files are opened, not the address {address[:100]!r}.")
            return
        await _replayed(self.app, scope, receive, send, body)


def _is_sign_in(scope: Message) -> bool:
    """Whether it is the form of a name and a password, which clients send url-encoded, and which carries no file."""
    path = str(scope.get("path", "")).removeprefix(scope.get("root_path", ""))
    return path.rstrip("/") == "/login"


async def _replayed(
    app: Callable[..., Awaitable[None]], scope: Message, receive: Receive, send: Send, body: bytes
) -> None:
    """Calls the app with a body that was read already."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    await app(scope, replay, send)


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"detail": message, "error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
