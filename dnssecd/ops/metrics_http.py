"""The metrics endpoint: `/metrics`, `/healthz`, `/readyz`, in a thread of its own.

A slow or hostile client costs a thread for at most some seconds, and at most :data:`CLIENTS_MAX` of them: the event
loop never waits for one. A client that has not sent its request gives its place to the next one, and a scrape that is
read slowly to the next scrape: `/healthz` is answered independently of other clients.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

from dnssecd.acceptor import EXHAUSTED, REST_S, log_exhausted
from dnssecd.config import Address
from dnssecd.ops.exposition import exposition

#: Clients in all, those of them whose request is not there yet, and answers to `/metrics` being made or sent.
CLIENTS_MAX = 32
READING_MAX = 16
SCRAPES_MAX = 4
#: For a client to send its request, and to take the answer.
REQUEST_S = 3.0
ANSWER_S = 10.0
#: For a new client to wait for a place.
PLACE_S = 0.5
#: A scrape may take this long before another one that finds no place ends it.
SCRAPE_S = 2.0

log = structlog.get_logger("dnssecd.metrics")

#: Whether all is well, and a line of text about it. Called from any thread; must not block.
Probe = Callable[[], tuple[bool, str]]


class MetricsEndpoint:
    """Serves *registry* at *listen* once started. OSError, naming the address, when it cannot be had.

    *large*: its gauges with very many samples.
    """

    def __init__(
        self,
        listen: Address,
        registry: CollectorRegistry,
        health: Probe,
        ready: Probe,
        large: Sequence[Gauge] = (),
    ) -> None:
        answers = {"registry": registry, "health": health, "ready": ready, "large": large}
        handler = type("Handler", (_Handler,), answers)
        server = type("Server", (_Server,), {"address_family": _family(listen.host)})
        try:
            self._server = server((listen.host, listen.port), handler)
        except OSError as error:
            place = f"{listen.host} port {listen.port}"
            raise OSError(error.errno, f"cannot serve metrics on {place}: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True
        )

    @property
    def address(self) -> Address:
        """Where it really listens, should the port have been 0."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns within a second; requests being answered are left to their threads."""
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
    scrape_since: float | None = None
    reading: bool = True


class _Clients:
    """The connections there are, oldest first, and who gives up its place for whom. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._clients: dict[socket.socket, _Client] = {}
        self._scrapes = threading.BoundedSemaphore(SCRAPES_MAX)

    def admit(self, request: socket.socket) -> bool:
        """Enter a connection; tell whether there is a place for it."""
        with self._lock:
            reading = [client for client in self._clients.values() if client.reading]
            if len(reading) >= READING_MAX:
                reading[0].reading = False
                _shut(reading[0].request)
            # Those that were cut off leave as soon as their threads have a turn.
            if not self._left.wait_for(lambda: len(self._clients) < CLIENTS_MAX, timeout=PLACE_S):
                return False
            self._clients[request] = _Client(request, time.monotonic() + REQUEST_S)
            return True

    def leave(self, request: socket.socket) -> None:
        """Strike a connection out."""
        with self._lock:
            client = self._clients.pop(request, None)
            self._left.notify()
        if client is not None and client.scrape_since is not None:
            self._scrapes.release()

    def answering(self, request: socket.socket) -> None:
        """Note that the request is there."""
        with self._lock:
            client = self._clients[request]
            client.reading, client.ends_at = False, time.monotonic() + ANSWER_S

    def scrape(self, request: socket.socket) -> bool:
        """Tell whether `/metrics` may be answered: too many of its answers may be under way."""
        if not self._scrapes.acquire(blocking=False):
            self._end_slow_scrape()
            if not self._scrapes.acquire(timeout=1.0):
                return False
        with self._lock:
            self._clients[request].scrape_since = time.monotonic()
        return True

    def end_late(self) -> None:
        """End the connections whose time is up: the read or write their threads are in fails at once."""
        now = time.monotonic()
        with self._lock:
            late = [client for client in self._clients.values() if now >= client.ends_at]
        for client in late:
            _shut(client.request)

    def _end_slow_scrape(self) -> None:
        now = time.monotonic()
        with self._lock:
            scrapes = [client for client in self._clients.values() if client.scrape_since is not None]
        slowest = min(scrapes, key=lambda client: client.scrape_since or now, default=None)
        if slowest is not None and now - (slowest.scrape_since or now) >= SCRAPE_S:
            _shut(slowest.request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.clients = _Clients()
        self._exhausted = log_exhausted("metrics")
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._rest(error)
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
        log.debug("metrics client went away", client=str(client_address[0]), cause=str(sys.exc_info()[1]))

    def _rest(self, error: OSError) -> None:
        """Wait until descriptors may be free again: the listening socket stays ready all the while."""
        self._exhausted(error)
        time.sleep(REST_S)


def _shut(request: socket.socket) -> None:
    """End a connection whose time is up: the read or write its thread is in fails at once."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    large: Sequence[Gauge]
    health: Probe
    ready: Probe
    timeout = ANSWER_S
    server_version = "dnssecd"
    sys_version = ""

    def do_GET(self) -> None:
        clients: _Clients = self.server.clients  # type: ignore[attr-defined]
        clients.answering(self.connection)
        path = self.path.partition("?")[0]
        if path == "/metrics":
            if not clients.scrape(self.connection):
                self._answer(503, "text/plain", b"too many scrapes at once\n")
                return
            encode, content_type = choose_encoder(self.headers.get("Accept") or "")
            self._answer(200, content_type, exposition(self.registry, self.large, encode))
        elif path == "/healthz":
            self._probe(type(self).health)
        elif path == "/readyz":
            self._probe(type(self).ready)
        else:
            self._answer(404, "text/plain", b"here are /metrics, /healthz and /readyz\n")

    do_HEAD = do_GET

    def _probe(self, probe: Probe) -> None:
        good, text = probe()
        self._answer(200 if good else 503, "text/plain; charset=utf-8", f"{text}\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics request", request=format % args)
