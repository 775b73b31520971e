"""Carry out a signature plan: preimages to the key service, RRSIGs into the transaction, in batches."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from queue import Empty, Full, Queue, SimpleQueue
from typing import NamedTuple

from dnssecd.core.dns.rrset import Rrsigs, pack, pack_one
from dnssecd.core.dns.rrtypes import KSK_SIGNED_TYPES
from dnssecd.core.keys.keyset import SigningKey, SigningView
from dnssecd.core.signing.rrsig import RrsigBuilder
from dnssecd.core.signing.signplan import Drop, SignNeed, signed_as, signers
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.version.ahead import PreSigned
from dnssecd.pipeline.version.lost_keys import able_signers, earliest, kept_rrsigs
from dnssecd.store.interface import Transaction

BATCH_RRSETS = 256
#: Batches waiting for the key service: enough to keep it busy while a denial chain is made.
WAITING_MAX = 512
BATCH_OCTETS_MAX = 16 * 1024


Request = tuple[bytes, str, list[bytes]]


def untold_beginning() -> None:
    """Do nothing."""


class Made(NamedTuple):
    """The counts: RRSIGs made and RRsets whose RRSIGs were dropped."""

    signatures: int
    dropped: int


class SigningPump:
    """Keeps the key service busy from its own thread, so that planning continues meanwhile.

    A context manager; batches come back finished, in order. The next call raises an error of the key service.
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
        # After an error in planning the thread may still wait for its end mark; its queue may be full.
        while self._thread.is_alive():
            with suppress(Full):
                self._requests.put(None, timeout=0.1)
                self._thread.join()

    def _run(self) -> None:
        try:
            for signatures in self._signer.sign_stream(self._drawn()):
                self._answers.put(signatures)
        except BaseException as error:  # passed to the planning thread
            self._answers.put(error)
            self._drain()
        else:
            self._answers.put(None)

    def _drawn(self) -> Iterator[Request]:
        while (request := self._requests.get()) is not None:
            yield request

    def _drain(self) -> None:
        """Discard batches until the end mark, so that the planning thread does not wait for room."""
        while self._requests.get() is not None:
            pass

    def put(self, batch: "_Batch", requests: list[Request]) -> None:
        """Hand over a batch; wait while too many batches are queued."""
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
        """Yield all remaining batches; while none is finished, do ``meanwhile`` instead of waiting."""
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
    """The share of one key in a batch: its RRsets, the RRSIG heads, the octets to sign."""

    key: SigningKey
    indexes: list[int]
    heads: list[bytes]
    preimages: list[bytes]


Row = tuple[Rrsigs | None, Rrsigs, int]


class _Batch(NamedTuple):
    """RRsets to sign, when their signatures expire, each key's share, RRSIGs made before, and those of lost keys."""

    needs: list[SignNeed]
    expirations: list[int]
    parts: list[_Part]
    given: dict[int, list[bytes]]
    kept: list[list[bytes]]


def carry_out(
    plan: Iterable[SignNeed | Drop],
    transaction: Transaction,
    view: SigningView,
    builder: RrsigBuilder,
    signer: SignerClient,
    meanwhile: Callable[[], bool] | None = None,
    told: Progress = untold,
    ahead: PreSigned | None = None,
    begun: Callable[[], object] = untold_beginning,
) -> Made:
    """Make and write the signatures of the plan; they are unverified until core.verify has checked them.

    Planning continues while the key service works on earlier batches. When everything is planned,
    ``meanwhile`` does pieces of other work while no batch is finished and there is such work. Raises
    SignerError. ``ahead`` has the signatures of off-line keys. ``begun`` is called once, as soon as the key service has
    the first of the work, and before any signature is written.
    """
    dropped: list[Rrsigs] = []
    batcher = _Batcher(view, builder, dropped, ahead)
    batches = batcher.batches(plan)
    first, second = next(batches, None), next(batches, None)
    if second is None:
        made = _sign_now(first, transaction, signer, begun)
        transaction.put_rrsigs(batcher.ready)
        return Made(made, _flush(transaction, dropped))
    made = dropped_count = 0
    with SigningPump(signer) as pump:
        for number, batch in enumerate(chain(filter(None, (first, second)), batches)):
            pump.put(batch, [(transaction.origin, part.key.key_id, part.preimages) for part in batch.parts])
            if not number:
                begun()
            for done, answers in pump.finished():
                transaction.put_rrsigs(_rows(done, answers))
                made += sum(map(len, answers))
                told("sign", made, None)
            dropped_count += _flush(transaction, dropped)
        for done, answers in pump.rest(meanwhile or _nothing_else):
            transaction.put_rrsigs(_rows(done, answers))
            made += sum(map(len, answers))
            told("sign", made, None)
    transaction.put_rrsigs(batcher.ready)
    return Made(made, dropped_count + _flush(transaction, dropped))


