"""Restoring: everything is checked and judged first; then all of it happens, zone by zone, or nothing.

With ``keep_going`` the zones that are not refused are restored all the same.

lock → manifest → unpack and check → what is here, what is public, which keys → decisions → keys in → databases in
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dnssecd.backup.content import Unreadable, stored
from dnssecd.backup.judge import Decision, Options, Refusal, Stored, decide
from dnssecd.backup.keys import Found, KeyFinder, key_service
from dnssecd.backup.manifest import COMMON, ZoneEntry
from dnssecd.backup.place import Note, Placer, prepare, settle
from dnssecd.backup.present_zones import look, readable, servers
from dnssecd.backup.read import Archive, BadArchive, check_database, check_origin, opened
from dnssecd.backup.write import config_digest
from dnssecd.config.model import Config, Peer
from dnssecd.core.keys.restore_limits import LiveServer, goes_back
from dnssecd.daemon.zones.specs import peer
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.version.state import Restored
from dnssecd.publish.live import LiveLook
from dnssecd.store import catalogue, schema
from dnssecd.store import operator_log as acts
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import DAMAGE, StoreError
from dnssecd.store.operator_log import Act, ActLog
from dnssecd.store.statedir import own

Told = Callable[[int, int, str], None]
Serving = dict[str, tuple[bool, str | None]]  # zone → frozen, how it was served


NO_OPTIONS = Options()
_SCRATCH = ".restore-"
_UNKNOWN: tuple[bool, str | None] = (False, None)


@dataclass(frozen=True)
class Wish:
    """What is asked for. ``zones`` empty: all; ``secret``: passphrase of the keys; ``check``: only judge.

    ``keep_going``: restore the zones that are not refused though others are.
    """

    file: Path
    zones: tuple[str, ...] = ()
    secret: bytes | None = None
    options: Options = NO_OPTIONS
    check: bool = False
    keep_going: bool = False


@dataclass(frozen=True)
class Done:
    """What came of it: what was decided of each zone, what was refused, and which zones were restored."""

    decisions: tuple[Decision, ...]
    refusals: tuple[Refusal, ...]
    restored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    keys_brought: int = 0


@dataclass(frozen=True)
class _Unpacked:
    entry: ZoneEntry
    path: Path
    state: Stored


@contextmanager
def owned(config: Config) -> Iterator[None]:
    """Hold the state directory for the length of the block; StateInUse, OSError."""
    lock = own(config.server.state_dir)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _scratch(zones: Path) -> Iterator[Path]:
    """A private directory on the file system of the databases; what a killed restore left of its own is removed."""
    for left in zones.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=zones) as name:
        yield Path(name)


def restore(config: Config, wish: Wish, who: tuple[str, int], now: float, told: Told) -> Done:
    """Restore, or say why not. The state directory is owned. BadArchive, OSError, StoreError."""
    with ExitStack() as stack:
        archive = stack.enter_context(opened(wish.file))
        scratch = stack.enter_context(_scratch(config.server.state_dir / "zones"))
        entries, refusals = _chosen(archive, wish)
        unpacked = _unpack(archive, entries, scratch, told, refusals)
        zones = [one.entry.zone for one in unpacked]
        known_here, earlier = look(config), _earlier(archive, scratch)
        peers = {
            zone: servers(config, zone, known_here.documents.get(zone, earlier.get(zone, _UNKNOWN)[1]))
            for zone in zones
        }
        live = asyncio.run(_look(config, peers, now, told))
        present, notes = known_here.stored(config, zones)
        decisions = [
            decide(one.entry.zone, one.state, present[one.entry.zone], live[one.entry.zone], wish.options)
            for one in unpacked
        ]
        refusals += [refusal for decision in decisions for refusal in decision.refusals]
        finder, trouble = _finder(stack, config, archive, wish)
        known, lacking = _keys(finder, trouble, unpacked, decisions, bring=False)
        refusals += lacking
        documents = {
            zone for zone, (_, text) in earlier.items() if text is not None
        } | known_here.documents.keys()
        notes += [*_notes(config, archive, zones, documents), *_lost_updates(config, decisions)]
        chosen = [] if wish.check else _accepted(wish, unpacked, decisions, refusals)
        if chosen:
            brought_in, lacking = _keys(finder, trouble, *_apart(chosen), bring=True)
            known |= brought_in
            refusals += lacking
            chosen = _accepted(wish, *_apart(chosen), refusals)
        notes += [
            f"{zone} lacks keys here: {'; '.join(found.missing)}; it is served, but cannot be signed without them"
            for zone, found in known.items()
            if found.missing
        ]
        if chosen:
            notes += _apply(config, archive, wish, who, now, told, *_apart(chosen), known, earlier, scratch)
        restored = tuple(one.entry.zone for one, _ in chosen)
        brought = finder.brought if finder else 0
        return Done(tuple(decisions), tuple(refusals), restored, tuple(notes), brought)


def _accepted(
    wish: Wish, unpacked: list[_Unpacked], decisions: list[Decision], refusals: list[Refusal]
) -> list[tuple[_Unpacked, Decision]]:
    """Return what is to be restored: all or nothing, or all that is not refused."""
    if refusals and not wish.keep_going:
        return []
    refused = {refusal.zone for refusal in refusals}
    pairs = zip(unpacked, decisions, strict=True)
    return [(one, decision) for one, decision in pairs if decision.zone not in refused]


def _apart(chosen: list[tuple[_Unpacked, Decision]]) -> tuple[list[_Unpacked], list[Decision]]:
    return [one for one, _ in chosen], [decision for _, decision in chosen]


def _chosen(archive: Archive, wish: Wish) -> tuple[list[ZoneEntry], list[Refusal]]:
    known = {entry.zone: entry for entry in archive.manifest.zones}
    if not wish.zones:
        return list(known.values()), []
    remedy = "dnssecd restore FILE --check lists what is in it"
    lost = archive.manifest.damaged
    absent = [
        _damaged(zone, f"{zone} was damaged when the back-up was made, and left out: {lost[zone]}")
        if zone in lost
        else Refusal(zone, "not-in-it", f"the back-up has no {zone}", remedy)
        for zone in wish.zones
        if zone not in known
    ]
    return [known[zone] for zone in wish.zones if zone in known], absent


def _unpack(
    archive: Archive, entries: list[ZoneEntry], scratch: Path, told: Told, refusals: list[Refusal]
) -> list[_Unpacked]:
    found = []
    for number, entry in enumerate(entries):
        told(number, len(entries), f"checking {entry.zone}")
        path = scratch / f"{number}.sqlite"
        try:
            archive.unpack(entry.member, path)
            check_database(path, schema.MIGRATIONS, schema.APPLICATION_ID, f"{entry.zone} in the back-up")
            check_origin(path, entry.zone)
            found.append(_Unpacked(entry, path, Stored(*stored(path))))
        except BadArchive as error:
            refusals.append(_damaged(entry.zone, str(error)))
        except Unreadable as error:
            refusals.append(_damaged(entry.zone, f"{entry.zone} in the back-up cannot be read: {error}"))
    return found


def _damaged(zone: str, why: str) -> Refusal:
    remedy = "restore this zone from another back-up, and the others with --zone"
    return Refusal(zone, "damaged", why, remedy)


async def _look(
    config: Config, servers_of: dict[str, list[Peer]], now: float, told: Told
) -> dict[str, list[LiveServer]]:
    """Ask the servers of all zones what they serve."""
    looks = LiveLook(lambda: now)
    done = 0

    async def one(zone: str) -> tuple[str, list[LiveServer]]:
        nonlocal done
        found = await looks.ask(zone, [peer(config, server) for server in servers_of[zone]])
        done += 1
        told(done, len(servers_of), f"what is public of {zone}")
        return zone, found

    return dict(await asyncio.gather(*map(one, servers_of)))


def _finder(stack: ExitStack, config: Config, archive: Archive, wish: Wish) -> tuple[KeyFinder | None, str]:
    """Reach the key service; None, and why, where that cannot be."""
    try:
        client = stack.enter_context(key_service(config))
        return KeyFinder(client, archive, config, wish.secret), ""
    except SignerError as error:
        return None, str(error)


def _keys(
    finder: KeyFinder | None,
    trouble: str,
    unpacked: list[_Unpacked],
    decisions: list[Decision],
    *,
    bring: bool,
) -> tuple[dict[str, Found], list[Refusal]]:
    """Find the keys of all zones, or bring them in; refuse zones that have to be published anew without theirs."""
    known, refusals = {}, []
    for one, decision in zip(unpacked, decisions, strict=True):
        zone, keyset = one.entry.zone, one.state.keyset
        if keyset is None:
            continue
        if finder is None:
            found = Found(keyset, (f"the key service cannot be asked: {trouble}",))
        else:
            found = finder.find(zone, keyset, bring=bring)
        if found.missing and decision.held:
            what = f"{zone} lacks keys here: {'; '.join(found.missing[:6])}"
            remedy = "bring them in first (dnssecd key import), or restore with --keys --passphrase-file F"
            refusals.append(Refusal(zone, "keys-missing", what, remedy))
        else:
            known[zone] = found
    return known, refusals


def _notes(config: Config, archive: Archive, zones: list[str], documents: set[str]) -> list[str]:
    """documents: zones of which it is known how they were served."""
    notes = []
    if archive.manifest.config_sha256 != config_digest(config):
        notes.append(
            f"the configuration differs from the one in use when the back-up was made ({config.path})"
        )
    notes += [
        f"not in the back-up, since it was damaged when that was made: {what} ({why})"
        for what, why in archive.manifest.damaged.items()
    ]
    lost = [zone for zone in zones if zone not in config.zones]
    for what, names in (
        ("and so served on as they were", [zone for zone in lost if zone in documents]),
        ("and not served before it names them", [zone for zone in lost if zone not in documents]),
    ):
        if names:
            notes.append(f"not in the configuration here, {what}: {', '.join(names[:6])}")
    return notes


def _lost_updates(config: Config, decisions: list[Decision]) -> list[str]:
    """What dynamic zones got since the back-up is not in any file."""
    return [
        f"{each.zone} is dynamic: what it got since serial {each.serial} is at its secondaries only; fetch it there "
        f"(dig AXFR) and bring it in: dnssecd zone import {each.zone} FILE --replace"
        for each in decisions
        if each.zone in config.zones
        and config.zones[each.zone].source == "dynamic"
        and each.serial is not None
        and goes_back(each.serial, each.floor)
    ]


def _apply(
    config: Config,
    archive: Archive,
    wish: Wish,
    who: tuple[str, int],
    now: float,
    told: Told,
    unpacked: list[_Unpacked],
    decisions: list[Decision],
    known_keys: dict[str, Found],
    earlier: Serving,
    scratch: Path,
) -> list[str]:
    """Carry out what was decided; return what is to be said of it."""
    notes: list[str] = []
    at = int(now)
    source = f"{wish.file.name} of {archive.manifest.host}, made at {archive.manifest.made_at}"
    note = Note(at, who[0], f"from {source} {wish.options.text()}".strip())
    for number, (one, decision) in enumerate(zip(unpacked, decisions, strict=True)):
        zone = one.entry.zone
        told(number, 2 * len(unpacked), f"preparing {zone}")
        keyset = known_keys[zone].keyset if zone in known_keys else None
        restored = Restored(
            at=at,
            who=who[0],
            source=source,
            floor=decision.floor,
            standby=wish.options.standby,
            other_keys=wish.options.other_keys,
        )
        prepare(one.path, keyset, restored if decision.held else None, note)
    settle([one.path for one in unpacked])
    with closing(Catalogue(config.server.state_dir / COMMON[0])) as known:
        placer = Placer(config, known, at)
        placer.forget({one.entry.zone: earlier.get(one.entry.zone, _UNKNOWN) for one in unpacked})
        for number, one in enumerate(unpacked, len(unpacked)):
            told(number, 2 * len(unpacked), f"restoring {one.entry.zone}")
            placer.put(one.entry.zone, one.path)
        if not wish.zones and not wish.options.standby:
            notes = _common(config, archive, placer, scratch)
        _record(config, who, at, note, decisions)
        placer.finish()
    return notes


def _earlier(archive: Archive, scratch: Path) -> Serving:
    """How zones were served when the back-up was made; nothing of it is needed."""
    name = f"{COMMON[0]}.gz"
    if name not in archive.manifest.members:
        return {}
    path = scratch / COMMON[0]
    try:
        archive.unpack(name, path)
        check_database(path, catalogue.MIGRATIONS, catalogue.APPLICATION_ID, "the catalogue in the back-up")
    except BadArchive:
        return {}
    try:
        return _served_then(path)
    except (StoreError, *DAMAGE):
        return {}


def _served_then(path: Path) -> Serving:
    with closing(Catalogue(path)) as known:
        documents = {zone: text for zone, text in known.serving().items() if readable(text)}
        return {
            zone: (bool(entry.frozen), documents.get(zone)) for zone, entry in known.entries().items()
        } | {zone: (False, text) for zone, text in documents.items() if zone not in known.entries()}


def _common(config: Config, archive: Archive, placer: Placer, scratch: Path) -> list[str]:
    """Bring back the histories of events and acts where there are none: what is here is never replaced.

    Return which are damaged in the back-up: zones are worth more, and in place already.
    """
    notes = []
    for name in COMMON[1:]:
        member = f"{name}.gz"
        if member not in archive.manifest.members or (config.server.state_dir / name).exists():
            continue
        path = scratch / name
        try:
            archive.unpack(member, path)
            if name == COMMON[2]:
                check_database(path, acts.MIGRATIONS, acts.APPLICATION_ID, "the acts in the back-up")
        except BadArchive as error:
            notes.append(f"{name} was not brought back: {error}")
            continue
        placer.put_common(name, path)
    return notes


def _record(config: Config, who: tuple[str, int], at: int, note: Note, decisions: Iterable[Decision]) -> None:
    """Put the restore into the history of acts."""
    with closing(ActLog(config.server.state_dir / COMMON[2])) as log:
        zones = [(decision.zone, decision.serial) for decision in decisions]
        log.record(Act(at, who[0], who[1], "restore", note.detail), zones)
