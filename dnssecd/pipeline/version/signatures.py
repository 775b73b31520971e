"""Carrying out a signature plan: preimages to the key service, RRSIGs into the transaction, in batches."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from queue import Empty, Full, Queue, SimpleQueue
from typing import NamedTuple

from dnssecd.core.dns.rrset import Rrsigs, pack, pack_one
from dnssecd.core.keys.keyset import SigningKey, SigningView
from dnssecd.core.signing.rrsig import RrsigBuilder
from dnssecd.core.signing.signplan import Drop, SignNeed, signed_as, signers
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.store.interface import Transaction

BATCH_RRSETS = 256
#: Batches waiting for the key service: enough to keep it busy while a denial chain is made.
WAITING_MAX = 512
BATCH_OCTETS_MAX = 16 * 1024


Request = tuple[bytes, str, list[bytes]]


class Made(NamedTuple):
    """What was done: RRSIGs made and RRsets whose RRSIGs were dropped."""

    signatures: int
    dropped: int


class SigningPump:
    """Keeps the key service busy from a thread of its own, so that planning goes on meanwhile.

    A context manager; what is put comes back finished, in order. An error of the key service is raised by the
    next call.
    """

    def __init__(self, signer: SignerClient) -> None:
        self._signer = signer
        self._requests: Queue[Request | None] = Queue(WAITING_MAX)
        self._answers: SimpleQueue[list[bytes] | BaseException | None] = SimpleQueue()
        self._waiting: deque[tuple[_Batch, int]] = deque()
        self._held: list[list[bytes]] = []
        self._thread = threading.Thread(target=self._run, name="signing", daemon=True)

    def __enter__(self) -> "SigningPump":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # After an error in planning the thread may still be owed an end; its queue may be full.
        while self._thread.is_alive():
            with suppress(Full):
                self._requests.put(None, timeout=0.1)
                self._thread.join()

    def _run(self) -> None:
        try:
            for signatures in self._signer.sign_stream(self._drawn()):
                self._answers.put(signatures)
        except BaseException as error:  # handed to the thread that plans
            self._answers.put(error)
            self._drain()
        else:
            self._answers.put(None)

    def _drawn(self) -> Iterator[Request]:
        while (request := self._requests.get()) is not None:
            yield request

    def _drain(self) -> None:
        """Take what is still put, so that nobody waits for room, until the end is put."""
        while self._requests.get() is not None:
            pass

    def put(self, batch: "_Batch", requests: list[Request]) -> None:
        """Hand over a batch; waits while too much is waiting."""
        self._waiting.append((batch, len(requests)))
        for request in requests:
            self._requests.put(request)

    def finished(self) -> Iterator[tuple["_Batch", list[list[bytes]]]]:
        """Yield the batches that are finished, with the signatures of each request; does not wait."""
        while self._waiting:
            try:
                answer = self._answers.get_nowait()
            except Empty:
                return
            yield from self._take(answer)

    def rest(self, meanwhile: Callable[[], bool]) -> Iterator[tuple["_Batch", list[list[bytes]]]]:
        """Yield all that is left; while there is nothing to take ``meanwhile`` is done rather than waited."""
        self._requests.put(None)
        while self._waiting:
            if self._answers.empty() and meanwhile():
                continue
            yield from self._take(self._answers.get())
        self._thread.join()

    def _take(
        self, answer: list[bytes] | BaseException | None
    ) -> Iterator[tuple["_Batch", list[list[bytes]]]]:
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None, "every request is answered before the end"
        self._held.append(answer)
        if len(self._held) == self._waiting[0][1]:
            held, self._held = self._held, []
            yield self._waiting.popleft()[0], held


class _Part(NamedTuple):
    """The share of one key in a batch: which of its RRsets, the RRSIG heads, what is signed."""

    key: SigningKey
    indexes: list[int]
    heads: list[bytes]
    preimages: list[bytes]


class _Batch(NamedTuple):
    """RRsets to sign, when the signatures of each expire, and what each key signs."""

    needs: list[SignNeed]
    expirations: list[int]
    parts: list[_Part]


def carry_out(
    plan: Iterable[SignNeed | Drop],
    transaction: Transaction,
    view: SigningView,
    builder: RrsigBuilder,
    signer: SignerClient,
    meanwhile: Callable[[], bool] | None = None,
    told: Progress = untold,
) -> Made:
    """Sign what the plan needs and write it; the signatures are unverified until core.verify has seen them.

    The plan is drawn on while the key service works on what came before; when all is planned, ``meanwhile`` is
    called, a piece of other work, as long as there is nothing to take and it did something. Raises SignerError.
    """
    dropped: list[Rrsigs] = []
    batches = _Batcher(view, builder, dropped).batches(plan)
    first, second = next(batches, None), next(batches, None)
    if second is None:
        made = _sign_now(first, transaction, signer) if first is not None else 0
        return Made(made, _flush(transaction, dropped))
    made = dropped_count = 0
    with SigningPump(signer) as pump:
        for batch in chain(filter(None, (first, second)), batches):
            pump.put(batch, [(transaction.origin, part.key.key_id, part.preimages) for part in batch.parts])
            for done, answers in pump.finished():
                transaction.put_rrsigs(_rows(done, answers))
                made += sum(map(len, answers))
                told("sign", made, None)
            dropped_count += _flush(transaction, dropped)
        for done, answers in pump.rest(meanwhile or _nothing_else):
            transaction.put_rrsigs(_rows(done, answers))
            made += sum(map(len, answers))
            told("sign", made, None)
    return Made(made, dropped_count + _flush(transaction, dropped))


def _sign_now(batch: _Batch, transaction: Transaction, signer: SignerClient) -> int:
    """Sign the only batch there is, without a thread: what a small change comes to."""
    tickets = [signer.submit(transaction.origin, part.key.key_id, part.preimages) for part in batch.parts]
    answers = [signer.collect(ticket) for ticket in tickets]
    transaction.put_rrsigs(_rows(batch, answers))
    return sum(map(len, answers))


def _nothing_else() -> bool:
    return False


def _flush(transaction: Transaction, dropped: list[Rrsigs]) -> int:
    count = len(dropped)
    if count:
        transaction.delete_rrsigs(dropped)
        dropped.clear()
    return count


class _Batcher:
    """Makes batches of what the plan needs; ``dropped`` takes in what it drops."""

    def __init__(self, view: SigningView, builder: RrsigBuilder, dropped: list[Rrsigs]) -> None:
        self._view, self._builder, self._dropped = view, builder, dropped
        self._numbers: dict[SigningKey, int] = {}
        self._signers: dict[int, list[tuple[int, SigningKey]]] = {}

    def batches(self, plan: Iterable[SignNeed | Drop]) -> Iterator[_Batch]:
        """Yield batches, each as soon as it is full."""
        needs: list[SignNeed] = []
        octets = 0
        for step in plan:
            if isinstance(step, Drop):
                self._dropped.append(step.old)
                continue
            needs.append(step)
            octets += len(step.rrset.rdata)
            if len(needs) >= BATCH_RRSETS or octets > BATCH_OCTETS_MAX:
                yield self._batch(needs)
                needs, octets = [], 0
        if needs:
            yield self._batch(needs)

    def _batch(self, needs: list[SignNeed]) -> _Batch:
        parts: dict[int, _Part] = {}
        builder, known = self._builder, self._signers
        expirations = []
        for index, (rrset, _) in enumerate(needs):
            expiration = builder.expiration(rrset)
            expirations.append(expiration)
            body = builder.body(rrset)
            rtype = signed_as(rrset[0], rrset[1])
            for number, key in known.get(rtype) or self._signers_of(rtype):
                head = builder.head(rrset, key, expiration)
                part = parts.get(number)
                if part is None:
                    part = parts[number] = _Part(key, [], [], [])
                part.indexes.append(index)
                part.heads.append(head)
                part.preimages.append(head + body)
        return _Batch(needs, expirations, list(parts.values()))

    def _signers_of(self, rtype: int) -> list[tuple[int, SigningKey]]:
        """Return the keys that sign RRsets of a type, numbered: a number is cheaper to look up than a key."""
        keys = signers(self._view, rtype)
        assert keys, "a key set without a key for every type is never planned"
        found = [(self._numbers.setdefault(key, len(self._numbers)), key) for key in keys]
        self._signers[rtype] = found
        return found


def _rows(batch: _Batch, answers: list[list[bytes]]) -> list[tuple[Rrsigs | None, Rrsigs, int]]:
    rdatas: list[list[bytes]] = [[] for _ in batch.needs]
    for part, signatures in zip(batch.parts, answers, strict=True):
        for index, head, signature in zip(part.indexes, part.heads, signatures, strict=True):
            rdatas[index].append(head + signature)
    packed = [pack_one(made[0]) if len(made) == 1 else pack(made) for made in rdatas]
    return [
        (old, Rrsigs(owner, rtype, ttl, rdata), expiration)
        for ((owner, rtype, ttl, _), old), expiration, rdata in zip(
            batch.needs, batch.expirations, packed, strict=True
        )
    ]