def _sign_now(
    batch: _Batch | None, transaction: Transaction, signer: SignerClient, begun: Callable[[], object]
) -> int:
    """Sign a single batch, without a thread, for a small change; the rest of it is written meanwhile."""
    if batch is None:
        begun()
        return 0
    tickets: list[int] = []
    try:
        for part in batch.parts:
            tickets.append(signer.submit(transaction.origin, part.key.key_id, part.preimages))
        begun()
        answers = [signer.collect(ticket) for ticket in tickets]
    finally:
        for ticket in tickets:
            signer.forget(ticket)  # those that were not collected, after an error
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
    """Makes batches of the signatures in the plan; ``dropped`` gets the RRSIGs to drop.

    ``ready`` has the RRSIGs of RRsets that only off-line keys sign: at most three RRsets, at the apex.
    """

    def __init__(
        self, view: SigningView, builder: RrsigBuilder, dropped: list[Rrsigs], ahead: PreSigned | None
    ) -> None:
        self._view, self._builder, self._dropped, self._ahead = view, builder, dropped, ahead
        self.ready: list[Row] = []
        self._given: dict[int, list[bytes]] = {}
        self._numbers: dict[SigningKey, int] = {}
        self._signers: dict[int, list[tuple[int, SigningKey]]] = {}

    def batches(self, plan: Iterable[SignNeed | Drop]) -> Iterator[_Batch]:
        """Yield batches, each when it is full."""
        needs: list[SignNeed] = []
        octets = 0
        for step in plan:
            if isinstance(step, Drop):
                self._dropped.append(step.old)
                continue
            if self._ahead is not None and self._is_ready(step, self._ahead):
                continue
            needs.append(step)
            octets += len(step.rrset.rdata)
            if len(needs) >= BATCH_RRSETS or octets > BATCH_OCTETS_MAX:
                yield self._batch(needs)
                needs, octets = [], 0
        if needs:
            yield self._batch(needs)

    def _is_ready(self, need: SignNeed, ahead: PreSigned) -> bool:
        """Take the RRSIGs of off-line keys over an RRset; return whether no other key signs it."""
        owner, rtype, ttl, _ = need.rrset
        if owner or rtype not in KSK_SIGNED_TYPES:
            return False
        keys, rrsigs = ahead.split(need.rrset, signers(self._view, rtype))
        keys = tuple(key for key in keys if key not in self._view.lost_keys)
        if not rrsigs:
            return False
        if keys:
            self._number_signers(rtype, keys)
            self._given[rtype] = rrsigs
            return False
        rrsigs += kept_rrsigs(self._view, need.old)
        self.ready.append((need.old, Rrsigs(owner, rtype, ttl, pack(rrsigs)), ahead.first_end(rrsigs)))
        return True

    def _batch(self, needs: list[SignNeed]) -> _Batch:
        parts: dict[int, _Part] = {}
        builder, known = self._builder, self._signers
        expirations: list[int] = []
        kept = [kept_rrsigs(self._view, old) for _, old in needs] if self._view.lost_keys else []
        for index, (rrset, _) in enumerate(needs):
            expiration = builder.expiration(rrset)
            expirations.append(earliest(expiration, kept[index]) if kept else expiration)
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
        return _Batch(needs, expirations, list(parts.values()), self._given_for(needs), kept)

    def _given_for(self, needs: list[SignNeed]) -> dict[int, list[bytes]]:
        """Return the RRSIGs of off-line keys over RRsets that others sign, too: only while algorithms change."""
        if not self._given:
            return {}
        places = enumerate(need.rrset for need in needs)
        return {
            at: self._given[each.rtype] for at, each in places if not each.owner and each.rtype in self._given
        }

    def _signers_of(self, rtype: int) -> list[tuple[int, SigningKey]]:
        """Return the keys that sign RRsets of a type, numbered: a number is cheaper to look up than a key."""
        keys = able_signers(self._view, rtype)
        assert keys, "a key set without a key for every type is never planned"
        return self._number_signers(rtype, keys)

    def _number_signers(self, rtype: int, keys: tuple[SigningKey, ...]) -> list[tuple[int, SigningKey]]:
        found = [(self._numbers.setdefault(key, len(self._numbers)), key) for key in keys]
        self._signers[rtype] = found
        return found


def _rows(batch: _Batch, answers: list[list[bytes]]) -> list[tuple[Rrsigs | None, Rrsigs, int]]:
    rdatas: list[list[bytes]] = [list(kept) for kept in batch.kept] or [[] for _ in batch.needs]
    for part, signatures in zip(batch.parts, answers, strict=True):
        for index, head, signature in zip(part.indexes, part.heads, signatures, strict=True):
            rdatas[index].append(head + signature)
    for index, rrsigs in batch.given.items():
        rdatas[index] += rrsigs
    packed = [pack_one(made[0]) if len(made) == 1 else pack(made) for made in rdatas]
    return [
        (old, Rrsigs(owner, rtype, ttl, rdata), expiration)
        for ((owner, rtype, ttl, _), old), expiration, rdata in zip(
            batch.needs, batch.expirations, packed, strict=True
        )
    ]
