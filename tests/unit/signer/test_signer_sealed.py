"""Keys that go sealed from key service to key service: only the nodes of the configuration read and make letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import SealingSettings, sealing_key_octets, sealing_key_text
from dnssecd.signer.audit import check
from dnssecd.signer.sealing import Letter, SealingNode
from tests.unit.signer.service_world import DAEMON, PASSPHRASE, TWO_PERSON, A, B, Bench

Nodes = dict[str, Bench]


async def sealing_key(bench: Bench) -> str:
    reply = await bench.ask(wp.SealingKeyRequest(1), DAEMON)
    assert isinstance(reply, wp.DoneReply), reply
    return reply.detail


@asynccontextmanager
async def cluster(
    home: Path, names: str = "ab", limits: object = None, own: str = ""
) -> AsyncIterator[Nodes]:
    """Key services that know the sealing keys of one another; own: those that keep their keys for themselves."""
    nodes = {}
    for name in names:
        (home / name).mkdir()
        nodes[name] = Bench(home / name, sealing=SealingSettings(node=name))
        nodes[name].own = name in own
        if limits is not None:
            nodes[name].limits = TWO_PERSON
        await nodes[name].open()
    keys = {name: await sealing_key(bench) for name, bench in nodes.items()}
    for name, bench in nodes.items():
        bench.sealing = SealingSettings(node=name, keys=keys)
        await bench.restart()
        assert await sealing_key(bench) == keys[name], "it is kept"
    try:
        yield nodes
    finally:
        for bench in nodes.values():
            await bench.close()


async def letter(bench: Bench, key: wp.KeyInfo, node: str = "b", zone: bytes = A) -> bytes:
    reply = await bench.ask(wp.SealRequest(1, zone, key.id, node), DAEMON)
    assert isinstance(reply, wp.SealReply), reply
    return reply.letter


async def opened(bench: Bench, content: bytes, zone: bytes = A) -> wp.KeyInfo:
    reply = await bench.ask(wp.OpenRequest(1, zone, content, "local"), DAEMON)
    assert isinstance(reply, wp.KeysReply), reply
    return reply.keys[0]


async def why_not(bench: Bench, content: bytes, zone: bytes = A) -> str:
    error = await bench.refused(wp.OpenRequest(1, zone, content, "local"), DAEMON)
    assert await bench.kept() == [], "nothing is kept"
    return error.message


def run(test: Callable[[Nodes], Awaitable[None]], home: Path, names: str = "ab") -> None:
    async def inside() -> None:
        async with cluster(home, names) as nodes:
            await test(nodes)

    asyncio.run(inside())


class Pretender(SealingNode):
    """A forger who knows the public sealing keys, as everyone may, and uses that of the node."""

    @property
    def public(self) -> bytes:
        return self.nodes[self.name]


def changed(content: bytes, **fields: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(content, type=Letter), **fields))


def test_a_key_comes_to_the_other_node(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key = await a.key(A)
        sealed = await letter(a, key)
        der = await a.store.for_letter(a.store.registry.all()[0])
        assert der not in sealed
        assert der[-32:] not in sealed
        got = await opened(b, sealed)
        assert (got.id, got.dnskey, got.zones) == (key.id, key.dnskey, (A,))
        proof = await b.ask(wp.ProveRequest(1, A, key.id, b"n" * 32), DAEMON)
        assert isinstance(proof, wp.ProveReply)
        assert not proof.proofs[0].error
        assert await opened(b, sealed) == got, "the same letter again changes nothing"
        assert ("sealed for node b", key.id) in a.events()
        assert ("taken from node a", key.id) in b.events()
        await b.restart()
        assert await b.kept() == [key.id]

    run(inside, tmp_path)


def test_a_key_that_zones_share_is_bound_for_each(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key = await a.key(A)
        await a.ask(wp.BindRequest(1, B, key.id))
        got = await opened(b, await letter(a, key))
        assert got.zones == (A,), "a letter is for one zone"
        assert set((await opened(b, await letter(a, key, zone=B), B)).zones) == {A, B}

    run(inside, tmp_path)


def test_a_key_whose_file_is_gone_comes_back_as_it_was(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key = await a.key(A)
        sealed = await letter(a, key)
        await opened(b, sealed)
        await b.ask(wp.BindRequest(1, B, key.id))
        path = tmp_path / "b" / "keys" / f"{key.id}.key"
        path.unlink()
        await b.restart()
        assert b.store.state(b.store.registry.all()[0])[0] == "missing"
        got = await opened(b, sealed)
        assert set(got.zones) == {A, B}
        assert path.exists()
        await b.restart()
        proof = await b.ask(wp.ProveRequest(1, B, key.id, b"n" * 32), DAEMON)
        assert isinstance(proof, wp.ProveReply)

    run(inside, tmp_path)


def test_a_key_in_the_trash_stays_there(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key = await a.key(A)
        sealed = await letter(a, key)
        await opened(b, sealed)
        await b.ask(wp.RemoveRequest(1, A, key.id), DAEMON)
        assert await b.trash() == [key.id]
        await why_not(b, sealed)
        assert await b.trash() == [key.id]

    run(inside, tmp_path)


def test_a_forged_sealing_key_gets_nothing(tmp_path: Path) -> None:
    """Who owns the database can write any key there: only those of the configuration count."""

    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key = await a.key(A)
        for name in ("c", "a", ""):
            error = await a.refused(wp.SealRequest(1, A, key.id, name), DAEMON)
            assert "nothing is sealed for it" in error.message
        thief = X25519PrivateKey.generate()
        pinned = {
            name: sealing_key_octets(text) for name, text in (b.sealing or SealingSettings()).keys.items()
        }
        sealed = await letter(a, key)
        for forger in (
            SealingNode("a", thief, pinned),  # the name of a node, another key
            SealingNode("a", thief, {**pinned, "a": thief.public_key().public_bytes_raw()}),
            Pretender("a", thief, pinned),
        ):
            forged = forger.seal("b", a.store.registry.all()[0], b"private")
            assert "it was not made by node a" in await why_not(b, forged)
        unknown = SealingNode("x", thief, pinned).seal("b", a.store.registry.all()[0], b"private")
        assert "its sender 'x' is no other node" in await why_not(b, unknown)
        reader = SealingNode("b", thief, pinned)  # who stole the database and pretends to be the recipient
        with pytest.raises(Exception, match="was not made by node a for this node"):
            reader.open(sealed)

    run(inside, tmp_path)


def test_a_letter_that_was_changed_is_refused(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        sealed = await letter(a, await a.key(A))
        found = msgspec.json.decode(sealed, type=Letter)
        other = msgspec.structs.replace(found.key, zones=(B,))
        for content, why in (
            (changed(sealed, key=other), "it was not made by node a"),
            (changed(sealed, key=msgspec.structs.replace(found.key, created=1)), "it was not made by node a"),
            (
                changed(sealed, sealed=found.sealed[:-1] + bytes([found.sealed[-1] ^ 1])),
                "it was not made by node a",
            ),
            (changed(sealed, sealed=b""), "it was not made by node a"),
            (changed(sealed, ephemeral=bytes(32)), "not one that can be used"),
            (changed(sealed, ephemeral=b"short"), "its key must have 32 octets"),
            (changed(sealed, recipient="a"), "it is for node 'a'"),
            (changed(sealed, sender="b"), "its sender 'b' is no other node"),
            (changed(sealed, format="x"), "its format 'x'"),
            (sealed[:-1], "it is damaged"),
            (b"[" * 60_000, "it is damaged"),
        ):
            assert why in await why_not(b, content), why
        assert "its key is not for b.test." in await why_not(b, sealed, B), "a letter is for its zone only"

    run(inside, tmp_path)


def test_a_letter_is_read_by_its_recipient_only(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b, c = (nodes[name] for name in "abc")
        sealed = await letter(a, await a.key(A))
        assert "it is for node 'b'" in await why_not(c, sealed)
        assert "it was not made by node a" in await why_not(c, changed(sealed, recipient="c"))
        await opened(b, sealed)

    run(inside, tmp_path, "abc")


def test_another_key_under_an_id_is_refused(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        key, mine = await a.key(A), await b.key(A)
        pinned = {
            name: sealing_key_octets(text) for name, text in (a.sealing or SealingSettings()).keys.items()
        }
        sender = SealingNode("a", await a.store.sealing_key(), pinned)
        described = msgspec.structs.replace(a.store.registry.all()[0], id=mine.id)
        der = await a.store.for_letter(a.store.registry.all()[0])
        error = await b.refused(wp.OpenRequest(1, A, sender.seal("b", described, der), "local"), DAEMON)
        assert "no key takes the place of another" in error.message
        described = msgspec.structs.replace(a.store.registry.all()[0], dnskey=mine.dnskey, id="0" * 32)
        error = await b.refused(wp.OpenRequest(1, A, sender.seal("b", described, der), "local"), DAEMON)
        assert "already, under another id" in error.message
        assert await b.kept() == [mine.id]
        assert key.id != mine.id

    run(inside, tmp_path)


def test_a_private_key_that_is_not_the_described_one_is_refused(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        await a.key(A)
        await a.key(A, "ksk")
        one, two = a.store.registry.all()
        pinned = {
            name: sealing_key_octets(text) for name, text in (a.sealing or SealingSettings()).keys.items()
        }
        sender = SealingNode("a", await a.store.sealing_key(), pinned)
        assert "holds another key than it says" in await why_not(
            b, sender.seal("b", one, await a.store.for_letter(two))
        )

    run(inside, tmp_path)


def test_a_stolen_disk_does_not_give_the_sealing_key(tmp_path: Path) -> None:
    """It is encrypted by the store's passphrase, like the keys."""

    async def inside(nodes: Nodes) -> None:
        private = (await nodes["a"].store.sealing_key()).private_bytes_raw()
        files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
        assert any(path.name == "sealing" for path in files)
        assert not any(private in path.read_bytes() for path in files)
        (tmp_path / "a" / "keys" / "passphrase").write_bytes(b"another passphrase\n")
        await nodes["a"].restart()
        error = await nodes["a"].refused(wp.SealingKeyRequest(1), DAEMON)
        assert "cannot be opened with" in error.message
        (tmp_path / "a" / "keys" / "sealing").write_bytes(b"{}")
        assert "not a file of the key service" in (await nodes["a"].refused(wp.SealingKeyRequest(1))).message

    run(inside, tmp_path)


