"""Private keys stay in the key service: the memory of every other process of the daemon is searched for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dnssecd.signer.key_file import KeyEncryption, open_sealed, read
from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import Dnssecd, replace_file
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world

pytestmark = pytest.mark.integration

SCALAR_OCTETS = 32  # of a P-256 key


def private_scalars(store: Path) -> list[bytes]:
    """The secret numbers of all keys of a software key store, big-endian, opened as the key service does."""
    encryption = KeyEncryption((store / "passphrase").read_bytes().rstrip(b"\n"))
    scalars = []
    for path in store.rglob("*.key"):
        der = open_sealed(read(path.read_bytes()), encryption)
        private = serialization.load_der_private_key(der, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        scalars.append(private.private_numbers().private_value.to_bytes(SCALAR_OCTETS, "big"))
    return scalars


def process_family(pid: int) -> Iterator[int]:
    """The process and everything it started, by /proc."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from process_family(int(child))


def memory(pid: int) -> Iterator[bytes]:
    """The readable private and heap mappings of a process, one after another."""
    with (
        Path(f"/proc/{pid}/maps").open() as maps,
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as content,
    ):
        for line in maps:
            span, permissions = line.split()[:2]
            if not permissions.startswith("r") or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                content.seek(start)
                yield content.read(end - start)
            except (OSError, ValueError):
                continue


def holds(pid: int, needles: list[bytes]) -> bool:
    return any(needle in chunk for chunk in memory(pid) for needle in needles)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def settle(daemon: Dnssecd) -> None:
    """Let every process do some work with the keys in use."""
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    replace_file(Path(daemon.config["zone"][ZONE]["file"]), small_zone(2, "more A 192.0.2.1\n"))
    assert daemon.wait_serial_other_than(ZONE, 1) == 2


def test_only_the_key_service_holds_private_keys(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """The search looks for OpenSSL's number (least octet first) and for the big-endian octets of encodings.

    That it can find them is shown by finding them where they belong.
    """
    daemon = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=()).daemon
    settle(daemon)
    scalars = private_scalars(peer_dir / "keys")
    assert len(scalars) == 2
    needles = [*scalars, *(scalar[::-1] for scalar in scalars)]
    family = list(process_family(daemon.pid))
    holders = {pid for pid in family if holds(pid, needles)}
    signers = {pid for pid in family if "signer" in command_line(pid)}
    assert signers, [command_line(pid) for pid in family]
    assert holders, "the search does not find keys even where they are in use"
    assert holders <= signers, [command_line(pid) for pid in holders - signers]
    assert daemon.pid not in signers
