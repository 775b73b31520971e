"""Keys in memory: those used last are ready to sign, all others are kept in their short form."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dnssecd.signer import algorithms, software_open
from dnssecd.signer.errors import MissingKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.preimage import proof_preimage
from dnssecd.signer.registry import Registry
from dnssecd.signer.software import SoftwareStore
from tests.unit.signer.preimages import wire
from tests.unit.signer.test_signer_software import Bench

ZONE = wire("example.com.")
READY_MAX = 2


async def made(store: SoftwareStore, count: int, algorithm: int = 13) -> list[Description]:
    return [
        await store.generate(ZONE, "zsk", algorithm, 0, "", frozenset(), lambda key: None)
        for _ in range(count)
    ]


async def signs(store: SoftwareStore, key: Description) -> None:
    """Sign at once and by the queue, and verify both."""
    preimage = proof_preimage(ZONE, key.algorithm, algorithms.key_tag(key.dnskey), b"n" * 32)
    verify = algorithms.verifier(key.dnskey)
    for signature in store.sign_at_once(key, [preimage]) or ():
        verify(signature, preimage)
    (signature,) = await store.submit(1, key, [preimage], asyncio.get_running_loop().time() + 10)
    verify(signature, preimage)


@pytest.mark.parametrize("algorithm", [8, 13, 14, 15, 16])
async def test_keys_that_are_not_ready_sign_without_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: int
) -> None:
    monkeypatch.setattr(software_open, "READY_MAX", READY_MAX)
    bench = Bench(tmp_path)
    store = await bench.open()
    keys = await made(store, READY_MAX + 1, algorithm)
    for path in bench.keys.glob("*.key"):
        path.unlink()
    for key in (*keys, *keys):
        await signs(store, key)
    assert len(store._keys._ready) == READY_MAX
    await store.stop()


async def test_a_key_in_use_stays_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software_open, "READY_MAX", READY_MAX)
    store = await Bench(tmp_path).open()
    first, *others = await made(store, 4)
    ready = store._keys.get(first.id)
    for other in others:
        await signs(store, other)
        assert store._keys.get(first.id) is ready
    await store.stop()


@pytest.mark.parametrize("ready", [True, False])
async def test_a_key_that_was_dropped_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    monkeypatch.setattr(software_open, "READY_MAX", READY_MAX if ready else 0)
    bench = Bench(tmp_path)
    store = await bench.open()
    (key,) = await made(store, 1)
    store.accuse(key, b"", b"")
    assert not store._keys.has(key.id)
    assert store._keys.get(key.id) is None
    bench.keys.joinpath(f"{key.id}.key").unlink()
    with pytest.raises(MissingKey):
        await signs(store, key)
    await store.stop()


def test_the_keys_of_a_zone_are_those_that_were_put_and_not_dropped(tmp_path: Path) -> None:
    registry = Registry(tmp_path, derived=True)
    registry.load()
    key = Description("one", (ZONE,), "zsk", 13, 256, 256, b"", 0)
    other = Description("two", (ZONE, b"\x00"), "zsk", 13, 256, 256, b"", 0)
    for each in (key, other, key):
        registry.put(each)
    assert registry.of_zone(ZONE) == [key, other]
    registry.drop("one")
    assert (registry.of_zone(ZONE), registry.of_zone(b"\x00"), registry.of_zone(b"x")) == (
        [other],
        [other],
        [],
    )
    registry.close()