def test_a_node_whose_key_is_not_that_of_the_configuration_seals_nothing(tmp_path: Path) -> None:
    async def inside(nodes: Nodes) -> None:
        a = nodes["a"]
        key = await a.key(A)
        thief = sealing_key_text(X25519PrivateKey.generate().public_key().public_bytes_raw())
        for keys, why in (
            ({"b": thief}, "has no sealing_key: write"),
            ({"a": thief, "b": thief}, "has another"),
        ):
            a.sealing = SealingSettings(node="a", keys=keys)
            await a.restart()
            assert why in (await a.refused(wp.SealRequest(1, A, key.id, "b"), DAEMON)).message

    run(inside, tmp_path)


def test_a_node_that_is_taken_out_of_the_configuration_gets_and_gives_no_more_keys(tmp_path: Path) -> None:
    """At once: the host may have been stolen, and no key service is restarted for it."""

    async def inside(nodes: Nodes) -> None:
        a, b = nodes["a"], nodes["b"]
        ours, theirs = await a.key(A), await b.key(A)
        await letter(a, ours)
        content = await letter(b, theirs, "a")
        assert a.sealing is not None
        keys = dict(a.sealing.keys)
        changes = [
            msgspec.structs.replace(a.limits, sealing=SealingSettings(node="a", keys={"a": keys["a"]}))
        ]
        a.reread = lambda: changes.pop() if changes else None
        a.sealing = SealingSettings(node="a", keys=keys)
        await a.restart()
        assert (
            "no sealing_key of another node"
            in (await a.refused(wp.SealRequest(1, A, ours.id, "b"), DAEMON)).message
        )
        assert "is no other node" in (await a.refused(wp.OpenRequest(1, A, content, "local"), DAEMON)).message
        entries = check(a.home / "audit.log", 1000).entries
        (entry,) = [one.fields for one in entries if one.event == "limits changed"]
        assert entry["sealing_keys"] == f"a {keys['a']}"
        changes.append(msgspec.structs.replace(a.limits, sealing=SealingSettings()))
        for _ in range(2):
            assert "it seals no keys" in (await a.refused(wp.SealRequest(1, A, ours.id, "b"), DAEMON)).message
        changes.append(msgspec.structs.replace(a.limits, sealing=SealingSettings(node="a", keys=keys)))
        await opened(a, content)

    run(inside, tmp_path)


