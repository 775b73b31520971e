"""Carrying out a signature plan: preimages to the key service, RRSIGs into the transaction, in batches."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from dnssecd.core.keyset import SigningKey, SigningView
from dnssecd.core.rrset import Rrsigs, pack
from dnssecd.core.rrsig import RrsigBuilder
from dnssecd.core.signplan import Drop, SignNeed, signers
from dnssecd.signing.client import SignerClient
from dnssecd.store.zonedb import WriteTransaction

BATCH_RRSETS = 256
BATCH_OCTETS_MAX = 16 * 1024


class Made(NamedTuple):
    """What was done: RRSIGs made and RRsets whose RRSIGs were dropped."""

    signatures: int
    dropped: int


class _Part(NamedTuple):
    """The share of one key in a batch: which of its RRsets, the RRSIG heads, what is signed."""

    key: SigningKey
    indexes: list[int]
    heads: list[bytes]
    preimages: list[bytes]


class _Batch(NamedTuple):
    needs: list[tuple[SignNeed, int]]
    parts: list[_Part]


def carry_out(
    plan: Iterable[SignNeed | Drop],
    transaction: WriteTransaction,
    view: SigningView,
    builder: RrsigBuilder,
    signer: SignerClient,
) -> Made:
    """Sign what the plan needs and write it; the signatures are unverified until core.verify has seen them."""
    dropped: list[Rrsigs] = []
    waiting: deque[_Batch] = deque()
    made = dropped_count = 0

    def requests() -> Iterator[tuple[bytes, str, list[bytes]]]:
        for batch in _batches(plan, view, builder, dropped):
            waiting.append(batch)
            for part in batch.parts:
                yield transaction.origin, part.key.key_id, part.preimages

    answers: list[list[bytes]] = []
    for signatures in signer.sign_stream(requests()):
        answers.append(signatures)
        made += len(signatures)
        if len(answers) == len(waiting[0].parts):
            transaction.put_rrsigs(_rows(waiting.popleft(), answers))
            answers = []
            dropped_count += _flush(transaction, dropped)
    dropped_count += _flush(transaction, dropped)
    assert not waiting, "every batch has been answered"
    return Made(made, dropped_count)


def _flush(transaction: WriteTransaction, dropped: list[Rrsigs]) -> int:
    count = len(dropped)
    if count:
        transaction.delete_rrsigs(dropped)
        dropped.clear()
    return count


def _batches(
    plan: Iterable[SignNeed | Drop], view: SigningView, builder: RrsigBuilder, dropped: list[Rrsigs]
) -> Iterator[_Batch]:
    needs = _needs_only(plan, dropped)
    while chunk := _chunk(needs):
        yield _batch(chunk, view, builder)


def _needs_only(plan: Iterable[SignNeed | Drop], dropped: list[Rrsigs]) -> Iterator[SignNeed]:
    for step in plan:
        if isinstance(step, Drop):
            dropped.append(step.old)
        else:
            yield step


def _chunk(needs: Iterator[SignNeed]) -> list[SignNeed]:
    chunk: list[SignNeed] = []
    octets = 0
    for need in islice(needs, BATCH_RRSETS):
        chunk.append(need)
        octets += len(need.rrset.rdata)
        if octets > BATCH_OCTETS_MAX:
            break
    return chunk


def _batch(chunk: list[SignNeed], view: SigningView, builder: RrsigBuilder) -> _Batch:
    parts: dict[str, _Part] = {}
    needs = []
    for index, need in enumerate(chunk):
        rrset = need.rrset
        expiration = builder.expiration(rrset)
        body = builder.body(rrset)
        needs.append((need, expiration))
        keys = signers(view, rrset.rtype)
        assert keys, "a key set without a key for every type is never planned"
        for key in keys:
            ref = f"{key.key_id}/{key.flags}"
            part = parts.get(ref)
            if part is None:
                part = parts[ref] = _Part(key, [], [], [])
            head = builder.head(rrset, key, expiration)
            part.indexes.append(index)
            part.heads.append(head)
            part.preimages.append(head + body)
    return _Batch(needs, list(parts.values()))


def _rows(batch: _Batch, answers: list[list[bytes]]) -> list[tuple[Rrsigs | None, Rrsigs, int]]:
    rdatas: list[list[bytes]] = [[] for _ in batch.needs]
    for part, signatures in zip(batch.parts, answers, strict=True):
        for index, head, signature in zip(part.indexes, part.heads, signatures, strict=True):
            rdatas[index].append(head + signature)
    return [
        (need.old, Rrsigs(need.rrset.owner, need.rrset.rtype, need.rrset.ttl, pack(rdata)), expiration)
        for (need, expiration), rdata in zip(batch.needs, rdatas, strict=True)
    ]
