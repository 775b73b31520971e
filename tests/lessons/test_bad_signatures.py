"""What signs is not believed: .de 2026, .se 2022, the stale handles of pkcs11-provider."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.rollover.key_service import KeyNotProven, prove_key
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import Proof
from dnssecd.pipeline.version import state
from tests.pipeline_zone import ZONE, PipelineZone
from tests.unit.alerts.rig import Rig


class Liar(SignerClient):
    """A key service that gives every third signature otherwise than it should."""

    lies = False
    count = 0

    def collect(self, ticket: int) -> list[bytes]:
        return [self.lie(signature) for signature in super().collect(ticket)]

    def lie(self, signature: bytes) -> bytes:
        self.count += 1
        return self.wrong(signature) if self.lies and self.count % 3 == 0 else signature

    def wrong(self, signature: bytes) -> bytes:
        raise NotImplementedError


class OtherKey(Liar):
    """Another HSM holds another key pair under the same key tag."""

    key = ec.generate_private_key(ec.SECP256R1())

    def wrong(self, signature: bytes) -> bytes:
        return signed(self.key, b"whatever")


class Flipped(Liar):
    """The HSM's arithmetic fails now and then."""

    def wrong(self, signature: bytes) -> bytes:
        return signature[:-1] + bytes((signature[-1] ^ 1,))


def publish_with(zone: PipelineZone, liar: type[Liar]) -> None:
    """Publish well once, then try an edit while the key service lies; nothing of it gets out."""
    assert zone.load(ZONE).result == "published"
    serial = zone.serial()
    honest, zone.signer = zone.signer, liar(zone.spec.signer_socket, owners=None)
    zone.signer.lies = True
    outcome = zone.load(ZONE + "new IN A 192.0.2.9\n")
    assert outcome.result == "failed"
    assert {problem.event for problem in outcome.problems} == {"verification-failed"}
    assert zone.serial() == serial, "incremental publishing is blocked too"
    zone.signer.close()
    zone.signer = honest
    assert zone.load(ZONE + "new IN A 192.0.2.9\n").result == "published"


def test_de_2026_one_key_pair_per_hsm(zone: PipelineZone) -> None:
    publish_with(zone, OtherKey)


def test_se_2022_bad_signatures(zone: PipelineZone) -> None:
    publish_with(zone, Flipped)


def test_de_2026_what_verification_finds_is_mailed_at_once(tmp_path: Path) -> None:
    """It reaches people, and again and again until it is over."""
    rig = Rig(tmp_path)
    rig.events.raise_event("verification-failed", "example.", "an RRSIG does not verify")
    rig.go(600)
    assert any("an RRSIG does not verify" in text for text in rig.way.texts)
    told = len(rig.way.sent)
    rig.go(2 * 86_400, step=600)
    assert len(rig.way.sent) > told
    assert "boss@example.com" in {address for parcel in rig.way.sent for address in parcel.recipients}
    rig.stop()


async def test_de_2026_every_token_proves_the_published_key_before_it_is_used(zone: PipelineZone) -> None:
    zone.load(ZONE)
    with zone.db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
    assert keyset is not None
    key = keyset.keys[0]
    client = SimpleNamespace(prove=_proofs(Proof("one", b"", b"", "another key"), Proof("two", b"", b"")))
    with pytest.raises(KeyNotProven, match="token one"):
        await prove_key(client, zone.spec.origin, key.key_id, key.rdata)  # type: ignore[arg-type]


def _proofs(*proofs: Proof) -> object:
    async def prove(*_: object) -> list[Proof]:
        return list(proofs)

    return prove


def test_pkcs11_provider_a_key_under_another_s_handle(zone: PipelineZone) -> None:
    """What a stale handle signs with: right algorithm, right size, just the octets that were asked for, wrong key."""
    assert zone.load(ZONE).result == "published"
    serial = zone.serial()
    with zone.db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
    assert keyset is not None
    _, zsk = (key.key_id for key in keyset.keys)
    other = ec.generate_private_key(ec.SECP256R1())
    stale: dict[int, list[bytes]] = {}

    class Stale(SignerClient):
        def submit(self, zone: bytes, key_id: str, preimages: list[bytes]) -> int:
            ticket = super().submit(zone, key_id, preimages)
            if key_id == zsk:
                stale[ticket] = preimages
            return ticket

        def collect(self, ticket: int) -> list[bytes]:
            signatures = super().collect(ticket)
            return [signed(other, preimage) for preimage in stale[ticket]] if ticket in stale else signatures

    honest, zone.signer = zone.signer, Stale(zone.spec.signer_socket, owners=None)
    outcome = zone.load(ZONE + "new IN A 192.0.2.9\n")
    zone.signer.close()
    zone.signer = honest
    assert stale, "the ZSK was asked"
    assert outcome.result == "failed"
    assert {problem.event for problem in outcome.problems} == {"verification-failed"}
    assert zone.serial() == serial


def test_pkcs11_provider_a_key_is_not_used_for_another_s_signatures(zone: PipelineZone) -> None:
    """Nor does the key service let one key sign what names another's tag."""
    assert zone.load(ZONE).result == "published"
    other = zone.signer.generate(zone.spec.origin, "zsk", 13, idempotency="another")

    class Mixed(SignerClient):
        def submit(self, zone: bytes, key_id: str, preimages: list[bytes]) -> int:
            return super().submit(zone, other.id, preimages)

    honest, zone.signer = zone.signer, Mixed(zone.spec.signer_socket, owners=None)
    outcome = zone.load(ZONE + "new IN A 192.0.2.9\n")
    zone.signer.close()
    zone.signer = honest
    assert outcome.result == "failed"
    assert "is not for that: key tag" in outcome.problems[0].cause


def signed(key: ec.EllipticCurvePrivateKey, preimage: bytes) -> bytes:
    """An ECDSA P-256 signature as RRSIGs have it (RFC 6605 section 4)."""
    r, s = decode_dss_signature(key.sign(preimage, ec.ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def test_opendnssec_a_hung_key_service_costs_a_deadline_and_no_more(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        began = time.monotonic()
        with (
            SignerClient(str(tmp_path / "s"), deadline_s=0.3, owners=None) as client,
            pytest.raises(SignerError),
        ):
            client.keys(text_to_wire("example."))
        assert time.monotonic() - began < 3


def test_opendnssec_a_lost_key_is_an_error_and_never_a_reason_to_make_one(zone: PipelineZone) -> None:
    assert zone.load(ZONE).result == "published"
    before = {key.id for key in zone.signer.keys(zone.spec.origin)}
    lost = sorted(before)[0]
    zone.signer.remove(zone.spec.origin, lost)
    outcome = zone.load(ZONE + "new IN A 192.0.2.9\n")
    assert outcome.result == "failed"
    assert "no new key is made" in outcome.problems[0].remedy
    assert {key.id for key in zone.signer.keys(zone.spec.origin)} == before - {lost}
