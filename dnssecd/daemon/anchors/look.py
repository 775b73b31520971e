"""What a web server gives out as trust anchors, compared with the files as they were written."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from dnssecd.core.parent.anchor_forms import FILES
from dnssecd.daemon.anchors.files import OCTETS_MAX, SIGNATURE, read_file

#: For one file (s), however slowly the server sends it.
DEADLINE_S = 15.0
_OK = 200
_HEAD_MAX = 16_384
_PIECE = 65_536


class Unreachable(Exception):
    """The web server does not answer; the text says why."""


def zone_url(base: str, directory: Path) -> str:
    """Return the address of a zone's directory."""
    return f"{base}/{quote(directory.name)}"


async def differences(url: str, directory: Path) -> list[str]:
    """Return what differs at *url*, the address of the zone's directory, from the files in *directory*.

    Raise Unreachable if the server does not answer. Redirects are not followed, and no proxy is used.
    """
    found = []
    for name in (each + suffix for each in FILES for suffix in ("", SIGNATURE)):
        content = await asyncio.to_thread(read_file, directory / name)
        if content is None:
            continue
        address = f"{url}/{quote(name)}"
        status, served = await _fetch(address)
        if status != _OK:
            found.append(f"{address}: the server answers {status}")
        elif served != content:
            found.append(f"{address} is not what dnssecd wrote")
    return found


async def _fetch(address: str) -> tuple[int, bytes]:
    """Return status and content; at most one octet more than the largest file."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await _get(urlsplit(address))
    except TimeoutError:
        raise Unreachable(f"{address}: no answer within {DEADLINE_S:.0f} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"{address}: its certificate is not trusted: {error.verify_message}") from None
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"{address}: {error or type(error).__name__}") from None


async def _get(url: SplitResult) -> tuple[int, bytes]:
    """Fetch by HTTP/1.0: the answer is not in chunks, and ends with the connection."""
    secure = url.scheme == "https"
    trust = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if secure else 80), ssl=trust, limit=_HEAD_MAX
    )
    try:
        writer.write(_request(url))
        await writer.drain()
        status, length = _read_head(await reader.readuntil(b"\r\n\r\n"))
        if length is None:
            return status, await _read_all(reader)
        return status, await reader.readexactly(min(length, OCTETS_MAX + 1))
    finally:
        writer.transport.abort()


def _request(url: SplitResult) -> bytes:
    host = (url.hostname or "").encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    lines = (
        f"GET {quote(url.path, safe='/%:@!$&()*+,;=~-._')} HTTP/1.0",
        f"Host: {host}{port}",
        "User-Agent: dnssecd",
        "Cache-Control: no-cache",
        "Accept-Encoding: identity",
    )
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


def _read_head(head: bytes) -> tuple[int, int | None]:
    """Return the status, and the octets of the content if the server gives them; ValueError if it is not HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ValueError(f"the answer is not HTTP: {first[:80]!r}")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = fields.get("content-length", "")
    return int(words[1]), int(length) if length.isascii() and length.isdigit() else None


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while len(content) <= OCTETS_MAX and (piece := await reader.read(_PIECE)):
        content += piece
    return content
