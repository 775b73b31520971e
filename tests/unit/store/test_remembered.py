"""What a transaction remembers is what its database has, whatever is written in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.zone.changeset import Change
from dnssecd.store import remembered
from dnssecd.store.errors import StoreError
from dnssecd.store.transaction import WriteTransaction
from dnssecd.store.view import SqliteView
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("example.com.")
OWNERS = [b"", *(bytes([97 + n]) + b"\0" for n in range(6))]
TYPES = [1, 6, 16]


def rdata(rng: random.Random) -> bytes:
    return pack([rng.randbytes(4)])


def change(rng: random.Random, view: SqliteView) -> Change:
    owner, rtype = rng.choice(OWNERS), rng.choice(TYPES)
    new = RRset(owner, rtype, 300, rdata(rng)) if rng.random() < 0.7 else None
    return Change(owner, rtype, view.rrset(owner, rtype), new)


def link(rng: random.Random, view: SqliteView) -> Change:
    owner = rng.choice(OWNERS)
    new = RRset(owner, 47, 300, rdata(rng)) if rng.random() < 0.7 else None
    return Change(owner, 47, view.denial(owner), new)


def lazily(
    transaction: WriteTransaction, rng: random.Random, make: Callable[..., Change]
) -> Iterator[Change]:
    """Changes that are found while they are being written: each is read from what is about to be replaced."""
    places = set()
    for _ in range(3):
        found = make(rng, transaction)
        if (found.owner, found.rtype) not in places and not (found.old is None and found.new is None):
            places.add((found.owner, found.rtype))
            transaction.rrsets_at(found.owner)
            transaction.denial_from(found.owner)
            yield found


def write(transaction: WriteTransaction, rng: random.Random) -> None:
    owner, rtype = rng.choice(OWNERS), rng.choice(TYPES)
    held = transaction.rrsigs(owner, rtype)
    step = rng.randrange(4)
    if step == 0:
        transaction.apply_content(lazily(transaction, rng, change))
    elif step == 1:
        transaction.apply_denial(lazily(transaction, rng, link))
    elif step == 2 or held is None:
        transaction.put_rrsigs([(held, Rrsigs(owner, rtype, 300, rdata(rng)), 5)])
    else:
        transaction.delete_rrsigs([held])


def everything(view: SqliteView) -> list[object]:
    return [
        *([view.rrsets_at(o), view.denial(o), view.denial_before(o), view.denial_from(o), view.denial_from(o + b"\0"),
           view.rrsigs_at(o)]
          for o in OWNERS),
        *([view.rrset(o, t), view.rrsigs(o, t)] for o in OWNERS for t in TYPES),
    ]  # fmt: skip


@pytest.mark.parametrize("places_max", [2, 2_048])
@pytest.mark.parametrize("seed", range(20))
def test_a_transaction_reads_what_the_database_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, places_max: int
) -> None:
    monkeypatch.setattr(remembered, "PLACES_MAX", places_max)
    rng = random.Random(seed)
    with closing(ZoneDatabase(tmp_path / "z.sqlite", ORIGIN)) as db:
        for _ in range(3):
            with db.write() as transaction:
                before = everything(SqliteView(transaction._connection, ORIGIN))
                for _ in range(10):
                    for view in (transaction.old, transaction):
                        view.read_ahead(
                            rng.choices(OWNERS, k=rng.randrange(6)), rng.choices(OWNERS, k=rng.randrange(4))
                        )
                    write(transaction, rng)
                    transaction.read_ahead(rng.choices(OWNERS, k=5), rng.choices(OWNERS, k=rng.randrange(4)))
                    plain = SqliteView(transaction._connection, ORIGIN)
                    assert everything(transaction) == everything(plain)
                    assert everything(transaction) == everything(plain), "read a second time"
                assert everything(transaction.old) == before  # type: ignore[arg-type]
                transaction.commit_if(transaction.generation)


def test_the_old_version_is_read_from_a_snapshot_only_after_a_write(tmp_path: Path) -> None:
    soa, txt = RRset(b"", 6, 300, b"\0\1x"), RRset(b"a\0", 16, 300, b"\0\1x")
    with closing(ZoneDatabase(tmp_path / "z.sqlite", ORIGIN)) as db:
        with db.write() as transaction:
            transaction.apply_content([Change(b"", 6, None, soa), Change(b"a\0", 16, None, txt)])
            transaction.commit_if(transaction.generation)
        with db.write() as transaction:
            assert transaction.old.rrsets_at(b"") == [soa]
            assert db.held == 0
            transaction.apply_content([Change(b"", 6, soa, None), Change(b"a\0", 16, txt, None)])
            assert transaction.old.rrsets_at(b"") == [soa]
            assert db.held == 0
            assert transaction.old.rrsets_at(b"a\0") == [txt]
            assert db.held == 1
            transaction.commit_if(transaction.generation)
            with pytest.raises(StoreError, match="has ended"):
                transaction.old.rrsets_at(b"b\0")
        assert db.held == 0


def test_a_list_that_a_caller_changes_is_its_own(tmp_path: Path) -> None:
    with closing(ZoneDatabase(tmp_path / "z.sqlite", ORIGIN)) as db, db.write() as transaction:
        transaction.apply_content([Change(b"", 6, None, RRset(b"", 6, 300, b"\0\1x"))])
        transaction.rrsets_at(b"").clear()
        transaction.rrsigs_at(b"").append(Rrsigs(b"", 6, 300, b""))
        assert len(transaction.rrsets_at(b"")) == 1
        assert transaction.rrsigs_at(b"") == []


def test_a_state_document_is_written_when_it_differs(tmp_path: Path) -> None:
    with closing(ZoneDatabase(tmp_path / "z.sqlite", ORIGIN)) as db:
        for value in ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 1}):
            with db.write() as transaction:
                transaction.state("x")
                transaction.set_state("x", {"a": 0})
                transaction.set_state("x", value)
                assert transaction.state("x") == value
                transaction.commit_state()
            with db.snapshot() as snapshot:
                assert snapshot.state("x") == value
