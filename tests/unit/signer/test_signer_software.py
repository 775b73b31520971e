"""The software key store: encrypted at rest, modes enforced and reported, nothing made because something is missing."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.keyservice_settings import KeystoreSettings
from dnssecd.signer import algorithms, files, private_formats, software_signing
from dnssecd.signer.errors import Collision, MissingKey, OperatorNeeded, Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.preimage import proof_preimage
from dnssecd.signer.registry import Registry
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.warnings import WarningBook
from tests.unit.signer.preimages import wire

ZONE = wire("example.com.")
NONE: frozenset[int] = frozenset()


def unaccounted(key: Description) -> None:
    """There is no audit log here."""


class Bench:
    """A store in a temporary directory that can be stopped and started again."""

    def __init__(
        self,
        path: Path,
        *,
        removable: bool = False,
        passphrase_file: str = "",
        now: Callable[[], float] = lambda: 1_900_000_000.0,
    ) -> None:
        self.path = path
        self.keys = path / "keys"
        self.settings = KeystoreSettings(
            name="local",
            type="software",
            directory=str(self.keys),
            removable=removable,
            passphrase_file=passphrase_file,
        )
        self.now = now
        self.warnings = WarningBook(now, lambda code, subject, detail: None)

    async def open(self) -> SoftwareStore:
        registry = Registry(self.path / "state" / "known", derived=not self.settings.removable)
        store = SoftwareStore(self.settings, registry, self.warnings, self.now, threads=1)
        await store.start()
        return store

    def firing(self) -> set[str]:
        return {warning.code for warning in self.warnings.listed() if warning.firing}

    def codes(self) -> set[str]:
        return {warning.code for warning in self.warnings.listed()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def sign(store: SoftwareStore, key: Description) -> None:
    """Sign something and verify it."""
    preimage = proof_preimage(ZONE, key.algorithm, algorithms.key_tag(key.dnskey), b"n" * 32)
    loop = asyncio.get_running_loop()
    (signature,) = await store.submit(1, key, [preimage], loop.time() + 10)
    algorithms.verifier(key.dnskey)(signature, preimage)


async def test_keys_survive_a_restart(bench: Bench) -> None:
    store = await bench.open()
    made = [
        await store.generate(ZONE, "zsk", number, 0, "", NONE, unaccounted) for number in (8, 13, 14, 15, 16)
    ]
    await store.stop()
    store = await bench.open()
    assert {key.id for key in store.registry.of_zone(ZONE)} == {key.id for key in made}
    for key in made:
        await sign(store, key)
    assert bench.codes() == set()
    await store.stop()


@pytest.mark.usefixtures("umask_zero")
async def test_files_are_private_and_hold_no_private_key(bench: Bench) -> None:
    store = await bench.open()
    private = algorithms.generate(algorithms.ALGORITHMS[15], 0)
    secret = private.private_bytes_raw()  # type: ignore[union-attr]
    await store.take_in(ZONE, "csk", 15, private, 1_800_000_000, NONE, unaccounted)
    await store.stop()
    seen = 0
    for directory, _, names in os.walk(bench.path):
        if directory != str(bench.path):
            assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o700, directory
        for name in names:
            path = Path(directory) / name
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert secret not in path.read_bytes()
            assert base64.b64encode(secret) not in path.read_bytes()
            seen += 1
    assert seen == 3, "key file, passphrase, what is known of the key"


async def test_wrong_modes_are_corrected_and_reported(bench: Bench) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    other = await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    path, unused = (bench.keys / f"{each.id}.key" for each in (key, other))
    for changed in (path, unused, bench.keys, bench.keys / "passphrase"):
        changed.chmod(0o755)
    await sign(store, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(unused.stat().st_mode) == 0o600, "where one is wrong all are looked at"
    assert stat.S_IMODE(bench.keys.stat().st_mode) == 0o700
    subjects = {warning.subject for warning in bench.warnings.listed() if warning.code == "key file mode"}
    assert subjects == {str(path), str(unused), str(bench.keys), str(bench.keys / "passphrase")}
    await store.stop()
    unused.chmod(0o644)
    await (await bench.open()).stop()
    assert stat.S_IMODE(unused.stat().st_mode) == 0o600, "at the start, too"


async def test_a_lost_file_is_reported_and_the_key_in_memory_used_on(bench: Bench) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    content = (bench.keys / f"{key.id}.key").read_bytes()
    (bench.keys / f"{key.id}.key").unlink()
    await sign(store, key)
    assert "key file gone" in bench.codes()
    await store.stop()
    store = await bench.open()
    assert store.state(key)[0] == "missing"
    with pytest.raises(MissingKey, match="restore"):
        await sign(store, key)
    assert list(bench.keys.glob("*.key")) == []
    (bench.keys / f"{key.id}.key").write_bytes(content)
    await sign(store, key)
    assert not any(warning.firing for warning in bench.warnings.listed())
    await store.stop()


async def test_wrong_passphrase(bench: Bench) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    await store.stop()
    right = (bench.keys / "passphrase").read_bytes()
    (bench.keys / "passphrase").write_bytes(b"another\n")
    store = await bench.open()
    assert store.state(key)[0] == "unavailable"
    assert "key not usable" in bench.codes()
    with pytest.raises(OperatorNeeded, match="passphrase"):
        await sign(store, key)
    (bench.keys / "passphrase").write_bytes(right)
    await sign(store, key)
    assert store.state(key) == ("available", "")
    await store.stop()


async def test_no_new_passphrase_is_made_for_old_keys(bench: Bench) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    await store.stop()
    (bench.keys / "passphrase").unlink()
    store = await bench.open()
    for attempt in (sign(store, key), store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)):
        with pytest.raises(Unavailable, match="restore"):
            await attempt
    assert not (bench.keys / "passphrase").exists()
    await store.stop()


async def test_a_configured_passphrase_file_is_never_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path, passphrase_file=str(tmp_path / "given"))
    store = await bench.open()
    with pytest.raises(Unavailable, match="given"):
        await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    (tmp_path / "given").write_text("correct horse\n")
    (tmp_path / "given").chmod(0o600)
    await sign(store, await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted))
    await store.stop()


async def test_removable_medium(tmp_path: Path) -> None:
    bench = Bench(tmp_path, removable=True)
    store = await bench.open()
    assert store.status().state == "unavailable"
    with pytest.raises(Unavailable, match="mount"):
        await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    assert not bench.keys.exists()
    bench.keys.mkdir(mode=0o700)
    key = await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    await sign(store, key)
    bench.keys.rename(tmp_path / "away")
    assert store.state(key)[0] == "unavailable"
    with pytest.raises(Unavailable, match="mount"):
        await sign(store, key)
    (tmp_path / "away").rename(bench.keys)
    await sign(store, key)
    await store.stop()


async def test_a_medium_that_comes_on_a_full_disk_or_fails_is_still_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, removable=True)
    bench.keys.mkdir(mode=0o700)
    store = await bench.open()
    key = await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    await store.stop()
    bench.keys.rename(tmp_path / "away")
    (store.registry._path(key.id)).unlink()  # it is not known before the medium comes
    store = await bench.open()

    def fails(*_: object, **__: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "write_atomically", fails)
    (tmp_path / "away").rename(bench.keys)
    await sign(store, key)
    assert [each.id for each in store.registry.all()] == [key.id]
    monkeypatch.setattr(Path, "is_dir", fails)  # it was pulled out
    assert store.state(key)[0] == "unavailable"
    monkeypatch.undo()
    assert store.state(key)[0] == "available"
    await store.stop()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"role":"zsk"', b'"role":"csk"'),
        lambda text: text[:-20] + b"AAAA" + text[-16:],
        lambda text: text[: len(text) // 2],
        lambda text: b"",
    ],
)
async def test_an_edited_key_file_does_not_open(bench: Bench, change: Callable[[bytes], bytes]) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    await store.stop()
    path = bench.keys / f"{key.id}.key"
    path.write_bytes(change(path.read_bytes()))
    store = await bench.open()
    with pytest.raises(OperatorNeeded, match=str(path)):
        await sign(store, key)
    await store.stop()


async def test_key_tags_in_use_are_avoided(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await bench.open()
    pool = [algorithms.generate(algorithms.ALGORITHMS[13], 0) for _ in range(3)]
    supply = iter(pool)
    monkeypatch.setattr(algorithms, "generate", lambda kind, bits: next(supply))

    def tags_of(private: algorithms.PrivateKey) -> tuple[int, int]:
        return algorithms.tags(algorithms.dnskey_rdata(257, 13, private.public_key()))

    taken = frozenset({tags_of(pool[0])[0], tags_of(pool[1])[1]})
    key = await store.generate(ZONE, "ksk", 13, 0, "", taken, unaccounted)
    assert algorithms.tags(key.dnskey) == tags_of(pool[2])
    with pytest.raises(Collision):
        await store.take_in(ZONE, "ksk", 13, pool[0], 0, taken, unaccounted)
    await store.stop()


async def test_restored_key_files_are_found(bench: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path / "other")
    store = await other.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    await store.stop()
    other.keys.rename(bench.keys)
    store = await bench.open()
    assert store.registry.of_zone(ZONE) == [key]
    await sign(store, key)
    await store.stop()


async def test_destroyed_keys_are_gone(bench: Bench) -> None:
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    await store.destroy(key)
    assert store.registry.of_zone(ZONE) == []
    assert list(bench.keys.glob("*.key")) == []
    await store.stop()


def test_bind_rsa_file_round_trip(tmp_path: Path) -> None:
    private = algorithms.generate(algorithms.ALGORITHMS[8], 2048)
    numbers = private.private_numbers()  # type: ignore[union-attr]
    fields = {
        "Modulus": numbers.public_numbers.n,
        "PublicExponent": numbers.public_numbers.e,
        "PrivateExponent": numbers.d,
        "Prime1": numbers.p,
        "Prime2": numbers.q,
    }
    text = "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\n" + "".join(
        f"{name}: {base64.b64encode(value.to_bytes((value.bit_length() + 7) // 8)).decode()}\n"
        for name, value in fields.items()
    )
    assert private_formats.load(text.encode(), 8).public_key() == private.public_key()


async def test_a_medium_is_asked_for_and_may_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_900_000_000.0]
    bench = Bench(tmp_path, removable=True, now=lambda: now[0])
    store = await bench.open()
    firing = bench.firing
    assert firing() == set(), "an absent medium is no fault while nobody needs it"
    with pytest.raises(Unavailable):
        await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    assert firing() == {"media needed"}
    bench.keys.mkdir(mode=0o700)
    key = await store.generate(ZONE, "ksk", 13, 0, "", NONE, unaccounted)
    assert firing() == set()
    now[0] += 301
    store.medium.report_idle()
    assert "can be removed" in bench.warnings.listed()[-1].detail
    now[0] += 3600
    store.medium.report_idle()
    assert "still there" in bench.warnings.listed()[-1].detail
    await sign(store, key)
    assert firing() == set()
    now[0] += 301
    store.medium.report_idle()
    assert firing() == {"media present"}
    bench.keys.rename(tmp_path / "away")
    assert store.status().state == "unavailable"
    assert firing() == set()
    await store.stop()


async def test_key_files_that_changed_places_are_not_used(bench: Bench) -> None:
    store = await bench.open()
    one, two = [await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted) for _ in range(2)]
    await store.stop()
    one_path, two_path = (bench.keys / f"{key.id}.key" for key in (one, two))
    content = one_path.read_bytes()
    one_path.write_bytes(two_path.read_bytes())
    two_path.write_bytes(content)
    store = await bench.open()
    assert {warning.subject for warning in bench.warnings.listed()} >= {str(one_path), str(two_path)}
    for key in (one, two):
        with pytest.raises(OperatorNeeded, match="another key"):
            await sign(store, key)
    await store.stop()


async def test_the_passphrase_of_a_back_up_is_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software_signing, "IDLE_S", 0.02)
    store = await bench.open()
    key = await store.generate(ZONE, "zsk", 13, 0, "", NONE, unaccounted)
    directory = store._directory
    await store.export(key, b"of the back-up")
    async with asyncio.timeout(20):
        while directory._backup is not None:
            await asyncio.sleep(0.01)
    await store.stop()
    directory.export(key, b"of the back-up")
    assert directory._backup is not None
    directory.forget()
    assert directory._backup is None, "it goes with the key medium, too"
