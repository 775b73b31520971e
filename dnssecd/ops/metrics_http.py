"""The metrics endpoint: ``/metrics``, ``/healthz``, ``/readyz``, in its own thread.

``http_server.py`` says what a slow or hostile client can do: ``/healthz`` is always answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from dnssecd.config import Address
from dnssecd.ops.exposition import exposition
from dnssecd.ops.http_host import is_host_allowed
from dnssecd.ops.http_server import Handler, HttpServer
from dnssecd.ops.many_gauge import ManyGauge

#: Returns whether the daemon is healthy, and a line of text. Called from any thread; must not block.
Probe = Callable[[], tuple[bool, str]]

NOT_THAT_NAME = (
    b"there are no metrics under that host name: ask for the IP address, or add the name to [metrics] names\n"
)


class MetricsEndpoint(HttpServer):
    """Serves *registry* at *listen* after start(). Raises OSError with the address when it cannot be used.

    *large*: gauges of the registry with very many samples. *names*: host names under which clients may ask for
    metrics, beside addresses and ``localhost``; under another name a probe gets its status without a text.
    """

    def __init__(
        self,
        listen: Address,
        registry: CollectorRegistry,
        health: Probe,
        ready: Probe,
        large: Sequence[ManyGauge] = (),
        names: Sequence[str] = (),
    ) -> None:
        answers = {"registry": registry, "health": health, "ready": ready, "large": large, "names": names}
        super().__init__(listen, type("MetricsHandler", (_MetricsHandler,), answers), "metrics")


class _MetricsHandler(Handler):
    registry: CollectorRegistry
    large: Sequence[ManyGauge]
    names: Sequence[str]
    health: Probe
    ready: Probe

    def respond(self) -> None:
        path = self.path.partition("?")[0]
        known = is_host_allowed(self.headers.get("Host"), self.names)
        if path == "/metrics":
            if not known:
                self.answer(421, "text/plain", NOT_THAT_NAME)
                return
            if not self.clients.costly(self.connection):
                self.answer(503, "text/plain", b"too many scrapes at the same time\n")
                return
            encode, content_type = choose_encoder(self.headers.get("Accept") or "")
            self.answer(200, content_type, exposition(self.registry, self.large, encode))
        elif path == "/healthz":
            self._probe(type(self).health, known)
        elif path == "/readyz":
            self._probe(type(self).ready, known)
        else:
            self.answer(404, "text/plain", b"available: /metrics, /healthz and /readyz\n")

    def _probe(self, probe: Probe, known: bool) -> None:
        good, text = probe()
        if not known:
            text = "ok" if good else "not ok"
        self.answer(200 if good else 503, "text/plain; charset=utf-8", f"{text}\n".encode())