def test_without_sharing_nothing_is_sealed(tmp_path: Path) -> None:
    async def inside() -> None:
        bench = Bench(tmp_path)
        await bench.open()
        key = await bench.key(A)
        assert "it seals no keys" in (await bench.refused(wp.SealingKeyRequest(1))).message
        assert "it seals no keys" in (await bench.refused(wp.SealRequest(1, A, key.id, "b"), DAEMON)).message
        await bench.close()

    asyncio.run(inside())


def test_sealed_keys_are_no_way_around_a_second_person(tmp_path: Path) -> None:
    """Exports wait for consent; a letter, which only a node of the configuration reads, does not."""

    async def inside() -> None:
        async with cluster(tmp_path, limits=TWO_PERSON) as nodes:
            key = await nodes["a"].key(A)
            error = await nodes["a"].refused(wp.ExportRequest(1, key.id, PASSPHRASE))
            assert error.code == "consent"
            await opened(nodes["b"], await letter(nodes["a"], key))

    asyncio.run(inside())


def test_of_a_key_of_a_nodes_own_only_the_public_half_goes(tmp_path: Path) -> None:
    async def inside() -> None:
        async with cluster(tmp_path, own="ab") as nodes:
            a, b = nodes["a"], nodes["b"]
            key = await a.key(A)
            content = await letter(a, key)
            told = await opened(b, content)
            assert (told.id, told.dnskey, told.zones, told.detail) == (key.id, key.dnskey, (A,), "a")
            assert (await b.kept(), told.state) == ([], "unavailable")
            assert ("announced to node b", key.id) in a.events()
            assert len(msgspec.json.decode(content, type=Letter).sealed) == 16, (
                "nothing but the mark of the sender"
            )

            assert "was not made by node a" in await why_not(b, changed(content, key=changed_key(content)))
            assert "its sender 'c'" in await why_not(b, changed(content, sender="c"))
            assert "its key is not for" in await why_not(b, content, B)

    asyncio.run(inside())


def changed_key(content: bytes) -> object:
    key = msgspec.json.decode(content, type=Letter).key
    return msgspec.structs.replace(key, dnskey=key.dnskey[:-1] + bytes([key.dnskey[-1] ^ 1]))


@pytest.mark.parametrize("own", ["a", "b"])
def test_nodes_that_do_not_share_in_the_same_way_take_nothing_from_each_other(
    tmp_path: Path, own: str
) -> None:
    async def inside() -> None:
        async with cluster(tmp_path, own=own) as nodes:
            content = await letter(nodes["a"], await nodes["a"].key(A))
            assert "do not share key store 'local' in the same way" in await why_not(nodes["b"], content)

    asyncio.run(inside())
