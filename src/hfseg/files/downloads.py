# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Downloading of an input by its address, for those who ask for it: public hosts only, of a limited size."""

import http.client
import ipaddress
import re
import socket
import ssl
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

__all__ = ["DownloadError", "download", "is_address"]

MAX_BYTES = 256 * 2**20
SECONDS = 20.0
REDIRECTS = 5


class DownloadError(ValueError):
    """An address that is not opened, or a download that failed; the message names it."""


def is_address(name: str) -> bool:
    """Says whether an input is an address and not a path.

    >>> [is_address(name) for name in ("https://example.org/a.png", "a.png", "data:image/png;base64,AA")]
    [True, False, True]
    """
    return "://" in name or name.startswith("data:")


def download(address: str, folder: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Downloads a file.

    Every address on the way is resolved once, checked, and connected to by that result, so that a name cannot change
    its meaning in between.

    Args:
        address: `http://` or `https://`.
        folder: Where it goes; the name is the address's last part.
        max_bytes: Largest size.

    Raises:
        DownloadError: Another scheme, a host that is not public, no answer, too large, or too many redirections.
    """
    current = address
    for _ in range(REDIRECTS + 1):
        connection, path = _connect(current, address)
        try:
            connection.request("GET", path, headers={"User-Agent": "hfseg", "Accept-Encoding": "identity"})
            answer = connection.getresponse()
            location = answer.getheader("Location")
            if answer.status in (301, 302, 303, 307, 308) and location:
                current = urljoin(current, location)
                continue
            if answer.status != 200:
                raise DownloadError(f"{address[:200]}: the server answers {answer.status} {answer.reason}.")
            return _save(answer, address, current, folder, max_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{address[:200]} cannot be downloaded: {error or type(error).__name__}.") from error
        finally:
            connection.close()
    raise DownloadError(f"{address[:200]} redirects more than {REDIRECTS} times.")


def _connect(address: str, asked: str) -> tuple[http.client.HTTPConnection, str]:
    """Opens a connection to a checked host."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise DownloadError(f"{asked[:200]} is no address: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise DownloadError(f"{asked[:200]}: only http:// and https:// addresses without a user are opened.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DownloadError(f"{asked[:200]}: the host {host} cannot be found.") from error
    for *_, place in found:
        number = ipaddress.ip_address(str(place[0]).partition("%")[0])
        number = getattr(number, "ipv4_mapped", None) or number
        if not number.is_global or number.is_multicast:
            raise DownloadError(f"{asked[:200]}: {host} is {number}, which is no public host.")
    family, kind, protocol, _, place = found[0]
    raw = socket.socket(family, kind, protocol)
    raw.settimeout(SECONDS)
    try:
        raw.connect(place)
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
        connection.sock = (
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) if parts.scheme == "https" else raw
        )
    except OSError as error:
        raw.close()
        raise DownloadError(f"{asked[:200]} cannot be reached: {error}.") from error
    return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _save(answer: http.client.HTTPResponse, asked: str, current: str, folder: Path, max_bytes: int) -> Path:
    """Writes an answer's body to a file, no more than the limit."""
    too_large = f"{asked[:200]} is larger than the limit of {max_bytes / 2**20:g} MB."
    length = answer.getheader("Content-Length")
    if length is not None and length.isdigit() and int(length) > max_bytes:
        raise DownloadError(too_large)
    name = re.sub(r"[^\w.-]", "_", unquote(PurePosixPath(urlsplit(current).path).name)).lstrip(".")[-100:]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or "download")
    number = 2
    while path.exists():
        path, number = folder / f"{number}-{name or 'download'}", number + 1
    size = 0
    with open(path, "wb") as file:
        while block := answer.read(1 << 16):
            size += len(block)
            if size > max_bytes:
                file.close()
                path.unlink()
                raise DownloadError(too_large)
            file.write(block)
    return path
