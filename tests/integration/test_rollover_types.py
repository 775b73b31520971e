"""Every kind of roll-over in real time, before a validator that is asked all the time."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.dnssec
import pytest

from tests.integration.rollover_world import CHILD, CHILD_ZONE, RolloverWorld, start_rollover_world
from tests.peers.process import Servers
from tests.peers.tools import kzonecheck, ldns_verify_zone
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(600)]

LATE_S = 4.0
CSK = {"ksk": None, "zsk": None}


def key(algorithm: str, **more: Any) -> dict[str, Any]:
    return {"algorithm": algorithm, "lifetime": "unlimited"} | more


def pair(algorithm: str, **more: Any) -> dict[str, Any]:
    return {"ksk": key(algorithm, **more), "zsk": key(algorithm, **more)}


@dataclass
class Kind:
    """start: policy to begin with; change: policy to go to; command: what is typed; done: what is to come of it.

    again: policy to go to when the first change is under way; more: what the zone has besides.
    """

    start: dict[str, Any] = field(default_factory=dict)
    change: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    commands: tuple[Callable[[RolloverWorld], list[str]], ...] = ()
    done: Callable[[RolloverWorld], bool] = lambda world: True
    more: str = ""


def algorithms(*wanted: int) -> Callable[[RolloverWorld], bool]:
    return lambda world: {k["algorithm"] for k in world.present()} == set(wanted)


def roles(*wanted: str) -> Callable[[RolloverWorld], bool]:
    return lambda world: sorted(k["role"] for k in world.present()) == sorted(wanted)


def roll(role: str) -> Callable[[RolloverWorld], list[str]]:
    return lambda world: ["key", "rollover", CHILD, "--role", role]


def compromised(role: str) -> Callable[[RolloverWorld], list[str]]:
    return lambda world: ["key", "compromised", CHILD, "--key-tag", str(world.in_use(role)["tag"])]


def lost(role: str) -> Callable[[RolloverWorld], list[str]]:
    return lambda world: ["key", "lost", CHILD, str(world.in_use(role)["tag"]), "--do"]


def revoked(*flags: int) -> Callable[[RolloverWorld], bool]:
    """The DNSKEY RRset at the first secondary has these flags: 385 is a KSK with the REVOKE bit (RFC 5011)."""
    return lambda world: world.dnskey_flags() == sorted(flags)


def denied_by(rrtype: str) -> Callable[[RolloverWorld], bool]:
    """Each secondary has records of this type."""
    return lambda world: all(
        any(f" IN {rrtype} " in line for line in second.zone_content(CHILD))
        for second in world.secondaries.values()
    )


def opted_out(world: RolloverWorld) -> bool:
    """Each secondary has NSEC3 of opt-out alone, and none for the unsigned delegation (RFC 5155 section 6)."""
    skipped = dns.dnssec.nsec3_hash(f"sub.{CHILD}", None, 0, "SHA1").lower()
    for second in world.secondaries.values():
        chain = [line for line in second.zone_content(CHILD) if " IN NSEC3 " in line]
        if not chain or not all(" IN NSEC3 1 1 " in line for line in chain):
            return False
        if any(line.lower().startswith(skipped) for line in chain):
            return False
    return True


def replaced(role: str) -> Callable[[RolloverWorld], bool]:
    """The first key of a role is gone, and another's signatures are everywhere."""

    def done(world: RolloverWorld) -> bool:
        keys = world.key_list()
        others = [key for key in keys if key["role"] == role and key["tag"] not in world.first]
        gone = not {key["tag"] for key in world.present() if key["role"] == role} & world.first
        return gone and any(key["zrrsig"] == "omnipresent" for key in others)

    return done


def modulus_bits(bits: int) -> Callable[[RolloverWorld], bool]:
    """At each secondary a KSK and a ZSK, both RSA with moduli so long (RFC 3110 section 2)."""

    def done(world: RolloverWorld) -> bool:
        for second in world.secondaries.values():
            found = [
                line.split(" DNSKEY ")[1] for line in second.zone_content(CHILD) if " IN DNSKEY " in line
            ]
            keys = [b64decode("".join(text.split()[3:])) for text in found]
            if [8 * (len(key) - 1 - key[0]) for key in keys] != [bits, bits]:
                return False
        return True

    return done


def changes_denial(kind: Kind) -> bool:
    """Whether keys stay as they are and only the proofs of non-existence change."""
    return bool({"denial", "nsec3_opt_out"} & kind.change.keys())


