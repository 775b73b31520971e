"""Metrics of key stores and tokens, from the last status of the key service.

The key service keeps the counters: they start at zero when it starts. While it does not answer, only
``dnssecd_signer_up`` 0 is exported: the previous state of a token may be outdated.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dnssecd.keyservice_protocol import StatusReply, TokenStatus

TOKEN_STATES = ("starting", "ok", "down", "operator", "evicted")
TOKEN_FLAGS = (
    "pin-count-low",
    "pin-final-try",
    "pin-locked",
    "pin-to-be-changed",
    "so-pin-locked",
    "write-protected",
    "error-state",
)
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}
_STORE = ("keystore",)
_TOKEN = ("keystore", "token")


class KeystoreCollector(Collector):
    """Collects metrics from the last status."""

    def __init__(self) -> None:
        self._status: StatusReply | None = None

    def take(self, status: StatusReply | None) -> None:
        """Store the answer of the service; None: it did not answer."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield all families, with samples while the service answers."""
        status = self._status
        up = GaugeMetricFamily("dnssecd_signer_up", "1 while the key service answers, else 0")
        up.add_metric((), int(status is not None))
        yield up
        yield from _service(status)
        yield from _stores(status)
        yield from _tokens(status)
        yield from _token_counters(status)
        yield from _token_health(status)

    def families(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        """Yield name, kind, labels and help of each family, for the table of metrics."""
        for family in self.collect():
            suffix = "_total" if family.type == "counter" else ""
            labels: tuple[str, ...] = getattr(family, "_labelnames", ())
            yield family.name + suffix, family.type, labels, family.documentation


def _service(status: StatusReply | None) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "dnssecd_signer_requests", "Requests that the key service received, by kind", labels=("request",)
    )
    errors = CounterMetricFamily(
        "dnssecd_signer_request_errors",
        "Requests that the key service answered with an error, by code",
        labels=("code",),
    )
    refusals = CounterMetricFamily(
        "dnssecd_signer_refusals", "Signatures refused because the key may not sign that data"
    )
    for name, count in status.counters.items() if status else ():
        group, _, label = name.partition(".")
        if group == "requests":
            requests.add_metric((label,), count)
        elif group == "errors":
            errors.add_metric((label,), count)
    if status:
        refusals.add_metric((), status.counters.get("refusals", 0))
    yield from (requests, errors, refusals)


def _stores(status: StatusReply | None) -> Iterator[Metric]:
    available = GaugeMetricFamily(
        "dnssecd_keystore_available", "1 while keys of the store can be used", labels=_STORE
    )
    keys = GaugeMetricFamily("dnssecd_keystore_keys", "Keys known to be in the store", labels=_STORE)
    queue = GaugeMetricFamily(
        "dnssecd_keystore_queue_signatures", "Signatures queued for the store", labels=_STORE
    )
    made = CounterMetricFamily("dnssecd_keystore_signatures", "Signatures made by the store", labels=_STORE)
    for store in status.stores if status else ():
        labels = (store.name,)
        available.add_metric(labels, int(store.state == "available"))
        keys.add_metric(labels, store.keys)
        queue.add_metric(labels, store.queue)
        made.add_metric(labels, store.signatures)
    yield from (available, keys, queue, made)


def _all_tokens(status: StatusReply | None) -> Iterator[tuple[tuple[str, str], TokenStatus]]:
    for store in status.stores if status else ():
        for token in store.tokens:
            yield (store.name, token.name), token


def _tokens(status: StatusReply | None) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "dnssecd_token_state",
        f"1 for the state the token is in, else 0: {', '.join(TOKEN_STATES)}",
        labels=(*_TOKEN, "state"),
    )
    sessions = GaugeMetricFamily(
        "dnssecd_token_sessions", "Sessions by state: open (busy ones too), busy", labels=(*_TOKEN, "state")
    )
    queue = GaugeMetricFamily(
        "dnssecd_token_queue_commands",
        "Commands (key look-ups, proofs, new keys) queued for a session",
        labels=_TOKEN,
    )
    breaker = GaugeMetricFamily(
        "dnssecd_token_breaker_state",
        "Circuit breaker: 0 closed (works), 1 half open (trying), 2 open (does not)",
        labels=_TOKEN,
    )
    for labels, token in _all_tokens(status):
        for one in TOKEN_STATES:
            state.add_metric((*labels, one), int(token.state == one))
        sessions.add_metric((*labels, "open"), token.sessions_open)
        sessions.add_metric((*labels, "busy"), token.sessions_busy)
        queue.add_metric(labels, token.queue)
        breaker.add_metric(labels, _BREAKER.get(token.breaker, 2))
    yield from (state, sessions, queue, breaker)


def _token_counters(status: StatusReply | None) -> Iterator[Metric]:
    made = CounterMetricFamily("dnssecd_token_signatures", "Signatures made by the token", labels=_TOKEN)
    errors = CounterMetricFamily(
        "dnssecd_token_errors",
        "Failures by kind: names of PKCS#11 errors, timeout, died, wrong signature",
        labels=(*_TOKEN, "kind"),
    )
    replaced = CounterMetricFamily(
        "dnssecd_token_workers_replaced", "Worker processes replaced because they failed", labels=_TOKEN
    )
    latency = HistogramMetricFamily(
        "dnssecd_token_call_seconds", "Calls to the token, each signing a batch", labels=_TOKEN
    )
    for labels, token in _all_tokens(status):
        made.add_metric(labels, token.signatures)
        replaced.add_metric(labels, token.workers_replaced)
        latency.add_metric(labels, list(token.latency_buckets.items()), token.latency_sum_s)
        for kind, count in token.errors.items():
            errors.add_metric((*labels, kind), count)
    yield from (made, errors, replaced, latency)


def _token_health(status: StatusReply | None) -> Iterator[Metric]:
    """Yield what tokens say of themselves, where they say it."""
    flag = GaugeMetricFamily(
        "dnssecd_token_flag",
        f"1 where the token has the flag set, else 0: {', '.join(TOKEN_FLAGS)}",
        labels=(*_TOKEN, "flag"),
    )
    memory = GaugeMetricFamily(
        "dnssecd_token_memory_octets", "Memory of the token: free, total", labels=(*_TOKEN, "kind")
    )
    sessions = GaugeMetricFamily(
        "dnssecd_token_device_sessions",
        "Sessions of all clients of the token: open, max (0: no limit)",
        labels=(*_TOKEN, "kind"),
    )
    logins = CounterMetricFamily("dnssecd_token_login_failures", "Logins that failed", labels=_TOKEN)
    renewed = CounterMetricFamily(
        "dnssecd_token_workers_renewed",
        "Worker processes ended so that a fresh session looks for a key",
        labels=_TOKEN,
    )
    for labels, token in _all_tokens(status):
        for name in TOKEN_FLAGS:
            flag.add_metric((*labels, name), int(name in token.flags))
        for kind, octets in (("free", token.memory_free), ("total", token.memory_total)):
            if octets >= 0:
                memory.add_metric((*labels, kind), octets)
        for kind, count in (("open", token.token_sessions), ("max", token.token_sessions_max)):
            if count >= 0:
                sessions.add_metric((*labels, kind), count)
        logins.add_metric(labels, token.login_failures)
        renewed.add_metric(labels, token.workers_renewed)
    yield from (flag, memory, sessions, logins, renewed)
