"""Restoring as a whole, without a key service: what is here, who is asked, and what is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dnssecd.backup import restore as restoring
from dnssecd.backup.keys import key_service
from dnssecd.backup.restore import Done, Wish, restore
from dnssecd.config.model import Address, Config, Peer
from dnssecd.core.keys.restore_limits import LiveServer
from dnssecd.daemon.zones.specs import database_path, zone_spec
from dnssecd.daemon.zones.unconfigured import remember
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import OperatorNeeded, SignerError
from dnssecd.publish import exchange
from dnssecd.publish.live import LiveLook
from dnssecd.replacing import replace
from dnssecd.store.catalogue import Catalogue, CatalogueEntry
from tests.unit.backup.test_archive import NOW, config, make
from tests.unit.core_parent.keysets import key, keyset

__all__ = ["config"]
B = "b.test."


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key service here."""

    @contextmanager
    def none(config: Config, *, beside_daemon: bool) -> Iterator[SignerClient]:
        raise SignerError("there is none in this test")
        yield

    monkeypatch.setattr(restoring, "key_service", none)


def restored(config: Config, file: Path, *zones: str, check: bool = False) -> Done:
    return restore(config, Wish(file, zones, check=check), ("root", 0), NOW, lambda done, total, what: None)


def codes(done: Done) -> list[tuple[str, str]]:
    return [(refusal.zone, refusal.code) for refusal in done.refusals]


def test_a_zone_that_cannot_be_understood_is_named(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    make(config, file)
    with closing(sqlite3.connect(database_path(config, B))) as db:
        db.execute("UPDATE state SET value = '{' WHERE name = 'keyset'")
        db.commit()
    manifest = make(config, file)
    damaged = tmp_path / "b.tar.incomplete"
    assert codes(restored(config, damaged, B, check=True)) == [(B, "damaged")]
    done = restored(config, damaged, check=True)
    assert done.refusals == ()
    assert any(B in note and "damaged" in note for note in done.notes)
    assert B in manifest.damaged


def test_a_zone_backed_up_by_a_version_that_did_not_look_is_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that only the reader cannot understand."""
    from dnssecd.backup import content, write

    with closing(sqlite3.connect(database_path(config, B))) as db:
        db.execute("UPDATE state SET value = '{\"apex\": 7}' WHERE name = 'keyset'")
        db.commit()
    with monkeypatch.context() as patch:
        patch.setattr(write, "read_copy", lambda copy: (2, None, None))
        make(config, tmp_path / "b.tar")
    assert content.read_copy is write.read_copy
    assert codes(restored(config, tmp_path / "b.tar", check=True)) == [(B, "damaged")]


def _lose(config: Config, zone: str) -> None:
    database_path(config, zone).unlink()


def test_the_catalogue_knows_the_serial_of_a_database_that_is_lost(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    make(config, file)
    with closing(Catalogue(config.server.state_dir / "catalogue.sqlite")) as catalogue:
        catalogue.put(CatalogueEntry(B, 7))
    database_path(config, B).write_bytes(b"nonsense" * 1000)
    done = restored(config, file, B, check=True)
    assert codes(done)[:1] == [(B, "serial-backwards")]
    assert (done.decisions[0].present, done.decisions[0].floor) == (7, 7)
    _lose(config, B)
    assert restored(config, file, B, check=True).decisions[0].present == 7


def test_nothing_is_made_where_nothing_is(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    make(config, file)
    for path in config.server.state_dir.glob("catalogue.sqlite*"):
        path.unlink()
    _lose(config, B)
    (decision,) = restored(config, file, B, check=True).decisions
    assert (decision.present, decision.held) == (None, True)
    assert not (config.server.state_dir / "catalogue.sqlite").exists()


@pytest.mark.parametrize("here", [True, False])
def test_servers_of_a_zone_that_is_not_configured_are_asked(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    """How it was served says which they are: in the catalogue here, or the one in the backup."""
    zone = config.zones["a.test."]
    secondary = Peer("ns1", Address("192.0.2.1", 53), None)
    known = replace(
        config,
        secondaries={"ns1": secondary},
        zones={"a.test.": zone, B: replace(zone, name=B, secondaries=("ns1",))},
    )
    document = remember(known, known.zones[B], zone_spec(known, known.zones[B], "socket", None))
    with closing(Catalogue(config.server.state_dir / "catalogue.sqlite")) as catalogue:
        catalogue.put_serving({B: document})
    file = tmp_path / "b.tar"
    make(config, file)
    if not here:
        for path in config.server.state_dir.glob("catalogue.sqlite*"):
            path.unlink()
    asked = []

    async def ask(self: LiveLook, name: str, peers: Iterable[exchange.Peer]) -> list[LiveServer]:
        asked.extend([(name, peer.name, peer.host) for peer in peers])
        return [LiveServer("ns1", 9)]

    monkeypatch.setattr(LiveLook, "ask", ask)
    done = restored(config, file, B, check=True)
    assert asked == [(B, "ns1", "192.0.2.1")]
    assert codes(done)[:1] == [(B, "serial-backwards")]


def test_an_unreadable_document_asks_no_server_and_is_not_restored(config: Config, tmp_path: Path) -> None:
    path = config.server.state_dir / "catalogue.sqlite"
    with closing(Catalogue(path)) as catalogue:
        catalogue.put_serving({B: "{"})
    file = tmp_path / "b.tar"
    make(config, file)
    for left in config.server.state_dir.glob("catalogue.sqlite*"):
        left.unlink()
    assert restored(config, file, B).refusals == ()
    with closing(Catalogue(path)) as catalogue:
        assert catalogue.serving() == {}


def test_keys_that_are_asked_for_are_brought_or_nothing_is_done(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--keys` without a key service: no zone is restored, which could not be signed then."""
    file = tmp_path / "b.tar"
    make(config, file)
    monkeypatch.setattr(restoring, "stored", lambda path: (1, keyset(key(1))))
    for check in (True, False):
        done = restore(config, Wish(file, (), b"secret", check=check), ("root", 0), NOW, lambda *told: None)
        assert {code for _, code in codes(done)} == {"keys-missing"}
        assert "start the key service" in done.refusals[0].remedy
        assert not done.restored


def test_a_key_service_that_does_not_run_is_named(config: Config, tmp_path: Path) -> None:
    signer = replace(config.signer, socket=tmp_path / "run/signer.sock")
    with (
        pytest.raises(OperatorNeeded, match=r"it does not run: .*run/signer\.sock does not exist"),
        key_service(replace(config, signer=signer)),
    ):
        pass
