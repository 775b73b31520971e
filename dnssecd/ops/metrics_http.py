"""The metrics endpoint: `/metrics`, `/healthz`, `/readyz`, in a thread of its own.

A slow or hostile scraper costs a thread for at most some seconds, and at most :data:`CLIENTS_MAX` of them: the
event loop never waits for one.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

from dnssecd.config import Address
from dnssecd.ops.exposition import exposition

CLIENTS_MAX = 8
_CLIENT_TIMEOUT_S = 10.0

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, *args: Any) -> None:
        self._slots = threading.BoundedSemaphore(CLIENTS_MAX)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        deadline = threading.Timer(_CLIENT_TIMEOUT_S, _shut, (request,))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics client went away", client=str(client_address[0]), cause=str(sys.exc_info()[1]))


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
    timeout = _CLIENT_TIMEOUT_S
    server_version = "dnssecd"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
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
