"""A small HTTP server in threads of its own, for the metrics and the status page. The event loop never waits for it.

A slow or hostile client occupies a thread for some seconds, and at most :data:`CLIENTS_MAX` threads exist. If all
places are taken, a client that has not sent its request loses its place to a new client, and a slow reader of an
expensive answer loses it to a new one. A request has at most :data:`HEAD_MAX` octets; none has a body, and a connection
is closed after its answer.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

import structlog

from dnssecd.acceptor import EXHAUSTED, REST_S, log_exhausted
from dnssecd.config import Address

#: Limits: all clients, clients whose request has not arrived, expensive answers in progress.
CLIENTS_MAX = 32
READING_MAX = 16
COSTLY_MAX = 4
#: Octets of a request.
HEAD_MAX = 16_384
#: Characters of a request in the log.
LOGGED_MAX = 300
#: Time for a client to send its request, and to read the answer.
REQUEST_S = 3.0
ANSWER_S = 10.0
#: Time that a new client waits for a place.
PLACE_S = 0.5
#: An expensive answer that takes longer is ended if another one needs its place.
COSTLY_S = 2.0

log = structlog.get_logger("dnssecd.http")

#: Returns the TLS context for the next connection.
TlsContext = Callable[[], ssl.SSLContext]


class HttpServer:
    """Serves *handler* at *listen* after start(). Raises OSError with the address when it cannot be used.

    what: what is served, for errors, logs and the name of the thread. tls: None: without.
    """

    def __init__(
        self, listen: Address, handler: type[Handler], what: str, *, tls: TlsContext | None = None
    ) -> None:
        server = type("Server", (_Server,), {"address_family": _family(listen.host)})
        try:
            self._server = server((listen.host, listen.port), handler, what, tls)
        except OSError as error:
            place = f"{listen.host} port {listen.port}"
            raise OSError(error.errno, f"cannot serve {what} on {place}: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name=what, daemon=True
        )

    @property
    def address(self) -> Address:
        """The address in use; its port differs from the configured one if that is 0."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the server within a second; threads finish requests in progress."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=1)
        self._server.server_close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@dataclass(eq=False, slots=True)
class _Client:
    """A connection; times are monotonic."""

    request: socket.socket
    ends_at: float
    costly_since: float | None = None
    reading: bool = True


class Clients:
    """All connections, oldest first, and which one loses its place to a new one. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._clients: dict[socket.socket, _Client] = {}
        self._costly = threading.BoundedSemaphore(COSTLY_MAX)

    def admit(self, request: socket.socket) -> bool:
        """Add a connection; return whether there is a place for it."""
        with self._lock:
            reading = [client for client in self._clients.values() if client.reading]
            if len(reading) >= READING_MAX:
                reading[0].reading = False
                _shut(reading[0].request)
            # Connections that were ended leave as soon as their threads run.
            if not self._left.wait_for(lambda: len(self._clients) < CLIENTS_MAX, timeout=PLACE_S):
                return False
            self._clients[request] = _Client(request, time.monotonic() + REQUEST_S)
            return True

    def leave(self, request: socket.socket) -> None:
        """Remove a connection."""
        with self._lock:
            client = self._clients.pop(request, None)
            self._left.notify()
        if client is not None and client.costly_since is not None:
            self._costly.release()

    def answering(self, request: socket.socket) -> None:
        """Record that the request has arrived."""
        with self._lock:
            client = self._clients[request]
            client.reading, client.ends_at = False, time.monotonic() + ANSWER_S

    def costly(self, request: socket.socket) -> bool:
        """Return whether an expensive answer may be made: the number of such answers in progress is limited."""
        if not self._costly.acquire(blocking=False):
            self._end_slow()
            if not self._costly.acquire(timeout=1.0):
                return False
        with self._lock:
            self._clients[request].costly_since = time.monotonic()
        return True

    def end_late(self) -> None:
        """End connections that exceed their time: the read or write of their threads fails immediately."""
        now = time.monotonic()
        with self._lock:
            late = [client for client in self._clients.values() if now >= client.ends_at]
        for client in late:
            _shut(client.request)

    def _end_slow(self) -> None:
        now = time.monotonic()
        with self._lock:
            costly = [client for client in self._clients.values() if client.costly_since is not None]
        slowest = min(costly, key=lambda client: client.costly_since or now, default=None)
        if slowest is not None and now - (slowest.costly_since or now) >= COSTLY_S:
            _shut(slowest.request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, place: Any, handler: Any, what: str, tls: TlsContext | None) -> None:
        self.clients = Clients()
        self.what = what
        self._tls = tls
        self._exhausted = log_exhausted(what)
        super().__init__(place, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            request, address = super().get_request()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._rest(error)
            raise
        if self._tls is None:
            return request, address
        # Without a handshake: that is done by the first read, in the thread of the client and in its time.
        try:
            return self._tls().wrap_socket(request, server_side=True, do_handshake_on_connect=False), address
        except BaseException:
            request.close()
            raise

    def service_actions(self) -> None:
        self.clients.end_late()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.clients.admit(request):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.clients.leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.clients.leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        cause = sys.exc_info()[1]
        if isinstance(cause, OSError):
            log.debug("client disconnected", what=self.what, client=str(client_address[0]), cause=str(cause))
        else:
            log.error("request failed", what=self.what, client=str(client_address[0]), exc_info=cause)

    def _rest(self, error: OSError) -> None:
        """Pause until descriptors may be free: the listening socket stays ready, so the loop would not rest."""
        self._exhausted(error)
        time.sleep(REST_S)


def _shut(request: socket.socket) -> None:
    """End a connection that exceeds its time: the read or write of its thread fails immediately."""
    try:
        # Not the method of a TLS socket: that would continue without encryption.
        socket.socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        return


class _Head:
    """The reading side of a connection: it ends after HEAD_MAX octets."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream, self._left = stream, HEAD_MAX

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or less of it where the limit is."""
        most = self._left if size < 0 else min(size, self._left)
        line = self._stream.readline(most) if most else b""
        self._left -= len(line)
        return line

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    @property
    def exceeded(self) -> bool:
        """Whether the limit was reached: what follows was not read."""
        return self._left <= 0

    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
        return self._stream.closed


class Handler(BaseHTTPRequestHandler):
    """Answers one request of a connection. Subclasses have :meth:`respond`."""

    timeout = ANSWER_S
    server_version = "dnssecd"
    sys_version = ""

    def setup(self) -> None:
        """Limit what is read."""
        super().setup()
        self._head = _Head(self.rfile)
        self.rfile = self._head  # type: ignore[assignment]

    @property
    def clients(self) -> Clients:
        """The connections of the server."""
        clients: Clients = self.server.clients  # type: ignore[attr-defined]
        return clients

    def do_GET(self) -> None:
        """Answer GET and HEAD."""
        self.clients.answering(self.connection)
        if self._head.exceeded:
            text = f"a request may have {HEAD_MAX} octets\n"
            self.answer(431, "text/plain; charset=utf-8", text.encode())
        else:
            self.respond()

    do_HEAD = do_GET

    def respond(self) -> None:
        """Send the answer."""
        raise NotImplementedError

    def answer(
        self, status: int, content_type: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Send an answer; HEAD gets its headers only."""
        self.send_response(status)
        for name, value in (("Content-Type", content_type), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request. What the client sent is written with escapes: it may contain line ends."""
        log.debug("request", what=self.server.what, request=ascii(format % args)[:LOGGED_MAX])  # type: ignore[attr-defined]
