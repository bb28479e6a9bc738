# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The guard of the demo's server: uploads pass, addresses and large bodies do not."""

import asyncio
import json

import pytest

from hfseg.demo.guard import LARGEST_REQUEST, RequestGuard, find_address

gradio = pytest.importorskip("gradio", reason="extra `demo`")


def request(body, host="127.0.0.1:7860", parts=1):
    """Sends a json body through the guard; returns status, answer and what the app behind it got."""
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    step = -(-len(body) // parts) or 1
    chunks = [body[start : start + step] for start in range(0, len(body), step)] or [b""]

    async def receive():
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", host.encode())]
    asyncio.run(RequestGuard(app)({"type": "http", "method": "POST", "headers": headers}, receive, send))
    return sent[0]["status"], sent[1]["body"].decode(), seen


def test_guard_lets_uploads_pass_unchanged():
    body = json.dumps({"data": [{"path": "/tmp/gradio/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=/a"}, "x"]})
    for parts in (1, 3):
        status, _, seen = request(body.encode(), parts=parts)
        assert status == 200 and seen == [body.encode()]


@pytest.mark.parametrize("key", ["path", "url"])
@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png",
        "HTTPS://example.org/a",
        " ftp://x/y",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
    ],
)
def test_guard_refuses_addresses(key, address):
    status, answer, seen = request(json.dumps({"data": [{"nested": [{key: address}]}]}).encode())
    assert status == 400 and "not the address" in answer and not seen


def test_guard_refuses_own_host_as_path_and_large_bodies():
    # The server would fetch it from itself.
    assert find_address({"path": "http://127.0.0.1:7860/x"}, "127.0.0.1:7860")
    assert find_address({"url": "http://127.0.0.1:7860.evil.org/x"}, "127.0.0.1:7860")
    assert request(b"[" + b"1," * LARGEST_REQUEST + b"1]")[0] == 413
    assert request(b"{broken")[0] == 400
    assert request(b"[" * 100_000)[0] == 400