KINDS = {
    "csk": Kind(start={"csk": key("ed25519"), "zsk": None}, commands=(roll("csk"),), done=roles("csk")),
    "zsk and ksk at once": Kind(commands=(roll("zsk"), roll("ksk")), done=roles("ksk", "zsk")),
    "algorithm 8 to 13": Kind(
        start=pair("rsasha256", bits=2048), change=pair("ecdsap256sha256"), done=algorithms(13)
    ),
    "algorithm 13 to 15": Kind(change=pair("ed25519"), done=algorithms(15)),
    "algorithm 15 to 13": Kind(start=pair("ed25519"), change=pair("ecdsap256sha256"), done=algorithms(13)),
    "key size": Kind(
        start=pair("rsasha256", bits=2048), change=pair("rsasha256", bits=3072), done=modulus_bits(3072)
    ),
    "ksk and zsk to csk": Kind(
        change={"csk": key("ecdsap256sha256"), "ksk": None, "zsk": None}, done=roles("csk")
    ),
    "csk to ksk and zsk": Kind(
        start={"csk": key("ecdsap256sha256"), "zsk": None},
        change={"csk": None, **pair("ecdsap256sha256")},
        done=roles("ksk", "zsk"),
    ),
    "csk 13 to ksk and zsk 15": Kind(
        start={"csk": key("ecdsap256sha256"), "zsk": None},
        change={"csk": None, **pair("ed25519")},
        done=algorithms(15),
    ),
    "nsec3 to nsec": Kind(change={"denial": "nsec"}, done=denied_by("NSEC")),
    "nsec to nsec3": Kind(start={"denial": "nsec"}, change={"denial": "nsec3"}, done=denied_by("NSEC3")),
    "nsec3 to opt-out": Kind(change={"nsec3_opt_out": True}, done=opted_out, more="sub NS ns.else.\n"),
    "key store to key store": Kind(
        change={"keystore": "other"},
        done=lambda world: {k["keystore"] for k in world.present()} == {"other"},
    ),
    "the ksk's key store": Kind(
        change={"ksk": key("ecdsap256sha256", keystore="other")},
        done=lambda world: (
            {(k["role"], k["keystore"]) for k in world.present()} == {("ksk", "other"), ("zsk", "local")}
        ),
    ),
    "zsk compromised": Kind(commands=(compromised("zsk"),), done=roles("ksk", "zsk")),
    "ksk compromised": Kind(commands=(compromised("ksk"),), done=roles("ksk", "zsk")),
    "csk compromised": Kind(
        start={"csk": key("ecdsap256sha256"), "zsk": None}, commands=(compromised("csk"),), done=roles("csk")
    ),
    "zsk lost, with a standby": Kind(
        start={"standby_zsk": True}, commands=(lost("zsk"),), done=roles("ksk", "zsk", "zsk")
    ),
    "ksk lost": Kind(commands=(lost("ksk"),), done=roles("ksk", "zsk")),
    "ksk lost, with a standby": Kind(
        start={"standby_ksk": True},
        commands=(lost("ksk"),),
        done=lambda world: (
            sorted(k["goal"] for k in world.key_list() if k["role"] == "ksk" and k["ds"] == "omnipresent")
            == ["present", "standby"]
        ),
    ),
    "zsk by its lifetime": Kind(start={"zsk": key("ecdsap256sha256", lifetime="90s")}, done=replaced("zsk")),
    "algorithm 13 to 15, given up half-way": Kind(
        change=pair("ed25519"), again=pair("ecdsap256sha256"), done=algorithms(13)
    ),
    "ksk revoked": Kind(
        commands=(lambda world: ["key", "revoke", CHILD, "--key-tag", str(world.in_use("ksk")["tag"])],),
        done=revoked(256, 257, 385),
    ),
    "stand-by ksk comes": Kind(
        change={"standby_ksk": True},
        done=lambda world: (
            sorted(k["goal"] for k in world.key_list() if k["role"] == "ksk") == ["present", "standby"]
        ),
    ),
    "stand-by ksk takes over": Kind(
        start={"standby_ksk": True},
        commands=(compromised("ksk"),),
        done=lambda world: (
            sorted(k["goal"] for k in world.key_list() if k["role"] == "ksk" and k["ds"] == "omnipresent")
            == ["present", "standby"]
        ),
    ),
}


