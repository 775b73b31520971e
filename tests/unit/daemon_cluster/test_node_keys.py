"""Keys that other nodes announce: which rows of the database are read, and read again after a failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.cluster.errors import DatabaseAway
from dnssecd.cluster.node_keys import Announced
from dnssecd.core.keys.keyset import Keyset
from dnssecd.daemon.cluster.node_keys import AGAIN_S, RETRY_S, NodeKeys
from dnssecd.keyservice_client.errors import BadRequest, SignerError, SignerTimeout
from dnssecd.keyservice_protocol import Proof

ZONE = "example."


class Signer:
    """Opens letters, and counts them."""

    def __init__(self) -> None:
        self.opened = 0
        self.failure: SignerError | None = None

    async def open_letter(self, zone: bytes, letter: bytes, *, store: str) -> Any:
        self.opened += 1
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(detail="b", role="zsk", dnskey=b"\x01\x00\x03\x0dkey")

    async def prove(self, zone: bytes, key_id: str, rdata: bytes) -> list[Proof]:
        return [Proof("own", b"", b"signature")]


class Zone(SimpleNamespace):
    __hash__ = object.__hash__


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Rows:
    """What node b announced, and the times that were read."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.away = False

    def newer(self, age_s: float) -> list[str]:
        if self.away:
            raise DatabaseAway("no answer", "wait")
        self.ages.append(age_s)
        return []

    def of_zones(self, zones: object) -> list[Announced]:
        return [Announced(ZONE, "b", (b"letter",))]


def node_keys(signer: Signer, room: object, clock: Clock | None = None) -> NodeKeys:
    async def run(work: Any, *given: Any) -> Any:
        return work(*given)

    link = SimpleNamespace(
        run=run, config=SimpleNamespace(node="a", nodes={"a": None, "b": None}), database=None
    )
    zone = Zone(
        name=ZONE,
        origin=b"\x07example\x00",
        cluster=room,
        spec=SimpleNamespace(keys=[SimpleNamespace(keystore="own")]),
    )
    link.database = SimpleNamespace(place=SimpleNamespace(node="a"))
    mailbox = SimpleNamespace(finished=SimpleNamespace(send=lambda zone: None))
    metrics = SimpleNamespace(keys_refused=SimpleNamespace(inc=lambda: None))
    config = SimpleNamespace(own_keystores=frozenset({"own"}))
    parts: Any = (link, lambda: config, {ZONE: zone}, signer, None, clock or Clock(), mailbox, metrics)
    return NodeKeys(*parts)


def room_of() -> SimpleNamespace:
    return SimpleNamespace(heard={}, unheard={}, announced={}, heard_epoch=0, epoch=1, owned=True)


@pytest.mark.parametrize(("node", "opened"), [("b", 1), ("stranger", 0), ("a", 0)])
async def test_rows_of_other_nodes_of_the_configuration_alone_are_opened(node: str, opened: int) -> None:
    """A program that can only write to the database may name any number of nodes."""
    signer, room = Signer(), room_of()
    await node_keys(signer, room)._read_row(cast("Any", Announced(ZONE, node, (b"letter",))))
    assert signer.opened == opened
    assert set(room.heard) == set(room.announced) == ({"b"} if opened else set())


@pytest.mark.parametrize(
    ("failure", "wait_s"), [(SignerTimeout("no answer"), RETRY_S), (BadRequest("no such sender"), AGAIN_S)]
)
async def test_keys_that_could_not_be_opened_are_opened_later(failure: SignerError, wait_s: float) -> None:
    """Else the node that announced them could never take the zone over: its row does not change any more."""
    signer, room, clock = Signer(), room_of(), Clock()
    keys = node_keys(signer, room, clock)
    keys._rows = cast("Any", Rows())
    signer.failure = failure
    await keys._read_news()
    clock.at += wait_s / 2
    await keys._read_news()
    assert signer.opened == 1, "not at each look"
    signer.failure = None
    clock.at += wait_s
    await keys._read_news()
    assert set(room.announced) == {"b"}
    await keys._read_news()
    assert signer.opened == 2
    assert not room.unheard


async def test_what_was_announced_during_a_long_look_or_without_database_is_read() -> None:
    room, clock, rows = room_of(), Clock(), Rows()
    keys = node_keys(Signer(), room, clock)
    keys._rows = cast("Any", rows)
    await keys._read_news()
    rows.away = True
    for _ in range(50):
        clock.at += 2.0
        with pytest.raises(DatabaseAway):
            await keys._read_news()
    rows.away = False
    await keys._read_news()
    assert rows.ages[-1] >= 100.0


@pytest.mark.parametrize("required", [True, False])
async def test_a_key_without_a_required_backup_is_not_announced(
    required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, saved = node_keys(Signer(), room_of()), set[str]()
    firing: dict[str, str] = {}
    keys._events = cast(
        "Any",
        SimpleNamespace(
            raise_event=lambda name, zone, cause, *, subject: firing.__setitem__(subject, cause),
            resolve=lambda name, zone, subject: firing.pop(subject),
            firing=lambda zone: [SimpleNamespace(name="key-not-backed-up", subject=one) for one in firing],
        ),
    )
    monkeypatch.setattr("dnssecd.daemon.cluster.node_keys.saved_keys", lambda zone: frozenset(saved))
    ksk = SimpleNamespace(id="k", tag=1, role="ksk", store="own", dnskey=b"\x01\x01\x03\x0dksk")
    zsk = SimpleNamespace(id="z", tag=2, role="zsk", store="own", dnskey=b"\x01\x00\x03\x0dzsk")
    zone: Any = SimpleNamespace(name=ZONE, origin=b"", spec=SimpleNamespace(held_by_min=2))

    async def announced() -> list[str]:
        wanted = cast("Any", [ksk, zsk])
        return [info.id for info in await keys._backed_up(zone, Keyset(b"\0"), wanted, required=required)]

    assert await announced() == ([] if required else ["k", "z"])
    assert set(firing) == ({"key 1", "key 2"} if required else set())
    saved.add("z")
    assert await announced() == (["z"] if required else ["k", "z"])
    assert set(firing) == ({"key 1"} if required else set())
    saved.add("k")
    assert await announced() == ["k", "z"]
    assert not firing
