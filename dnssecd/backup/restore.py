"""Restore a backup: check and judge all zones first; then restore all, zone by zone, or none.

With ``keep_going`` the zones that are not refused are restored.

lock → manifest → unpack and check → state here, public state, keys → decisions → import keys → replace databases
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from msgspec import Struct

from dnssecd.backup.content import Unreadable, stored
from dnssecd.backup.judge import Decision, Options, Refusal, Stored, decide
from dnssecd.backup.keys import Found, KeyFinder, key_service
from dnssecd.backup.manifest import COMMON, ZoneEntry
from dnssecd.backup.place import Note, Placer, prepare, settle
from dnssecd.backup.present_zones import look, readable, servers
from dnssecd.backup.read import Archive, BadArchive, check_database, check_origin, opened
from dnssecd.backup.workplace import place_for
from dnssecd.backup.write import config_digest
from dnssecd.config.model import Config, Peer
from dnssecd.core.keys.restore_limits import LiveServer, goes_back, some
from dnssecd.daemon.zones.specs import peer
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.version.state import Restored
from dnssecd.publish.live import LiveLook
from dnssecd.store import catalogue, schema
from dnssecd.store import operator_log as acts
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import DAMAGE, StoreError
from dnssecd.store.operator_log import Act, ActLog

Told = Callable[[int, int, str], None]
Serving = dict[str, tuple[bool, str | None]]  # zone → frozen, how it was served


NO_OPTIONS = Options()
_UNKNOWN: tuple[bool, str | None] = (False, None)


class Wish(Struct, frozen=True):
    """The request. ``zones`` empty: all; ``secret``: passphrase of the keys; ``check``: change nothing.

    ``keep_going``: restore the other zones if some are refused. Only with ``check``: ``beside_daemon``: the daemon is
    running; ``after_loss``: judge as if this host had lost its state, so that only what is public counts.
    """

    file: Path
    zones: tuple[str, ...] = ()
    secret: bytes | None = None
    options: Options = NO_OPTIONS
    check: bool = False
    keep_going: bool = False
    beside_daemon: bool = False
    after_loss: bool = False


class Done(Struct, frozen=True):
    """The result: the decision on each zone, the refusals, and the restored zones.

    ``absent``: zones of this host that are published and not in the backup.
    """

    decisions: tuple[Decision, ...]
    refusals: tuple[Refusal, ...]
    restored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    keys_brought: int = 0
    absent: tuple[str, ...] = ()


class _Unpacked(Struct, frozen=True):
    entry: ZoneEntry
    path: Path
    state: Stored


def restore(config: Config, wish: Wish, who: tuple[str, int], now: float, told: Told) -> Done:
    """Restore, or return the refusals. Raise BadArchive, OSError, StoreError.

    The caller holds the state directory (``workplace.owned``); a check needs only ``workplace.checking``.
    """
    assert wish.check or not (wish.beside_daemon or wish.after_loss), "only a check can be made so"
    with ExitStack() as stack:
        archive = stack.enter_context(opened(wish.file))
        scratch = stack.enter_context(place_for(config, check=wish.check))
        entries, refusals = _chosen(archive, wish)
        unpacked = _unpack(archive, entries, scratch, told, refusals, keep=not wish.check)
        zones = [one.entry.zone for one in unpacked]
        known_here, earlier = look(config), _earlier(archive, scratch)
        peers = {
            zone: servers(config, zone, known_here.documents.get(zone, earlier.get(zone, _UNKNOWN)[1]))
            for zone in zones
        }
        live = asyncio.run(_look(config, peers, now, told))
        present, notes = (
            ({zone: Stored() for zone in zones}, []) if wish.after_loss else known_here.stored(config, zones)
        )
        decisions = [
            decide(one.entry.zone, one.state, present[one.entry.zone], live[one.entry.zone], wish.options)
            for one in unpacked
        ]
        refusals += [refusal for decision in decisions for refusal in decision.refusals]
        finder, trouble = _finder(stack, config, archive, wish)
        # Who asks for the keys of the backup is not served by zones that cannot be signed.
        needed = wish.after_loss or (wish.secret is not None and finder is None)
        known, lacking = _keys(finder, trouble, unpacked, decisions, bring=False, needed=needed)
        refusals += lacking
        documents = {
            zone for zone, (_, text) in earlier.items() if text is not None
        } | known_here.documents.keys()
        notes += [*_notes(config, archive, zones, documents), *_lost_updates(config, decisions)]
        absent = () if wish.zones else _absent(config, archive, known_here.serials)
        if absent:
            notes.append(f"published here, but not in the backup: {some(absent)}")
        chosen = [] if wish.check else _accepted(wish, unpacked, decisions, refusals)
        if wish.after_loss and finder is not None and finder.not_included:
            notes.append(
                f"private keys that are not in the backup, and must be kept elsewhere: {len(finder.not_included)}"
            )
        if chosen:
            brought_in, lacking = _keys(finder, trouble, *_apart(chosen), bring=True)
            known |= brought_in
            refusals += lacking
            chosen = _accepted(wish, *_apart(chosen), refusals)
        notes += [
            f"keys of {zone} are missing: {'; '.join(found.missing)}; the zone is served, but cannot be signed"
            for zone, found in known.items()
            if found.missing
        ]
        if chosen:
            notes += _apply(config, archive, wish, who, now, told, *_apart(chosen), known, earlier, scratch)
        restored = tuple(one.entry.zone for one, _ in chosen)
        brought = finder.brought if finder else 0
        return Done(tuple(decisions), tuple(refusals), restored, tuple(notes), brought, absent)


def _accepted(
    wish: Wish, unpacked: list[_Unpacked], decisions: list[Decision], refusals: list[Refusal]
) -> list[tuple[_Unpacked, Decision]]:
    """Return what to restore: all or nothing, or with ``keep_going`` all that is not refused."""
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
    remedy = "list the zones in the backup: dnssecd restore FILE --check"
    lost = archive.manifest.damaged
    absent = [
        _damaged(zone, f"{zone} is not in the backup, because its database was damaged: {lost[zone]}")
        if zone in lost
        else Refusal(zone, "not-in-it", f"{zone} is not in the backup", remedy)
        for zone in wish.zones
        if zone not in known
    ]
    return [known[zone] for zone in wish.zones if zone in known], absent


def _unpack(
    archive: Archive,
    entries: list[ZoneEntry],
    scratch: Path,
    told: Told,
    refusals: list[Refusal],
    *,
    keep: bool,
) -> list[_Unpacked]:
    """Unpack and check all databases. keep: they are needed afterwards; else one at a time is on the disk."""
    found = []
    for number, entry in enumerate(entries):
        told(number, len(entries), f"checking {entry.zone}")
        path = scratch / f"{number}.sqlite"
        try:
            archive.unpack(entry.member, path)
            check_database(path, schema.MIGRATIONS, schema.APPLICATION_ID, f"{entry.zone} in the backup")
            check_origin(path, entry.zone)
            found.append(_Unpacked(entry, path, Stored(*stored(path))))
        except BadArchive as error:
            refusals.append(_damaged(entry.zone, str(error)))
        except Unreadable as error:
            refusals.append(_damaged(entry.zone, f"{entry.zone} in the backup cannot be read: {error}"))
        if not keep:
            path.unlink(missing_ok=True)
    return found


def _damaged(zone: str, why: str) -> Refusal:
    remedy = "restore this zone from another backup, and the others with --zone"
    return Refusal(zone, "damaged", why, remedy)


async def _look(
    config: Config, servers_of: dict[str, list[Peer]], now: float, told: Told
) -> dict[str, list[LiveServer]]:
    """Ask the public servers of all zones what they serve."""
    looks = LiveLook(lambda: now)
    done = 0

    async def one(zone: str) -> tuple[str, list[LiveServer]]:
        nonlocal done
        found = await looks.ask(zone, [peer(config, server) for server in servers_of[zone]])
        done += 1
        told(done, len(servers_of), f"checking the public servers of {zone}")
        return zone, found

    return dict(await asyncio.gather(*map(one, servers_of)))


def _finder(stack: ExitStack, config: Config, archive: Archive, wish: Wish) -> tuple[KeyFinder | None, str]:
    """Connect to the key service; return None and the reason if that fails."""
    try:
        client = stack.enter_context(key_service(config, beside_daemon=wish.beside_daemon))
        return KeyFinder(client, archive, config, wish.secret, after_loss=wish.after_loss), ""
    except SignerError as error:
        return None, str(error)


def _keys(
    finder: KeyFinder | None,
    trouble: str,
    unpacked: list[_Unpacked],
    decisions: list[Decision],
    *,
    bring: bool,
    needed: bool = False,
) -> tuple[dict[str, Found], list[Refusal]]:
    """Find or import the keys of all zones; refuse zones that need a new version and lack keys.

    needed: refuse every zone that lacks keys.
    """
    known, refusals = {}, []
    for one, decision in zip(unpacked, decisions, strict=True):
        zone, keyset = one.entry.zone, one.state.keyset
        if keyset is None:
            continue
        if finder is None:
            found = Found(keyset, (f"no connection to the key service: {trouble}",))
        else:
            found = finder.find(zone, keyset, bring=bring)
        if found.missing and (needed or decision.held):
            what = f"keys of {zone} are missing: {'; '.join(found.missing[:6])}"
            remedy = "import them first (dnssecd key import), or restore with --keys --passphrase-file F"
            if finder is None:
                remedy = "start the key service (systemctl start dnssecd-signer), then restore again"
            refusals.append(Refusal(zone, "keys-missing", what, remedy))
        else:
            known[zone] = found
    return known, refusals


def _notes(config: Config, archive: Archive, zones: list[str], documents: set[str]) -> list[str]:
    """Return notes on the configuration. documents: zones of which it is known how they were served."""
    notes = []
    if archive.manifest.config_sha256 != config_digest(config):
        notes.append(f"the configuration differs from the one at the time of the backup ({config.path})")
    notes += [
        f"not in the backup, because it was damaged: {what} ({why})"
        for what, why in archive.manifest.damaged.items()
    ]
    lost = [zone for zone in zones if zone not in config.zones]
    for what, names in (
        ("so still served as before", [zone for zone in lost if zone in documents]),
        ("so not served until they are added to it", [zone for zone in lost if zone not in documents]),
    ):
        if names:
            notes.append(f"not in this host's configuration, {what}: {', '.join(names[:6])}")
    return notes


def _absent(config: Config, archive: Archive, serials: Mapping[str, int]) -> tuple[str, ...]:
    """Return the configured zones that were published here and are not in the backup, damaged ones apart."""
    known = {entry.zone for entry in archive.manifest.zones} | archive.manifest.damaged.keys()
    return tuple(zone for zone in config.zones if zone in serials and zone not in known)


def _lost_updates(config: Config, decisions: list[Decision]) -> list[str]:
    """Return notes on dynamic zones: updates since the backup are in no file."""
    return [
        f"{each.zone} is dynamic: updates after serial {each.serial} are only on its secondaries; transfer them "
        f"(dig AXFR) and import them: dnssecd zone import {each.zone} FILE --replace"
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
    """Carry out the decisions; return notes."""
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
    """Return how zones were served at the time of the backup; none of it is required."""
    name = f"{COMMON[0]}.gz"
    if name not in archive.manifest.members:
        return {}
    path = scratch / COMMON[0]
    try:
        archive.unpack(name, path)
        check_database(path, catalogue.MIGRATIONS, catalogue.APPLICATION_ID, "the catalogue in the backup")
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
    """Restore the histories of events and operator actions if this host has none; never replace them.

    Return those that are damaged in the backup. This does not fail the restore: the zones are in place already.
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
                check_database(path, acts.MIGRATIONS, acts.APPLICATION_ID, "the operator log in the backup")
        except BadArchive as error:
            notes.append(f"{name} was not restored: {error}")
            continue
        placer.put_common(name, path)
    return notes


def _record(config: Config, who: tuple[str, int], at: int, note: Note, decisions: Iterable[Decision]) -> None:
    """Record the restore in the operator log."""
    with closing(ActLog(config.server.state_dir / COMMON[2])) as log:
        zones = [(decision.zone, decision.serial) for decision in decisions]
        log.record(Act(at, who[0], who[1], "restore", note.detail), zones)
