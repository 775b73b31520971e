"""What can be asked of the key service: the requests of each operation and what becomes of the replies."""

from __future__ import annotations

import inspect
from typing import TypeVar

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_client import operations
from dnssecd.keyservice_client.client import AsyncSignerClient, SignerClient
from dnssecd.keyservice_client.operations import Operation

T = TypeVar("T")
PUBLIC = [
    name
    for name, value in vars(operations).items()
    if inspect.isgeneratorfunction(value) and not name.startswith("_")
]


def play(operation: Operation[T], *replies: wp.Message) -> tuple[list[wp.Request], T]:
    """Answer an operation's questions in turn; return its requests and its result."""
    asked: list[wp.Request] = []
    question = next(operation)
    for reply in replies:
        asked.append(question.request)
        assert isinstance(reply, question.kind)
        try:
            question = operation.send(reply)
        except StopIteration as end:
            assert len(asked) == len(replies)
            return asked, end.value
    raise AssertionError(f"asks for {question.request}")


def key(number: int, created: int = 0) -> wp.KeyInfo:
    return wp.KeyInfo(f"{number:032x}", "local", (b"\x00",), "zsk", 13, 256, 256, b"", 1, 2, created)


def test_pages_of_keys_are_asked_for_until_the_last() -> None:
    pages = (
        wp.KeysReply(0, (key(1, created=9), key(2, created=3)), more=True),
        wp.KeysReply(0, (key(3, created=3),), more=True),
        wp.KeysReply(0, (), more=True),
    )
    asked, found = play(operations.keys(b"\x03EXA\x00"), *pages)
    assert [(request.zone, request.after) for request in asked if isinstance(request, wp.KeysRequest)] == [
        (b"\x03exa\x00", ""),
        (b"\x03exa\x00", key(2).id),
        (b"\x03exa\x00", key(3).id),
    ]
    assert [one.id for one in found] == [key(2).id, key(3).id, key(1).id]


@pytest.mark.parametrize(
    "operation",
    [
        operations.generate(b"\x03EXA\x00", "ksk", 13),
        operations.generate_proven(b"\x03EXA\x00", "ksk", 13),
        operations.import_key(b"\x03EXA\x00", "ksk", 13, b""),
        operations.adopt(b"\x03EXA\x00", "ksk", 13),
        operations.bind(b"\x03EXA\x00", "k"),
        operations.remove(b"\x03EXA\x00", "k"),
        operations.prove(b"\x03EXA\x00", "k", b""),
        operations.report_bad(b"\x03EXA\x00", "k", b"", b""),
    ],
)
def test_zones_are_sent_in_lower_case(operation: Operation[object]) -> None:
    request = next(operation).request
    assert getattr(request, "zone", None) == b"\x03exa\x00"


def test_each_proof_has_a_nonce_of_its_own() -> None:
    requests = [next(operations.prove(b"\x00", "k", b"")).request for _ in range(2)]
    requests += [next(operations.generate_proven(b"\x00", "ksk", 13)).request for _ in range(2)]
    nonces = {one.nonce for one in requests if isinstance(one, wp.ProveRequest | wp.GenerateRequest)}
    assert len(nonces) == 4
    assert all(wp.NONCE_OCTETS_MIN <= len(nonce) <= wp.NONCE_OCTETS_MAX for nonce in nonces)


@pytest.mark.parametrize("client", [SignerClient, AsyncSignerClient])
def test_both_clients_offer_every_operation(client: type) -> None:
    offered = {inspect.unwrap(value) for value in vars(client).values() if callable(value)}
    assert {getattr(operations, name) for name in PUBLIC} <= offered
    assert len(PUBLIC) > 10
