"""The webhook channel: one JSON document by HTTP POST. Redirects are not followed: they could leak the token."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, quote, urlsplit

from dnssecd.config.model import WebhookConfig
from dnssecd.ops.alerts.channels import ChannelDown, ChannelName, Deferred, Parcel, Rejected, Sent, reason

DEADLINE_S = 20.0
_HEAD_MAX = 16_384
_RETRY_AFTER_MAX_S = 3_600.0
_PLAIN = "/%:@!$&'()*+,;=~-._"  # quote() must not change these in a URL that is already quoted
#: Statuses that mean that the message itself is faulty; other 4xx concern address, token or load.
_MESSAGE_AT_FAULT = frozenset({400, 406, 409, 411, 413, 415, 422})


class WebhookChannel:
    """Posts to one URL. context: trust for https; default: the system's."""

    def __init__(
        self,
        config: WebhookConfig,
        *,
        context: ssl.SSLContext | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._url = urlsplit(config.url)
        self._bearer = config.bearer
        self._context = context
        self._deadline_s = deadline_s

    @property
    def name(self) -> ChannelName:
        """The kind of the channel."""
        return "webhook"

    @property
    def target(self) -> str:
        """The URL without path and query: many services have their token there."""
        return f"{self._url.scheme}://{self._url.hostname}{_port(self._url)}/…"

    async def send(self, parcel: Parcel) -> Sent:
        """Post a message. Raise ChannelDown, Deferred or Rejected."""
        try:
            async with asyncio.timeout(self._deadline_s):
                status, headers = await self._post(parcel)
        except TimeoutError as error:
            raise ChannelDown(f"{self.target} did not answer within {self._deadline_s:.0f} s") from error
        except ssl.SSLCertVerificationError as error:
            raise ChannelDown(
                f"{self.target}: its certificate is not trusted: {error.verify_message}"
            ) from error
        except (OSError, EOFError, ValueError) as error:
            raise ChannelDown(f"{self.target}: {reason(error)}") from error
        _judge(self.target, status, headers)
        return Sent()

    async def _post(self, parcel: Parcel) -> tuple[int, Mapping[str, str]]:
        secure = self._url.scheme == "https"
        trust = (self._context or ssl.create_default_context()) if secure else None
        reader, writer = await asyncio.open_connection(
            self._url.hostname, self._url.port or (443 if secure else 80), ssl=trust, limit=_HEAD_MAX
        )
        try:
            writer.write(self._request(parcel))
            await writer.drain()
            return await _head(reader)
        finally:
            writer.transport.abort()

    def _request(self, parcel: Parcel) -> bytes:
        path = quote(self._url.path or "/", _PLAIN)
        if self._url.query:
            path += "?" + quote(self._url.query, _PLAIN + "?")
        host = (self._url.hostname or "").encode("idna").decode()
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {f'[{host}]' if ':' in host else host}{_port(self._url)}",
            "User-Agent: dnssecd",
            "Content-Type: application/json",
            f"Content-Length: {len(parcel.body)}",
            f"Idempotency-Key: {parcel.id}",
            "Connection: close",
        ]
        head = "\r\n".join(lines).encode()
        if self._bearer is not None:
            token = self._bearer.value.strip()
            if any(octet < 33 or octet > 126 for octet in token):
                raise ValueError("the token contains characters that are not allowed in a header")
            head += b"\r\nAuthorization: Bearer " + token
        return head + b"\r\n\r\n" + parcel.body


def _port(url: SplitResult) -> str:
    return "" if url.port is None else f":{url.port}"


async def _head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    """Return status and headers of the answer; skip interim answers (1xx). Raise ValueError for other data."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the headers of the answer are too long") from error
        except asyncio.IncompleteReadError as error:
            raise EOFError("the server closed the connection without an answer") from error
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise ValueError(f"the answer is not HTTP: {first[:80]!r}")
        if not 100 <= int(words[1]) < 200:
            fields = (line.partition(":") for line in lines if ":" in line)
            return int(words[1]), {name.lower(): value.strip() for name, _, value in fields}


def _judge(target: str, status: int, headers: Mapping[str, str]) -> None:
    """Return if the message was accepted; otherwise raise ChannelDown, Deferred or Rejected."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise ChannelDown(f"{target} answered {status}: it redirects; configure the URL that it redirects to")
    if status in _MESSAGE_AT_FAULT:
        raise Rejected(f"{target} answered {status}: it rejects the message")
    if status in (401, 403):
        raise ChannelDown(f"{target} answered {status}: it does not accept the token")
    wait = headers.get("retry-after", "")
    after = min(float(wait), _RETRY_AFTER_MAX_S) if wait.isascii() and wait.isdigit() else None
    if status == 500:  # a fault of the server, possibly with this message only
        raise Deferred(f"{target} answered {status}")
    raise ChannelDown(f"{target} answered {status}", after)
