"""Two signers of one zone (RFC 8901, model 2): BIND or Knot joins dnssecd and leaves it; Unbound sees it secure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import pytest

from tests.integration.rollover_world import (
    CHILD,
    CHILD_ZONE,
    PARENT,
    Cache,
    Validator,
    Witness,
    start_rollover_world,
)
from tests.integration.signers_world import BindSigner, KnotSigner, Signer, start_signer
from tests.peers.knotd import Knotd
from tests.peers.nameserver import ask
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import nsupdate
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

THEIR_NS = f"ns2.{CHILD}"
#: All TTLs are 2 s.
ZONE = CHILD_ZONE.replace("www 6 A", "www A").replace("*.wild 6 TXT", "*.wild TXT")
WITH_BOTH = ZONE.replace("@ NS ns1\n", "@ NS ns1\n@ NS ns2\n").replace("ns1 A", f"ns2 A {LOOPBACK}\nns1 A")


class Both:
    """The world with another signer; what a person does is done here."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey, kind: type[Signer], **policy: Any) -> None:
        policy = {"dnskey_ttl": "2s", **policy}
        self.world = start_rollover_world(servers, home, key, kinds=(Knotd,), zone=ZONE, **policy)
        self.world.ttl_ds = 2
        self.servers, self.home, self.key = servers, home, key
        self.signer = start_signer(servers, kind, home / "other", ZONE, key)
        self.world.secure()
        zone = self.world.daemon.config["zone"][CHILD]
        zone["other_signers"] = {"other": {"servers": [self.signer.address], "ns": [THEIR_NS]}}
        self.world.configure()
        self.world.reload()

    def run(self, *words: str) -> str:
        done = self.world.daemon.cli(*words)
        assert done.ok, done
        return done.out

    def explained(self, text: str) -> bool:
        return text in self.run("explain", CHILD, "--rules")

    def hand_over_theirs(self) -> None:
        """Their DNSKEY RRset comes to us."""
        path = self.home / "theirs"
        path.write_text("".join(f"{CHILD} 4 IN DNSKEY {rdata}\n" for rdata in self.signer.dnskeys()))
        self.run("key", "import", CHILD, "--public-only", str(path), "--signer", "other")

    def our_zsks(self) -> list[str]:
        keys = [key for key in self.world.key_list() if key["role"] == "zsk" and not key["signer"]]
        return [key["public_key"] for key in keys if key["dnskey"] in ("rumoured", "omnipresent")]

    def theirs(self) -> dict[str, dict[str, Any]]:
        return {key["role"]: key for key in self.world.key_list() if key["signer"]}

    def follow_cds(self) -> None:
        """The parent does as CDS at our server say."""
        self.world.set_ds(self.world.wait_cds_new())

    def set_ns(self, *, theirs: bool) -> None:
        """Their NS come into the zone at both signers, then at the parent; or go."""
        (self.home / "input.zone").write_text((WITH_BOTH if theirs else ZONE).replace(" 1 3600", " 9 3600"))
        self.run("zone", "reload", CHILD)
        verb = "add" if theirs else "delete"
        self.signer.change(
            [f"update {verb} {CHILD} 2 NS {THEIR_NS}", f"update {verb} {THEIR_NS} 2 A {LOOPBACK}"], self.key
        )
        lines = (
            f"zone {PARENT}\nupdate {verb} {CHILD} 2 NS {THEIR_NS}\nupdate {verb} {THEIR_NS} 2 A {LOOPBACK}"
        )
        done = nsupdate(self.world.parent.port, lines, self.key, self.home)
        assert done.ok, done

    def witness(self) -> Witness:
        """A validator that asks servers of both signers, from now on."""
        answer = ask(self.world.parent.port, PARENT, "DNSKEY")
        assert answer is not None
        anchors = [f"{PARENT} DNSKEY {record.to_text()}" for record in answer.answer[0]]
        ports = [*(each.port for each in self.world.secondaries.values()), self.signer.port]
        cache = self.servers.start(
            Cache(self.home / "both", {PARENT: [self.world.parent.port], CHILD: ports})
        )
        resolver = self.servers.start(Validator(self.home / "both-validator", cache.port, anchors))
        wait_until(lambda: resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "the chain of trust")
        return Witness(resolver).start()

    def join(self) -> None:
        self.hand_over_theirs()
        self.world.wait(
            lambda: self.explained("bring it their DNSKEY"), "our ZSK is asked for at their servers"
        )
        assert len(self.world.cds()) == 1, "no DS of theirs is asked for yet"
        self.signer.publish(self.our_zsks(), self.key)
        self.follow_cds()
        assert len(self.world.ds()) == 2
        self.world.wait(lambda: self.explained("is ready: add its NS"), "the advice to add the NS")
        self.set_ns(theirs=True)
        self.world.wait_settled()

    def roll_zsk(self) -> None:
        """Our ZSK rolls; the new one signs when their DNSKEY RRset has it."""
        (old,) = self.our_zsks()
        self.run("key", "rollover", CHILD, "--role", "zsk")
        self.world.wait(lambda: self.explained("bring them its DNSKEY"), "the new ZSK waits for them")
        signing = [key["public_key"] for key in self.world.key_list() if key["zrrsig"] == "omnipresent"]
        assert signing == [old]
        self.signer.publish([key for key in self.our_zsks() if key != old], self.key)
        self.world.wait(lambda: old not in self.our_zsks(), "the old ZSK left")
        self.world.wait_settled()

    def leave(self) -> None:
        self.run("key", "remove-foreign", CHILD, "--signer", "other")
        self.world.wait(lambda: self.explained("still serves the zone"), "the wait for their NS")
        assert self.theirs()["zsk"]["dnskey"] == "omnipresent"
        self.set_ns(theirs=False)

    def wait_gone(self, *, wholly: bool) -> None:
        """Their zone-signing keys go, then their DS; wholly: until their KSK's DNSKEY is gone, too."""
        self.follow_cds()
        assert self.theirs()["zsk"]["dnskey"] in ("unretentive", "hidden"), "the DS goes last"
        assert len(self.world.ds()) == 1
        if not wholly:
            return
        self.world.wait_settled()
        assert {key["dnskey"] for key in self.theirs().values()} <= {"hidden"}
        found = ask(next(iter(self.world.secondaries.values())).port, CHILD, "DNSKEY")
        assert found is not None
        assert found.answer[0].rdtype == dns.rdatatype.DNSKEY
        assert len(found.answer[0]) == 2


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [BindSigner, pytest.param(KnotSigner, marks=pytest.mark.soak)])
def test_another_signer_joins_and_leaves(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, kind: type[Signer]
) -> None:
    both = Both(servers, peer_dir, tsig_key, kind)
    ours = both.world.witness()
    both.join()
    witness = both.witness()
    wait_until(lambda: sum(witness.verdicts.values()) > 20, "servers of both signers were asked")
    if kind is KnotSigner:
        both.roll_zsk()
    both.leave()
    witness.stop()
    both.wait_gone(wholly=kind is KnotSigner)
    ours.stop()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_we_join_a_zone_that_bind_signs_and_bind_leaves_it(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """A change of provider: BIND's keys come with the input, its DS is at the parent before ours."""
    signer = start_signer(servers, BindSigner, peer_dir / "other", ZONE, tsig_key)
    foreign = "".join(f"@ DNSKEY {rdata}\n" for rdata in signer.dnskeys())
    ksk = next(rdata for rdata in signer.dnskeys() if rdata.startswith("257 "))
    record = dns.rdata.from_text("IN", "DNSKEY", ksk)
    ds = dns.dnssec.make_ds(dns.name.from_text(CHILD), record, "SHA256").to_text()  # type: ignore[arg-type]
    world = start_rollover_world(
        servers,
        peer_dir,
        tsig_key,
        kinds=(Knotd,),
        zone=ZONE + foreign,
        dnskey_ttl="2s",
        foreign_keys="input",
        tag_range=[0, 32767],
    )
    world.ttl_ds = 2
    world.set_ds([ds])
    config = world.daemon.config["zone"][CHILD]
    config["other_signers"] = {"input": {"servers": [signer.address], "ns": [THEIR_NS]}}
    world.configure()
    world.reload()
    world.wait(
        lambda: "bring it their DNSKEY" in world.daemon.cli("explain", CHILD, "--rules").text,
        "the wait for BIND",
    )
    assert len(world.ds()) == 1
    ours = [key for key in world.key_list() if not key["signer"]]
    assert all(key["tag"] <= 32767 for key in ours)
    signer.publish([key["public_key"] for key in ours if key["role"] == "zsk"], tsig_key)
    world.set_ds(world.wait_cds_new())
    assert len(world.ds()) == 2
    witness = world.witness()
    world.wait(
        lambda: all(key["ds"] in ("omnipresent", None) for key in world.key_list()), "both DS everywhere"
    )
    (peer_dir / "input.zone").write_text(ZONE.replace(" 1 3600", " 9 3600"))
    assert world.daemon.cli("zone", "reload", CHILD).ok
    world.set_ds(world.wait_cds_new())
    world.wait_settled()
    assert len(world.ds()) == 1
    witness.stop()
