"""All keys of a new zone in one trip: as good as one request for each, and only for a zone that has none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_client import operations
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import BadRequest, SignerBroken
from tests.pipeline_zone import running_signer
from tests.unit.keyservice_client.test_generate_proven import Trips

NUMBERS = itertools.count()
BOTH = (wp.KeyOrder("ksk", 13, "local", 0, "a ksk"), wp.KeyOrder("zsk", 13, "local", 0, "a zsk"))


@pytest.fixture(scope="module")
def signer() -> Iterator[SignerClient]:
    with running_signer() as socket, SignerClient(socket, owners=None) as client:
        yield client


@pytest.fixture
def zone() -> bytes:
    return text_to_wire(f"z{next(NUMBERS)}.example.")


def test_one_trip_makes_and_proves_all(signer: SignerClient, zone: bytes) -> None:
    trips = Trips(signer)
    made, proven = trips.run(operations.keys_or_new(zone, BOTH))
    assert len(trips.asked) == 1
    assert [(key.role, key.store, key.zones) for key in made] == [
        ("ksk", "local", (zone,)),
        ("zsk", "local", (zone,)),
    ]
    assert len({key.tag for key in made} | {key.revoked_tag for key in made}) == 4
    assert [[(one.token, one.error) for one in proven[key.id]] for key in made] == [[("local", "")]] * 2
    assert sorted(key.id for key in signer.keys(zone)) == sorted(key.id for key in made)
    again, proven = trips.run(operations.keys_or_new(zone, BOTH))
    assert (again, proven) == (signer.keys(zone), {})
    assert signer.generate(zone, "zsk", 13, idempotency="a zsk") == made[1], "the text finds the key"


def test_a_zone_with_a_key_gets_no_other(signer: SignerClient, zone: bytes) -> None:
    held = signer.generate(zone, "csk", 13)
    assert signer.keys_or_new(zone, BOTH) == ([held], {})


def test_an_earlier_key_service_makes_none(signer: SignerClient, zone: bytes) -> None:
    request = wp.KeysRequest(2, zone, "", BOTH, nonce=bytes(32))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(request))
    assert wp.decode_request(msgspec.msgpack.encode(fields[:-4])) == wp.KeysRequest(2, zone)
    empty = Trips(signer)
    assert empty.run(operations.keys_or_new(zone, BOTH), lambda reply: wp.KeysReply(reply.id, ())) == ([], {})


@pytest.mark.parametrize("field", ["signature", "preimage"])
def test_a_proof_that_is_not_good_is_found(signer: SignerClient, zone: bytes, field: str) -> None:
    def falsified(reply: Any) -> Any:
        octets = bytearray(getattr(reply.made[1][0], field))
        octets[-1] ^= 1
        bad = msgspec.structs.replace(reply.made[1][0], **{field: bytes(octets)})
        return msgspec.structs.replace(reply, made=(reply.made[0], (bad,)))

    made, proven = Trips(signer).run(operations.keys_or_new(zone, BOTH), falsified)
    assert [bool(proven[key.id][0].error) for key in made] == [False, True]


def test_proofs_of_other_keys_are_found(signer: SignerClient, zone: bytes) -> None:
    def exchanged(reply: Any) -> Any:
        return msgspec.structs.replace(reply, made=reply.made[::-1])

    made, proven = Trips(signer).run(operations.keys_or_new(zone, BOTH), exchanged)
    assert all("does not verify with the published DNSKEY" in proven[key.id][0].error for key in made)
    with pytest.raises(SignerBroken, match="proofs for other keys"):
        Trips(signer).run(
            operations.keys_or_new(text_to_wire("few.example."), BOTH),
            lambda reply: msgspec.structs.replace(reply, made=reply.made[:1]),
        )


@pytest.mark.parametrize(
    "request_",
    [
        wp.KeysRequest(0, b"", "", BOTH, nonce=bytes(32)),
        wp.KeysRequest(0, b"\1a\0", "", BOTH),
        wp.KeysRequest(0, b"\1a\0", "", (wp.KeyOrder("ksk", 13, "nowhere"),), nonce=bytes(32)),
    ],
)
def test_nothing_is_made_for_a_bad_request(signer: SignerClient, request_: wp.KeysRequest) -> None:
    before = signer.keys()
    with pytest.raises(BadRequest):
        signer._wait(signer._send(request_), wp.KeysReply)
    assert signer.keys() == before


def test_keys_of_several_zones_in_one_trip(signer: SignerClient) -> None:
    zones = [text_to_wire(f"several{number}.example.") for number in range(4)]
    for zone in zones[1:3]:
        signer.keys_or_new(zone, BOTH)
    shared = signer.generate(zones[0], "csk", 13, share="all")
    assert signer.generate(zones[3], "csk", 13, share="all").id == shared.id
    trips = Trips(signer)
    found = trips.run(operations.keys_of_zones(zones))
    assert len(trips.asked) == 1
    assert found == [signer.keys(zone) for zone in zones]
    assert [len(keys) for keys in found] == [1, 2, 2, 1]
    trips = Trips(signer)

    def earlier(reply: wp.KeysReply) -> wp.KeysReply:
        return msgspec.structs.replace(reply, counts=())

    assert trips.run(operations.keys_of_zones(zones), earlier) == found
    assert [request.also for request in trips.asked if isinstance(request, wp.KeysRequest)] == [
        tuple(zones[1:]),
        *[()] * 4,
    ]
