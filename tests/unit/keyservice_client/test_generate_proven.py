"""A key and its proof in one trip: as good as two requests, also with a key service of an earlier release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_client import operations
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import BadRequest
from dnssecd.keyservice_client.operations import Operation
from tests.pipeline_zone import running_signer

ZONE = text_to_wire("example.")
T = TypeVar("T")


@pytest.fixture(scope="module")
def signer() -> Iterator[SignerClient]:
    with running_signer() as socket, SignerClient(socket, owners=None) as client:
        yield client


class Trips:
    """Carries operations out with a real key service, and counts the trips; ``change`` falsifies replies."""

    def __init__(self, signer: SignerClient) -> None:
        self.signer = signer
        self.asked: list[wp.Request] = []

    def run(self, operation: Operation[T], change: Any = lambda reply: reply) -> T:
        try:
            question = next(operation)
            while True:
                self.asked.append(question.request)
                reply = self.signer._wait(self.signer._send(question.request), question.kind)
                question = operation.send(change(reply))
        except StopIteration as end:
            result: T = end.value
            return result


def test_one_trip_makes_and_proves(signer: SignerClient) -> None:
    trips = Trips(signer)
    key, proofs = trips.run(operations.generate_proven(ZONE, "zsk", 13, idempotency="a"))
    assert len(trips.asked) == 1
    assert [(proof.token, proof.error) for proof in proofs] == [("local", "")]
    assert key in signer.keys(ZONE)
    again, proofs = trips.run(operations.generate_proven(ZONE, "zsk", 13, idempotency="a"))
    assert again == key
    assert [proof.error for proof in proofs] == [""]


def test_an_earlier_key_service_is_asked_for_the_proof(signer: SignerClient) -> None:
    def without(reply: Any) -> Any:
        return msgspec.structs.replace(reply, proofs=()) if isinstance(reply, wp.KeysReply) else reply

    trips = Trips(signer)
    key, proofs = trips.run(operations.generate_proven(ZONE, "zsk", 13, idempotency="b"), without)
    assert [type(request) for request in trips.asked] == [wp.GenerateRequest, wp.ProveRequest]
    assert [(proof.token, proof.error) for proof in proofs] == [("local", "")]
    assert key in signer.keys(ZONE)


def test_messages_of_an_earlier_release_are_read() -> None:
    """Fields were added at the end: who does not know them leaves them out, or does not read them."""
    request = wp.GenerateRequest(2, ZONE, "zsk", 13, nonce=bytes(32))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(request))
    earlier = msgspec.msgpack.encode(fields[:-1])
    assert wp.decode_request(earlier) == msgspec.structs.replace(request, nonce=b"")
    reply = wp.KeysReply(2, (), False, (wp.Proof("local", b"", b""),))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(reply))
    assert wp.decode_reply(msgspec.msgpack.encode(fields[:-3])) == msgspec.structs.replace(reply, proofs=())
    longer = msgspec.msgpack.encode([*fields, "of a later release"])
    assert wp.decode_reply(longer) == reply


@pytest.mark.parametrize("field", ["signature", "preimage"])
def test_a_proof_that_is_not_good_is_found(signer: SignerClient, field: str) -> None:
    def falsified(reply: Any) -> Any:
        (proof,) = reply.proofs
        octets = bytearray(getattr(proof, field))
        octets[-1] ^= 1
        return msgspec.structs.replace(
            reply, proofs=(msgspec.structs.replace(proof, **{field: bytes(octets)}),)
        )

    _, proofs = Trips(signer).run(operations.generate_proven(ZONE, "zsk", 13, idempotency="c"), falsified)
    assert all(proof.error for proof in proofs)


def test_a_proof_of_another_key_is_found(signer: SignerClient) -> None:
    other = signer.generate(ZONE, "ksk", 13, idempotency="other")

    def exchanged(reply: Any) -> Any:
        return msgspec.structs.replace(reply, keys=(other,))

    _, (proof,) = Trips(signer).run(operations.generate_proven(ZONE, "zsk", 13, idempotency="d"), exchanged)
    assert "does not verify with the published DNSKEY" in proof.error


@pytest.mark.parametrize("octets", [1, wp.NONCE_OCTETS_MIN - 1, wp.NONCE_OCTETS_MAX + 1])
def test_no_key_is_made_for_a_bad_nonce(signer: SignerClient, octets: int) -> None:
    before = signer.keys(ZONE)
    request = wp.GenerateRequest(0, ZONE, "zsk", 13, nonce=bytes(octets))
    with pytest.raises(BadRequest, match="nonce must be"):
        signer._wait(signer._send(request), wp.KeysReply)
    assert signer.keys(ZONE) == before
