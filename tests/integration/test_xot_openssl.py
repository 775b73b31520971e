"""The TLS listener as others meet it: openssl s_client with old versions and bad certificates, and no patience."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, wait_event
from tests.integration.test_xot import World, cause
from tests.peers.certificates import Authority, Certificate
from tests.peers.dnssecd import Dnssecd
from tests.peers.nameserver import SecondaryZone
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tls_servers import TlsNamed
from tests.peers.tools import kdig, run
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

#: Handshakes that do not go on, by the address that they come from: a stranger's, and that of the secondary itself.
STALLED = {"127.0.0.2": 200, LOOPBACK: 100}


class Stage:
    """A daemon whose only secondary has to show its certificate; openssl as anybody."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey) -> None:
        self.world = world = World(home, key)
        theirs = world.authority.issue("ns1.test", file="theirs")
        self.secondary = TlsNamed(
            home / "secondary", [SecondaryZone(ZONE, world.tls_port, key)], world.tls(theirs)
        )
        world.add_secondary(self.secondary, mutual=True)
        self.theirs = theirs
        self.daemon: Dnssecd = world.daemon(servers)
        self.daemon.wait_serial_other_than(ZONE, None)

    def client(self, *words: str, shown: Certificate | None = None, octets: str = "") -> str:
        """What openssl says; it sends ``octets`` when the handshake is done."""
        own = [] if shown is None else ["-cert", str(shown.certificate), "-key", str(shown.key)]
        place = f"{LOOPBACK}:{self.world.tls_port}"
        trust = ["-CAfile", str(self.world.authority.path), "-verify_return_error"]
        return run("openssl", "s_client", "-connect", place, *trust, *own, *words, stdin=octets).text

    def asks(self) -> str:
        return kdig(self.world.tls_port, f"+tls-pin={self.world.ours.pin}", ZONE, "SOA").text


def test_a_refused_client_gets_the_reason(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    stage = Stage(servers, peer_dir, tsig_key)
    good = stage.client("-alpn", "dot")
    assert "ALPN protocol: dot" in good
    assert "New, TLSv1.3" in good
    assert "Verify return code: 0" in good
    for version in ("-tls1_2", "-tls1_1"):
        old = stage.client(version, "-cipher", "ALL:@SECLEVEL=0")
        assert "alert protocol version" in old, old
        assert "Cipher is (NONE)" in old

    late = stage.world.authority.issue("ns1.test", ends=timedelta(hours=-1), file="late")
    stranger = Authority(peer_dir / "other").issue("ns1.test")
    for shown, said in ((late, "alert certificate expired"), (stranger, "alert unknown ca")):
        assert "status: NOERROR" in stage.asks(), (
            "others are answered; a handshake that is done ends the event"
        )
        refused = stage.client("-alpn", "dot", "-ign_eof", shown=shown)
        assert said in refused, refused
        wait_until(lambda: "its certificate is refused" in cause(stage.daemon), "the event says so", 30)
    assert (
        stage.daemon.metric("dnssecd_tls_handshakes_total", direction="incoming", result="certificate") >= 2
    )

    # The peer's own certificate ends the event.
    assert "alert" not in stage.client("-alpn", "dot", shown=stage.theirs)
    wait_event(stage.daemon, "tls-failed", "", firing=False)


def test_stalled_handshakes_shut_no_peer_out(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Those of strangers give way, those from the address of the secondary are ended after their time."""
    stage = Stage(servers, peer_dir, tsig_key)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the first octets of a ClientHello
    with ExitStack() as held:
        stalled = []
        for source in (source for source, number in STALLED.items() for _ in range(number)):
            place = LOOPBACK, stage.world.tls_port
            one = held.enter_context(socket.create_connection(place, 5, (source, 0)))
            one.sendall(hello[: len(stalled) % len(hello)])
            stalled.append(one)
        assert "status: NOERROR" in stage.asks()
        servers.start(stage.secondary)
        stage.secondary.wait_serial(ZONE, 1, 60)
        wait_until(lambda: all(map(_is_closed, stalled)), "each has been ended", 60)


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
