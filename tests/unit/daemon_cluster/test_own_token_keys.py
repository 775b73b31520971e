"""Keys of nodes in tokens: what a token has not shown is not replaced, and one of several tokens is enough to sign."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec
from dnssecd.daemon.cluster import keys as cluster_keys
from dnssecd.daemon.cluster import node_keys as module
from dnssecd.daemon.cluster.keys import bind_keys
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.proof import why_unproven
from dnssecd.keyservice_protocol import KeyInfo, KeyState, Proof
from tests.unit.daemon_cluster.test_node_keys import Zone, node_keys, room_of

WELL, AWAY = Proof("own.a", b"", b"s"), Proof("own.b", b"", b"", "token own.b does not answer")
WELL_TOO = Proof("own.b", b"", b"s")
SPEC = KeySpec(Role.ZSK, 13, "own")


def info(number: int, state: KeyState = "available") -> KeyInfo:
    rdata = b"\x01\x00\x03\x0d" + bytes([number]) * 64
    return KeyInfo(
        f"{number:032x}", "own", (b"\x07example\x00",), "zsk", 13, 256, 256, rdata, number, 90, number, state
    )


class Signer:
    """A key service: what it proves, and the keys that it made."""

    def __init__(self, *proofs: Proof) -> None:
        self.proofs, self.made, self.removed = list(proofs), 0, list[str]()
        self.failure: SignerError | None = None

    async def prove(self, zone: bytes, key_id: str, rdata: bytes) -> list[Proof]:
        return self.proofs

    async def generate_proven(self, *given: object, **more: object) -> tuple[KeyInfo, list[Proof]]:
        self.made += 1
        return info(99), self.proofs

    async def remove(self, zone: bytes, key_id: str) -> str:
        if self.failure is not None:
            raise self.failure
        self.removed.append(key_id)
        return "in the trash"


async def new_key(signer: Signer, infos: Sequence[KeyInfo]) -> KeyInfo | None:
    keys = node_keys(cast("Any", signer), room_of())
    (zone,) = keys._zones.values()
    zone.spec.tag_range = (0, 65535)
    held = {one.dnskey: one for one in infos if one.state == "available"}
    return await keys._new(zone, Keyset(b"\0"), SPEC, held, list(infos), given=False)


async def test_a_key_that_its_token_has_not_shown_yet_is_not_replaced() -> None:
    """Sessions are opened one after the other: a restart of the key service must not make new keys."""
    signer = Signer(WELL)
    with pytest.raises(SignerError, match="key 7 may be in its token"):
        await new_key(signer, [info(7, "unproven")])
    assert signer.made == 0


@pytest.mark.parametrize("infos", [[], [info(7, "missing")]])
async def test_a_key_that_is_not_in_its_token_is_replaced(infos: list[KeyInfo]) -> None:
    signer = Signer(WELL)
    made = await new_key(signer, infos)
    assert made is not None
    assert (made.tag, signer.made) == (99, 1)


@pytest.mark.parametrize("infos", [[], [info(7)]])
async def test_a_key_is_announced_when_all_tokens_of_the_node_hold_it(infos: list[KeyInfo]) -> None:
    """Made just now, or before: an operator copies it into the others, and no second one is made."""
    with pytest.raises(SignerError, match=r"cannot be proved in token own\.b: token own\.b does not answer"):
        await new_key(Signer(WELL, AWAY), infos)
    signer = Signer(WELL, WELL)
    assert await new_key(signer, infos) is not None
    assert signer.made == (not infos)


@pytest.mark.parametrize(
    ("proofs", "why"),
    [((WELL,), ""), ((AWAY, WELL), ""), ((AWAY,), "token own.b does not answer"), ((), "no token was asked")],
)
async def test_one_of_several_tokens_is_enough_to_sign(
    proofs: tuple[Proof, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_unproven(proofs) == why
    signer: Any = Signer(*proofs)
    keys = node_keys(signer, room_of())
    (zone,) = keys._zones.values()
    record = SimpleNamespace(visible=True)
    key = SimpleNamespace(
        foreign=False, krrsig=record, zrrsig=record, key_id="1", rdata=b"", tag=7, keystore="own"
    )
    keyset: Any = SimpleNamespace(keys=[key], node="")

    async def held(zone: object) -> dict[bytes, object]:
        return {}

    monkeypatch.setattr(keys, "held", held)
    keys._clock.now = lambda: 0.0  # type: ignore[method-assign]
    monkeypatch.setattr(module, "hand_over", lambda *given: keyset)
    told = await keys.why_not(zone, keyset)
    assert why in told
    assert bool(told) is bool(why)

    # The same of keys in tokens that all nodes reach.
    monkeypatch.setattr(cluster_keys, "read_keys", lambda zone: (keyset, frozenset()))
    shares: Any = SimpleNamespace(held=held, sealed=frozenset(), tokens=frozenset())

    async def known(zone: object) -> dict[str, object]:
        return {"1": None}

    shares.held = known
    followed: Any = Zone(
        name="example.", origin=b"", cluster=room_of(), spec=SimpleNamespace(offline=frozenset())
    )
    told = await bind_keys(followed, signer, shares, keys, hidden=False)
    assert why in told
    assert bool(told) is bool(why)


@pytest.mark.parametrize(
    ("proofs", "announced"), [((WELL, WELL_TOO), [7]), ((WELL, AWAY), []), ((WELL,), [])]
)
async def test_several_tokens_with_the_key_stand_for_a_backup(
    proofs: tuple[Proof, ...], announced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = node_keys(cast("Any", Signer(*proofs)), room_of())
    monkeypatch.setattr(module, "saved_keys", lambda zone: frozenset())
    keys._events = cast("Any", SimpleNamespace(raise_event=lambda *_, **__: None, firing=lambda zone: []))
    (zone,) = keys._zones.values()
    zone.spec.held_by_min = 2
    found = await keys._backed_up(zone, Keyset(b"\0"), [info(7)], required=True)
    assert [one.tag for one in found] == announced


async def test_only_a_key_that_left_the_zone_and_is_in_its_token_is_removed() -> None:
    signer: Any = Signer()
    keys = node_keys(signer, room_of())
    (zone,) = keys._zones.values()
    infos = [info(1), info(2), info(3, "unavailable"), info(4)]
    past = frozenset(module.mark_of(13, one.public_key) for one in infos[1:])
    keyset: Any = SimpleNamespace(past=past, keys=())
    signer.failure = SignerError("the token has no room for it in the trash")
    await keys._remove_old(zone, keyset, frozenset({infos[3].dnskey}), infos)  # no announcement waits for it
    signer.failure = None
    await keys._remove_old(zone, keyset, frozenset({infos[3].dnskey}), infos)
    assert signer.removed == [infos[1].id], "not one that is published, nor one whose token is away"


@pytest.mark.parametrize("owned", [False, True])
async def test_a_proof_does_not_undo_that_an_owner_signs_itself(
    owned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the proof read may be older than the version with which the owner took the signing over."""
    keys = node_keys(cast("Any", Signer(WELL)), room_of())
    keyset: Any = SimpleNamespace(keys=[], node="the one before")
    monkeypatch.setattr(cluster_keys, "read_keys", lambda zone: (keyset, frozenset()))
    monkeypatch.setattr(module, "hand_over", lambda *given: keyset)

    async def held(zone: object) -> dict[bytes, object]:
        return {}

    monkeypatch.setattr(keys, "held", held)
    keys._clock.now = lambda: 0.0  # type: ignore[method-assign]
    room: Any = SimpleNamespace(owned=owned, signed_elsewhere=False)
    zone: Any = Zone(name="example.", origin=b"", cluster=room, spec=SimpleNamespace(offline=frozenset()))
    assert await bind_keys(zone, cast("Any", Signer(WELL)), cast("Any", None), keys, hidden=False) == ""
    assert room.signed_elsewhere is not owned