def drive(world: RolloverWorld, done: Callable[[RolloverWorld], bool], timeout: float = 240.0) -> None:
    """Let everything happen, the parent late, until it is done and all is settled."""
    ends, differs = time.monotonic() + timeout, 0.0
    before = world.states()
    while time.monotonic() < ends:
        wanted = world.asked_of_parent()
        if wanted is None:
            wanted = world.handed_over()  # a lost KSK: there is no CDS
        if wanted is None or wanted == world.ds():
            differs = 0.0
        elif not differs:
            differs = time.monotonic()
        elif time.monotonic() - differs > LATE_S:
            world.set_ds(wanted)
        if world.is_settled() and world.states() != before and done(world):
            return
        time.sleep(0.3)
    raise AssertionError(
        f"not within {timeout} s\n{world.daemon.cli('explain', CHILD).out}\n{world.states()}"
    )


def check_referees(world: RolloverWorld) -> None:
    """What is left in the end is a zone that ldns and Knot accept, CDS and CDNSKEY included."""
    path = world.home / "exported.zone"
    now = int(time.time())  # its signatures are good for seconds only
    exported = world.daemon.cli("zone", "export", CHILD, "-o", str(path))
    assert exported.ok, exported
    at = time.strftime("%Y%m%d%H%M%S", time.gmtime(now))
    verdicts = [ldns_verify_zone(path, CHILD, at=at)]
    if not any(key["goal"] == "standby" for key in world.key_list()):
        verdicts.append(kzonecheck(path, CHILD, at=now))  # it wants every CDNSKEY to be in the DNSKEY RRset
    for verdict in verdicts:
        assert verdict.ok, verdict


@pytest.mark.parametrize("name", KINDS)
def test_no_validator_notices(name: str, servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    kind = KINDS[name]
    world = start_rollover_world(servers, peer_dir, tsig_key, zone=CHILD_ZONE + kind.more, **kind.start)
    world.secure()
    witness = world.witness()
    witness.opt_out = "nsec3_opt_out" in kind.change
    before = world.states()
    for command in kind.commands:
        done = world.daemon.cli(*command(world))
        assert done.ok, done
    if kind.change:
        world.configure(**kind.change)
        planned = world.daemon.cli("plan")
        assert planned.ok, planned
        assert CHILD in planned.out, planned
        world.reload()
    if kind.again:
        world.wait(lambda: len({k["algorithm"] for k in world.present()}) == 2, "it is under way")
        world.configure(**kind.again)
        world.reload()
    if changes_denial(kind):
        world.wait(lambda: kind.done(world), name)
        time.sleep(LATE_S)
    else:
        drive(world, lambda world: world.states() != before and kind.done(world))
    witness.stop()
    check_referees(world)


def test_validators_follow_a_ksk_without_a_parent(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """RFC 5011: Unbound trusts the new KSK when it was there for long enough, and the old one no more when revoked."""
    world = start_rollover_world(servers, peer_dir, tsig_key, island=True, rfc5011=True)
    world.wait(lambda: {k["dnskey"] for k in world.key_list()} == {"omnipresent"}, "the first keys")
    witness = world.follower()
    old = world.in_use("ksk")["tag"]
    assert world.daemon.cli(*roll("ksk")(world)).ok
    world.wait(lambda: world.dnskey_flags() == [256, 257, 257], "the new KSK")
    world.wait(lambda: world.dnskey_flags() == [256, 257, 385], "the old KSK is revoked", 120)
    world.wait(lambda: world.dnskey_flags() == [256, 257], "the old KSK is gone", 120)
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "it is trusted")
    time.sleep(LATE_S)
    assert world.in_use("ksk")["tag"] != old
    witness.stop()
    anchors = (peer_dir / "follower" / "anchors").read_text()
    assert f"id = {world.in_use('ksk')['tag']} (ksk), size = 256b}} ;;state=2 [  VALID  ]" in anchors.replace(
        "\t", " "
    ), anchors


def test_a_zone_goes_insecure_and_comes_back(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    world = start_rollover_world(servers, peer_dir, tsig_key)
    world.secure()
    witness = world.witness()
    time.sleep(LATE_S)
    witness.insecure = True
    world.configure(signed=False)
    world.reload()
    drive(world, lambda world: not world.present())
    assert world.ds() == []
    assert not [line for line in world.daemon.zone_content(CHILD) if " IN RRSIG " in line]
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", False), "it is insecure")
    world.configure(signed=True)
    world.reload()
    drive(world, lambda world: len(world.present()) == 2 and bool(world.ds()))
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "it is secure")
    witness.stop()
