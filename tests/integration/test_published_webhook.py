"""A webhook after each publication, at a real HTTP server: slow, refusing, failing, hanging.

No publication waits for it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

#: A publication must not take longer because of what follows it. The webhook itself has 20 s.
PUBLISHED_S = 10.0


class Hook:
    """The server. ``mode``: how it behaves; ``told``: the documents that it accepted; ``asked``: all that came."""

    def __init__(self) -> None:
        self.mode = "accept"
        self.told: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        self.free = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked.append((hook.mode, self.path, dict(self.headers), document))
                match hook.mode:
                    case "hang":
                        hook.free.wait(60)
                        self.close_connection = True
                        return
                    case "slow":
                        time.sleep(3)
                    case "redirect":
                        self.send_response(302)
                        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                        self.end_headers()
                        return
                    case "garbage":
                        self.wfile.write(b"\0\1 not HTTP\r\n\r\n")
                        return
                    case "accept":
                        pass
                    case status:
                        self.send_response(int(status))
                        self.end_headers()
                        return
                hook.told.append(document)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._handler = Handler
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, self.port), self._handler)
        self.port = self._server.server_address[1]
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serials(self) -> list[int]:
        return [document["serial"] for document in self.told]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.free.set()
    made.stop()


class World:
    """A daemon with one zone and its webhook."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey, url: str) -> None:
        self.input = home / "input.zone"
        self.input.write_text(small_zone())
        config = daemon_config(home, DaemonPorts.free(), key, {ZONE: self.input})
        config["zone"][ZONE]["published"] = url
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))

    def publish(self, serial: int) -> None:
        replace_file(self.input, small_zone(serial, f"new{serial} A 192.0.2.9\n"))
        begun = time.monotonic()
        wait_until(
            lambda: self.daemon.serial(ZONE) == serial, f"serial {serial} is published", 60, every=0.05
        )
        print(f"serial {serial} after {time.monotonic() - begun:.1f} s")


def test_each_version_is_reported_in_the_end(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, hook: Hook
) -> None:
    world = World(
        servers, peer_dir, tsig_key, f"http://{LOOPBACK}:{hook.port}/hooks/dns?token=s3cret&zone=small"
    )
    daemon = world.daemon
    wait_until(lambda: hook.serials() == [1], "the first version is told", 30)
    _, path, headers, document = hook.asked[0]
    assert path == "/hooks/dns?token=s3cret&zone=small"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"]
    assert (document["event"], document["zone"]) == ("published", ZONE)

    # Slow: the version is served meanwhile, and told in the end.
    hook.mode = "slow"
    world.publish(2)
    assert hook.serials() == [1]
    wait_until(lambda: hook.serials() == [1, 2], "the second is told", 30)
    assert not daemon.metric("dnssecd_event_firing", event="published-command-failed", zone=ZONE)

    # Whatever else it answers: an event with the reason, without the token; the same version again until it accepts.
    serial = 2
    for mode, said in (
        ("500", "answered 500"),
        ("403", "answered 403"),
        ("429", "answered 429"),
        ("redirect", "it redirects"),
        ("garbage", "not HTTP"),
        ("hang", "did not answer within"),
    ):
        serial += 1
        hook.mode = mode
        world.publish(serial)
        wait_event(daemon, "published-command-failed", timeout=60)
        wait_until(lambda text=said: text in alert_text(daemon), f"the reason is {said}", 60)  # type: ignore[misc]
        assert "s3cret" not in alert_text(daemon)
        hook.mode = "accept"
        hook.free.set()
        wait_until(lambda: hook.serials()[-1] == serial, "it is told in the end", 120)  # noqa: B023
        wait_event(daemon, "published-command-failed", firing=False)
        hook.free.clear()
    ids = {headers["Idempotency-Key"] for mode, _, headers, told in hook.asked if told["serial"] == 3}
    assert len(ids) == 1, "a repeated message is known as such"
    assert "s3cret" not in daemon.log_text()

    # Gone, as a server that is restarted: later versions are told as one.
    hook.stop()
    world.publish(20)
    wait_event(daemon, "published-command-failed")
    world.publish(21)
    world.publish(22)
    hook.start()
    wait_until(lambda: hook.serials()[-1] == 22, "the newest is told", 120)
    assert 21 not in hook.serials()
    wait_event(daemon, "published-command-failed", firing=False)

    # A restart tells nothing again.
    told = list(hook.told)
    daemon.stop()
    daemon.start()
    world.publish(23)
    wait_until(lambda: hook.serials()[-1] == 23, "the next version is told", 60)
    assert hook.told[:-1] == told


def test_a_server_that_takes_no_connection_does_not_keep_the_daemon_from_stopping(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Its queue is full: a connection is not refused and not accepted."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        filler = [socket.socket() for _ in range(4)]
        for one in filler:
            one.setblocking(False)
            one.connect_ex((LOOPBACK, port))
        world = World(servers, peer_dir, tsig_key, f"http://{LOOPBACK}:{port}/")
        assert world.daemon.wait_serial_other_than(ZONE, None) == 1
        world.publish(2)
        begun = time.monotonic()
        assert world.daemon.stop(60) == 0
        assert time.monotonic() - begun < PUBLISHED_S, "it does not wait for the webhook"
        for one in filler:
            one.close()
