"""A record that is damaged, forged or of another place is not applied; the previous version stays, row by row."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys.keyset import Key, key_tag, signing_view
from dnssecd.core.keys.keystate import Role
from dnssecd.core.zone.journal_check import split_rrs
from dnssecd.pipeline.follow.documents import keyset_faults
from dnssecd.pipeline.version import state
from dnssecd.replacing import replace
from dnssecd.store.record_codec import RecordReader, Step
from dnssecd.store.writes import Operation
from tests.cluster_nodes import Node
from tests.memory_log import MemoryLog, Stored
from tests.pipeline_zone import ZONE, running_signer
from tests.records import put_instead, rebuilt, steps_of

EDITED = ZONE.replace("192.0.2.2", "192.0.2.77") + "new.x IN A 192.0.2.9\n"
EXAMPLE = "example."
#: Of the records: the ownership, the first version, the edit, a second edit.
EDIT, LAST = 3, 4


def flipped(octets: bytes) -> bytes:
    """The octets with another last one, whatever it was."""
    return octets[:-1] + bytes([octets[-1] ^ 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signer: str) -> dict[str, list[Stored]]:
    """The log of a zone with two edits, and a snapshot of another zone of that name with other keys."""
    shared = MemoryLog()
    owner = Node(tmp_path_factory.mktemp("owner"), signer, shared, "a")
    publish(owner)
    logs = {"log": shared.zones[EXAMPLE]}
    other = MemoryLog()
    with running_signer() as socket:
        stranger = Node(tmp_path_factory.mktemp("stranger"), socket, other, "a")
        publish(stranger)
    with stranger.db.snapshot() as snapshot:
        record = snapshot.record("a", stranger.home)
        assert stranger.reader.put_snapshot(EXAMPLE, snapshot.position, record)
        record.close()
    logs["other keys"] = other.zones[EXAMPLE]
    with owner.db.snapshot() as snapshot:
        keyset = snapshot.state("keyset")
    assert keyset is not None
    KEYS[:] = [key["key_id"] for key in keyset["keys"]]
    KEYSET[:] = [json.dumps(keyset)]
    FORGOTTEN[:] = [json.dumps({**keyset, "keys": []})]
    for node in (owner, stranger):
        node.close()
    return logs


def publish(node: Node) -> None:
    node.take()
    for text in (ZONE, EDITED, ZONE):
        assert node.load(text).result == "published"


@pytest.fixture
def follower(tmp_path: Path, signer: str, made: dict[str, list[Stored]]) -> Iterator[Node]:
    """A node that has the first version; the rest of the log is in its ``rest``."""
    shared = MemoryLog()
    node = Node(tmp_path / "b", signer, shared, "b")
    shared.zones[EXAMPLE] = made["log"][:2]
    assert node.follow().serial == 1
    shared.zones[EXAMPLE] = list(made["log"])
    yield node
    node.close()


def mapped(operation: Operation, change: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]) -> Any:
    """A change of the rows of one operation; None removes a row."""

    def steps(given: list[Step]) -> Iterator[Step]:
        for found, rows in given:
            if found is operation:
                rows = [row for row in map(change, rows) if row is not None]
            yield found, rows

    return steps


def on_first(change: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]) -> Any:
    """Change the first row only."""
    seen: list[bool] = []

    def once(row: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if seen:
            return row
        seen.append(True)
        return change(row)

    return once


def address(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:3], row[3][:-1] + b"\x63") if row[:2] == (b"www\x00", 1) else row


def document(name: str, **values: Any) -> Any:
    def change(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return (name, json.dumps({**json.loads(row[1]), **values})) if row[0] == name else row

    return mapped(Operation.PUT_STATE, change)


def without_keys(steps: list[Step]) -> Iterator[Step]:
    """Make the zone unsigned, as it looks to a validator that does not know its DS."""
    for operation, rows in steps:
        if operation is Operation.PUT_STATE:
            rows = [(name, text if name != "keyset" else no_keys(text)) for name, text in rows]
        if operation in (Operation.PUT_RRSETS, Operation.PUT_STATE):
            yield operation, rows
    yield Operation.DELETE_RRSETS, [(b"", 48), (b"", 51), (b"", 59), (b"", 60)]


def without_last_rr(step: Step) -> Step:
    """Leave the last added RR out, where frame and chunk agree: the RRSIG of the chain's last RRset."""
    operation, rows = step
    if operation is Operation.PUT_JOURNAL_CHUNKS and rows[0][2]:
        rr = split_rrs(rows[0][3])[-1]
        LEFT_OUT.append(len(rr))
        rows = [(*rows[0][:3], rows[0][3][: -len(rr)])]
    if operation is Operation.PUT_JOURNAL:
        rows = [(*rows[0][:4], rows[0][4] - LEFT_OUT.pop(), *rows[0][5:])]
    return operation, rows


