"""Nodes with tokens of their own announce public halves; the sealing key for that is in a file."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import KeystoreSettings, SealingSettings, sealing_key_octets
from dnssecd.signer import algorithms
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.pkcs11.store import Pkcs11Store
from dnssecd.signer.registry import Registry
from dnssecd.signer.sealing import Letter, SealingNode
from tests.unit.signer.service_world import DAEMON, A, B, Bench
from tests.unit.signer.test_signer_sealed import Pretender, letter, sealing_key

Test = Callable[[dict[str, Bench]], Awaitable[None]]


class TokenBench(Bench):
    """Besides the files there is a key store "hsm" whose token is away: nothing here needs it."""

    seals_files, own_tokens, passphrase_file = False, True, ""

    def more_stores(self) -> list[Keystore]:
        settings = KeystoreSettings(
            name="hsm", type="pkcs11", own=self.own_tokens, passphrase_file=self.passphrase_file
        )
        registry = Registry(self.home / "known-hsm")
        self.hsm = Pkcs11Store(settings, registry, self.warnings, self.now, self.home / "tokens")
        return [self.hsm]

    def token_key(self, zone: bytes = A) -> Description:
        """A key that was made in the token."""
        public = algorithms.generate(algorithms.algorithm_of(13), 0).public_key()
        key = Description(
            id="0123456789abcdef" * 2,
            zones=(zone, B),
            role="zsk",
            algorithm=13,
            bits=256,
            flags=256,
            dnskey=algorithms.dnskey_rdata(256, 13, public),
            created=self.time,
            cka_id="c0ffee",
            label="where it is",
            idempotency="asked for so",
        )
        self.hsm.registry.put(key)
        return key


def run(test: Test, home: Path) -> None:
    """a and b have tokens, c has files: all for themselves."""

    async def inside() -> None:
        nodes: dict[str, Bench] = {}
        for name in "abc":
            (home / name).mkdir()
            kind = Bench if name == "c" else TokenBench
            nodes[name] = kind(home / name, sealing=SealingSettings(node=name))
            nodes[name].own = name == "c"
            await nodes[name].open()
        keys = {name: await sealing_key(bench) for name, bench in nodes.items()}
        for name, bench in nodes.items():
            bench.sealing = SealingSettings(node=name, keys=keys)
            await bench.restart()
            assert await sealing_key(bench) == keys[name], "it is kept"
        try:
            await test(nodes)
        finally:
            for bench in nodes.values():
                await bench.close()

    asyncio.run(inside())


def place(home: Path) -> Path:
    return home / "tokens" / "hsm.sealing"


def test_only_the_public_half_goes_to_a_node_with_a_token_or_files_of_its_own(tmp_path: Path) -> None:
    async def inside(nodes: dict[str, Bench]) -> None:
        a = nodes["a"]
        assert isinstance(a, TokenBench)
        key = a.token_key()
        for node, store in (("b", "hsm"), ("c", "local")):
            content = await letter(a, described(key), node)
            for hidden in (key.cka_id, key.label, key.idempotency):
                assert hidden.encode() not in content
            assert len(msgspec.json.decode(content, type=Letter).sealed) == 16, "the mark of the sender alone"
            reply = await nodes[node].ask(wp.OpenRequest(1, A, content, store), DAEMON)
            assert isinstance(reply, wp.KeysReply), reply
            (told,) = reply.keys
            assert (told.dnskey, told.zones, told.detail) == (key.dnskey, (A,), "a")
            assert await nodes[node].kept() == []
            assert (f"announced to node {node}", key.id) in a.events()

    run(inside, tmp_path)


def described(key: Description) -> wp.KeyInfo:
    """All that `letter` looks at."""
    return wp.KeyInfo(key.id, "hsm", key.zones, key.role, 13, 256, 256, key.dnskey, 0, 0, 0, "available", "")


def test_a_letter_that_the_pinned_node_did_not_make_is_refused(tmp_path: Path) -> None:
    """Of whatever kind its keys are said to be."""

    async def inside(nodes: dict[str, Bench]) -> None:
        a, b = nodes["a"], nodes["b"]
        assert isinstance(a, TokenBench)
        key, thief = a.token_key(), X25519PrivateKey.generate()
        assert a.sealing is not None
        pinned = {name: sealing_key_octets(text) for name, text in a.sealing.keys.items()}
        told = msgspec.structs.replace(key, zones=(A,))
        for forger, why in (
            (SealingNode("a", thief, pinned), "it was not made by node a"),
            (Pretender("a", thief, pinned), "it was not made by node a"),
            (SealingNode("x", thief, pinned), "its sender 'x' is no other node"),
        ):
            request = wp.OpenRequest(1, A, forger.seal("b", told, b""), "hsm")
            assert why in (await b.refused(request, DAEMON)).message
        real = SealingNode("a", await a.hsm.sealing_key(), pinned)
        request = wp.OpenRequest(1, A, real.seal("b", told, b"a private key"), "hsm")
        assert "do not share key store 'hsm' in the same way" in (await b.refused(request, DAEMON)).message
        assert await b.kept() == [], "nor is a private key taken"

    run(inside, tmp_path)


def test_the_sealing_key_is_in_a_file_of_the_key_service(tmp_path: Path) -> None:
    async def inside() -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"a passphrase\n")
        bench = TokenBench(tmp_path, sealing=SealingSettings(node="a"))
        bench.passphrase_file = str(secret)
        await bench.open()
        public = await sealing_key(bench)
        file = place(tmp_path) / "sealing"
        private = (await bench.hsm.sealing_key()).private_bytes_raw()
        assert private not in file.read_bytes()
        assert [path.name for path in place(tmp_path).iterdir()] == ["sealing"], "the passphrase is elsewhere"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(place(tmp_path).stat().st_mode) == 0o700
        file.chmod(0o644)
        await bench.restart()
        assert await sealing_key(bench) == public
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [one.code for one in bench.warnings.listed()] == ["key file mode"]
        secret.write_bytes(b"another\n")
        await bench.restart()
        assert "cannot be opened with" in (await bench.refused(wp.SealingKeyRequest(1))).message
        secret.write_bytes(b"a passphrase\n")
        assert await sealing_key(bench) == public, "it is read again"
        await bench.close()

    asyncio.run(inside())


def test_a_passphrase_is_made_beside_the_sealing_key_if_none_is_configured(tmp_path: Path) -> None:
    async def inside() -> None:
        bench = TokenBench(tmp_path, sealing=SealingSettings(node="a"))
        await bench.open()
        await sealing_key(bench)
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place(tmp_path).iterdir()}
        assert names == {"sealing": 0o600, "passphrase": 0o600}
        (place(tmp_path) / "passphrase").unlink()
        await bench.restart()
        assert "passphrase" in (await bench.refused(wp.SealingKeyRequest(1))).message
        assert not (place(tmp_path) / "passphrase").exists(), "no other takes its place"
        await bench.close()

    asyncio.run(inside())


def test_a_token_that_is_not_the_nodes_own_announces_nothing(tmp_path: Path) -> None:
    async def inside() -> None:
        bench = TokenBench(tmp_path, sealing=SealingSettings(node="a"))
        bench.own_tokens = False
        await bench.open()
        key = bench.token_key()
        assert not place(tmp_path).exists()
        assert "it seals no keys" in (await bench.refused(wp.SealingKeyRequest(1))).message
        refused = await bench.refused(wp.SealRequest(1, A, key.id, "b"), DAEMON)
        assert "it seals no keys" in refused.message
        await bench.close()

    asyncio.run(inside())


def test_a_node_has_one_sealing_key_though_it_has_a_token_and_files(tmp_path: Path) -> None:
    """The key that the others know stays when the second key store is added."""

    async def inside() -> None:
        bench = TokenBench(tmp_path, sealing=SealingSettings(node="a"))
        await bench.open()
        public = await sealing_key(bench)
        bench.own = True
        await bench.restart()
        assert await sealing_key(bench) == public
        assert not (tmp_path / "keys" / "sealing").exists()
        await bench.close()

    asyncio.run(inside())