LEFT_OUT: list[int] = []
#: The handles of the zone's keys, and a key set without them.
KEYS: list[str] = []
FORGOTTEN: list[str] = []
KEYSET: list[str] = []


def no_keys(text: str) -> str:
    return json.dumps({**json.loads(text), "keys": []})


def keyset_alone(change: Callable[[list[Any]], list[Any]], **values: Any) -> list[Step]:
    """A record with nothing but the zone's key set, changed."""
    found = {**json.loads(KEYSET[0]), **values}
    found["keys"] = change(found["keys"])
    return [(Operation.PUT_STATE, [("keyset", json.dumps(found))])]


def with_foreign(keys: list[Any]) -> list[Any]:
    """A visible ZSK of a stranger beside the zone's own keys."""
    zsk = next(key for key in keys if key["role"] == "zsk")
    public_key = b64encode(bytes(64)).decode()
    key = Key("foreign", Role.ZSK, 13, 256, bytes(64), 0, "", 0)
    return [
        *keys,
        {**zsk, "key_id": "foreign", "public_key": public_key, "tag": key_tag(key.rdata), "signer": "x"},
    ]


def with_foreign_ds(keys: list[Any]) -> list[Any]:
    """A CDS for a stranger's key that the zone would not publish."""
    *ours, foreign = with_foreign(keys)
    return [*ours, {**foreign, "role": "ksk", "dnskey": keys[0]["ds"], "ds": keys[0]["dnskey"]}]


TTL = on_first(lambda row: (*row[:2], row[2] + 1, *row[3:]))
BACK_DATED = on_first(lambda row: (*row[:4], row[4] + 86_400))
CHANGES: dict[str, tuple[Any, str]] = {
    "an address": (mapped(Operation.PUT_RRSETS, address), "difference sequence"),
    "a signature is missing": (
        mapped(Operation.PUT_RRSIGS, on_first(lambda row: None)),
        "difference sequence",
    ),
    "a signature and its difference": (
        lambda steps: [
            step
            for step in mapped(Operation.PUT_RRSIGS, on_first(lambda row: None))(steps)
            if step[0] not in (Operation.PUT_JOURNAL, Operation.PUT_JOURNAL_CHUNKS)
        ],
        "rrsig",
    ),
    "an address, without differences": (
        lambda steps: [
            step
            for step in mapped(Operation.PUT_RRSETS, address)(steps)
            if step[0] not in (Operation.PUT_JOURNAL, Operation.PUT_JOURNAL_CHUNKS)
        ],
        "rrsig-bad",
    ),
    "a TTL of the chain": (mapped(Operation.PUT_DENIAL, TTL), "difference sequence"),
    "no differences but their frame": (
        lambda steps: [step for step in steps if step[0] is not Operation.PUT_JOURNAL_CHUNKS],
        "fewer differences",
    ),
    "differences without frame": (
        lambda steps: [step for step in steps if step[0] is not Operation.PUT_JOURNAL],
        "without their frame",
    ),
    "differences cut short": (
        mapped(Operation.PUT_JOURNAL_CHUNKS, lambda row: (*row[:3], row[3][:-1])),
        "cut short",
    ),
    "another SOA in the frame": (
        mapped(Operation.PUT_JOURNAL, lambda row: (*row[:7], flipped(row[7]), row[8])),
        "SOAs",
    ),
    "another serial in the frame": (
        mapped(Operation.PUT_JOURNAL, lambda row: (row[0], 7, *row[2:])),
        "serials",
    ),
    "published differences": (
        lambda steps: [*steps, (Operation.PUT_JOURNAL_CHUNKS, [(0, 9, 1, b"")])],
        "that were published",
    ),
    "a difference is missing": (
        lambda steps: [without_last_rr(step) for step in steps],
        "0 RRs too many and 1 too few",
    ),
    "a noted expiration": (mapped(Operation.PUT_RRSIGS, BACK_DATED), "is noted"),
    "the serial of the version": (document("version", serial=9), "serial"),
    "no version": (
        lambda steps: [step for step in steps if step[0] is not Operation.PUT_STATE],
        "without the documents",
    ),
    "a version without content": (
        lambda steps: [step for step in steps if step[0] is Operation.PUT_STATE],
        "without any content",
    ),
    "an unsigned zone": (without_keys, "becomes unsigned"),
    "the removal of all keys": (
        lambda steps: [*steps, (Operation.PUT_STATE, [("removals", json.dumps({"keys": KEYS}))])],
        "2 key(s) destroyed that the zone uses",
    ),
    "the removal of keys that the key set forgets": (
        lambda steps: [
            (Operation.PUT_STATE, [("removals", json.dumps({"keys": KEYS})), ("keyset", FORGOTTEN[0])])
        ],
        "2 key(s) destroyed that the zone uses",
    ),
    "a document that is no JSON": (lambda steps: [*steps, (Operation.PUT_STATE, [("x", "{")])], "not JSON"),
    "a document that is no object": (
        lambda steps: [*steps, (Operation.PUT_STATE, [("x", "[]")])],
        "an object",
    ),
    "a version of another kind": (document("version", serial="x"), "'version' cannot be read"),
    "a key set of another kind, alone": (
        lambda steps: [(Operation.PUT_STATE, [("keyset", '{"apex": "", "keys": 7}')])],
        "'keyset' cannot be read",
    ),
    "removals of another kind, alone": (
        lambda steps: [(Operation.PUT_STATE, [("removals", '{"keys": [7]}')])],
        "'removals' cannot be read",
    ),
    "a foreign key, alone": (lambda steps: keyset_alone(with_foreign), "another signer that"),
    "a key less, alone": (lambda steps: keyset_alone(lambda keys: keys[:1]), "other DNSKEYs than"),
    "a foreign DS, alone": (lambda steps: keyset_alone(with_foreign_ds), "another signer that"),
    "a foreign key while one is lost": (
        lambda steps: keyset_alone(lambda keys: [{**key, "lost": True} for key in with_foreign(keys)]),
        "uses a key of another signer",
    ),
    "a key twice": (lambda steps: keyset_alone(lambda keys: [*keys, keys[0]]), "names a key twice"),
    "a key with another tag": (
        lambda steps: keyset_alone(lambda keys: [{**keys[0], "tag": 1}, *keys[1:]]),
        "the tag of another",
    ),
    "the key set of another zone": (
        lambda steps: keyset_alone(lambda keys: keys, apex="BW90aGVyAA=="),
        "of another zone",
    ),
    "a document that is nested deep": (
        lambda steps: [*steps, (Operation.PUT_STATE, [("x", '{"x": ' + "[" * 40 + "]" * 40 + "}")])],
        "nested too deep",
    ),
    "a document with a huge number": (
        lambda steps: [*steps, (Operation.PUT_STATE, [("x", '{"x": [1e300]}')])],
        "too large",
    ),
    "published in the future": (document("version", published_at=(1 << 31) + 7300), "from now"),
    "published before the previous version": (
        document("version", published_at=1_700_000_000),
        "before the previous version",
    ),
    "the position": (lambda steps: [*steps, (Operation.PUT_STATE, [("log", "{}")])], "sets the position"),
    "RDATA cut short": (mapped(Operation.PUT_RRSETS, lambda row: (*row[:3], row[3][:-1])), ""),
    "empty RDATA": (mapped(Operation.PUT_RRSIGS, lambda row: (*row[:3], b"", row[4])), ""),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_record_is_not_applied(follower: Node, made: dict[str, list[Stored]], what: str) -> None:
    change, why = CHANGES[what]
    before = follower.hashes()
    put_instead(follower.shared, EXAMPLE, rebuilt(made["log"][EDIT - 1], change))
    refused(follower, why)
    assert follower.hashes() == before
    put_instead(follower.shared, EXAMPLE, made["log"][EDIT - 1])
    assert follower.follow().serial == 3


def refused(node: Node, why: str) -> None:
    followed = node.follow()
    assert (followed.stopped, followed.serial) == ("unverified", 1), followed
    assert why in followed.cause
    assert followed.position.sequence == EDIT - 1


def test_keys_that_the_zone_never_had_are_refused(follower: Node, made: dict[str, list[Stored]]) -> None:
    """The first version of another zone of that name is a version in itself, with the signatures of its own keys."""
    theirs = steps_of(made["other keys"][0])
    mine = steps_of(made["log"][1])
    kept = (Operation.PUT_RRSETS, Operation.PUT_DENIAL, Operation.PUT_RRSIGS, Operation.PUT_STATE)
    gone = [
        (Operation.DELETE_DENIAL, [row[:1] for o, rows in mine if o is Operation.PUT_DENIAL for row in rows])
    ]
    put = [step for step in theirs if step[0] in kept]
    put_instead(follower.shared, EXAMPLE, rebuilt(made["log"][EDIT - 1], lambda steps: [*gone, *put]))
    refused(follower, "no key that the zone had before has signed its new DNSKEY RRset")


def test_octets_that_are_not_those_of_the_digest(follower: Node, made: dict[str, list[Stored]]) -> None:
    whole = made["log"][EDIT - 1]
    for at in range(6, len(whole.octets), 97):
        octets = bytearray(whole.octets)
        octets[at] ^= 0x40
        put_instead(follower.shared, EXAMPLE, replace(whole, octets=bytes(octets)))
        refused(follower, "record")
    for end in range(0, len(whole.octets), 211):
        put_instead(follower.shared, EXAMPLE, replace(whole, octets=whole.octets[:end]))
        refused(follower, "record")
    put_instead(follower.shared, EXAMPLE, replace(whole, octets=whole.octets + b"x"))
    refused(follower, "after its end")


def test_a_record_stands_at_its_own_place_only(follower: Node, made: dict[str, list[Stored]]) -> None:
    edit, last = made["log"][EDIT - 1], made["log"][LAST - 1]
    for stored, why in (
        (replace(last, sequence=EDIT), "made for another zone or place"),
        (replace(rebuilt(last, lambda steps: steps, sequence=EDIT), sequence=EDIT), "does not follow"),
        (rebuilt(edit, lambda steps: steps, zone=text_to_wire("other.")), "made for another zone or place"),
        (rebuilt(edit, lambda steps: steps, node="c"), "another node"),
        (replace(edit, epoch=2), "has epoch 2, not 1"),
    ):
        put_instead(follower.shared, EXAMPLE, stored)
        refused(follower, why)
    del follower.shared.zones[EXAMPLE][EDIT - 1]
    refused(follower, "record 3 is missing")


def test_a_newer_record_waits_for_a_newer_program(follower: Node, made: dict[str, list[Stored]]) -> None:
    edit = made["log"][EDIT - 1]
    form = edit.octets[:4] + b"\x02" + edit.octets[5:]
    for stored in (rebuilt(edit, lambda steps: steps, schema=99), replace(edit, octets=form)):
        put_instead(follower.shared, EXAMPLE, stored)
        followed = follower.follow()
        assert (followed.stopped, followed.serial) == ("too new", 1)
        assert "update it" in followed.cause


def test_a_record_needs_a_bounded_time(follower: Node, made: dict[str, list[Stored]]) -> None:
    """Of a frame that claims to be large, or of zeros that decompress to gigabytes, little is read."""
    import zlib

    edit = made["log"][EDIT - 1]
    stream = zlib.compressobj(9)
    octets = edit.octets[:6] + stream.compress(b"\xff" * (100 << 20)) + stream.flush()
    put_instead(follower.shared, EXAMPLE, replace(edit, octets=octets))
    refused(follower, "frame of")


SNAPSHOTS: dict[str, tuple[Any, str]] = {
    "no differences": (
        lambda steps: [step for step in steps if step[0] is not Operation.PUT_JOURNAL_CHUNKS],
        "fewer differences",
    ),
    "differences exchanged": (
        mapped(Operation.PUT_JOURNAL_CHUNKS, lambda row: (row[0], row[1], 1 - row[2], row[3])),
        "does not fit",
    ),
    "another SOA": (
        mapped(Operation.PUT_JOURNAL, lambda row: (*row[:7], flipped(row[7]), row[8])),
        "does not end at its SOA",
    ),
    "an address": (mapped(Operation.PUT_RRSETS, address), ""),
    "no name servers": (
        mapped(Operation.PUT_RRSETS, lambda row: None if row[:2] == (b"", 2) else row),
        "",
    ),
}


@pytest.mark.parametrize("what", SNAPSHOTS)
def test_a_snapshot_is_verified_with_its_history(
    follower: Node, made: dict[str, list[Stored]], tmp_path: Path, what: str
) -> None:
    change, why = SNAPSHOTS[what]
    assert follower.follow().serial == 3
    with follower.db.snapshot() as snapshot:
        record = snapshot.record("b", tmp_path)
        assert follower.reader.put_snapshot(EXAMPLE, snapshot.position, record)
        record.close()
    (whole,) = follower.shared.zones[EXAMPLE]
    fresh = Node(tmp_path / "c", follower.spec.signer_socket, follower.shared, "c")
    follower.shared.zones[EXAMPLE] = [rebuilt(whole, change)]
    followed = fresh.follow()
    assert (followed.stopped, followed.serial) == ("unverified", None), followed
    assert why in followed.cause
    follower.shared.zones[EXAMPLE] = [whole]
    assert fresh.follow().serial == 3
    assert fresh.hashes() == follower.hashes()
    fresh.close()


def test_a_snapshot_has_the_content_that_is_known_at_its_serial(
    follower: Node, made: dict[str, list[Stored]], tmp_path: Path
) -> None:
    """The same serial twice: the first owner's content, and another that verifies, without differences."""
    theirs = made["other keys"][0]
    follower.shared.zones[EXAMPLE] = [*made["log"][:LAST], replace(made["log"][LAST - 1])]
    assert follower.follow().serial == 3
    stranger = rebuilt(theirs, lambda steps: steps)
    follower.shared.zones[EXAMPLE] = [
        replace(rebuilt(stranger, lambda steps: steps, sequence=LAST + 5), sequence=LAST + 5)
    ]
    followed = follower.follow()
    assert followed.stopped == "unverified"
    assert "other content at serial 3, which this node has" in followed.cause


@pytest.mark.parametrize("rtype", [CDS, CDNSKEY])
def test_the_key_set_has_the_cds_that_the_zone_has(made: dict[str, list[Stored]], rtype: int) -> None:
    stored = json.loads(KEYSET[0])
    ksk = next(key for key in stored["keys"] if key["role"] == "ksk")
    ksk["ds"] = ksk["dnskey"]
    view = signing_view(state.keyset_from(stored))  # type: ignore[arg-type]
    rdatas = {DNSKEY: view.dnskey_rdatas, CDS: view.cds, CDNSKEY: view.cdnskey}

    def faults() -> list[str]:
        documents = {"keyset": stored, "version": {}}
        published = {kind: RRset(b"", kind, 300, pack(found)) for kind, found in rdatas.items() if found}
        replayed = SimpleNamespace(
            written=True, documents={"keyset"}, state=documents.get, rrset=lambda _, kind: published.get(kind)
        )
        return list(keyset_faults(replayed))  # type: ignore[arg-type]

    assert faults() == []
    kept, rdatas[rtype] = rdatas[rtype], ()
    assert faults() == [], "a ceremony withholds it"
    rdatas[rtype] = (flipped(kept[0]),)
    assert faults() == [
        f"its key set has other {'CDS' if rtype == CDS else 'CDNSKEY'} than the zone publishes"
    ]


def test_every_operation_of_the_store_has_a_form_in_records(made: dict[str, list[Stored]]) -> None:
    from dnssecd.store import record_codec

    assert set(record_codec._OPERATION.values()) == set(Operation)
    assert RecordReader([made["log"][1].octets], made["log"][1].digest).header.sequence == 2
