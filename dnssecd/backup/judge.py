"""Decide whether a zone may be restored from a backup. Every refusal has the damage it prevents and a remedy."""

from collections.abc import Sequence

from msgspec import Struct

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.restore_limits import LiveServer, goes_back, highest, keys_back, live_keys, some


class Options(Struct, frozen=True):
    """The declarations of the operator.

    ``raise_serial``: publish the older content with a serial above every serial seen; ``older_keys``: accept older key
    states; ``other_keys``: accept that validators have other keys cached; ``standby``: take over from a primary.
    """

    raise_serial: bool = False
    older_keys: bool = False
    other_keys: bool = False
    standby: bool = False

    def text(self) -> str:
        """Return the options as on the command line, for the history."""
        given = (
            ("--raise-serial", self.raise_serial),
            ("--accept-older-keys", self.older_keys),
            ("--accept-other-keys", self.other_keys),
            ("--standby --primary-fenced", self.standby),
        )
        return " ".join(name for name, is_given in given if is_given)


class Stored(Struct, frozen=True):
    """The stored state of a zone; serial None: no published version is known; keyset None: no key set is known."""

    serial: int | None = None
    keyset: Keyset | None = None


class Refusal(Struct, frozen=True):
    """One reason why a zone is not restored. ``code`` does not change between versions."""

    zone: str
    code: str
    what: str
    remedy: str


class Decision(Struct, frozen=True):
    """The decision on a zone. ``held``: the daemon first publishes it with a serial above ``floor``."""

    zone: str
    serial: int | None
    present: int | None
    public: int | None
    held: bool
    floor: int | None
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def decide(
    zone: str, restored: Stored, present: Stored, live: Sequence[LiveServer], options: Options
) -> Decision:
    """Judge one zone by its state on this host and by what its public servers serve."""
    public = highest(live)
    floor = highest(live, present.serial)
    silent = [f"{server.name} ({server.failure})" for server in live if server.silent]
    if restored.serial is None:
        return Decision(zone, None, present.serial, public, False, None, _never(zone, present, floor))
    # If no server answers, the state on this host is the only evidence: without it the backup may be older than the
    # public zone.
    same = {server.serial for server in live or (present,)} == {restored.serial}
    held = options.standby or options.other_keys or not same or floor not in (None, restored.serial)
    refusals = [
        *_serial(zone, restored.serial, present, live, options),
        *_states(zone, restored, present, options),
        *_live_keys(zone, restored, live, options, new_version=held),
    ]
    notes = (
        [f"no answer from: {', '.join(silent)}; the daemon asks again before it publishes the zone"]
        if silent
        else []
    )
    return Decision(
        zone,
        restored.serial,
        present.serial,
        public,
        held,
        floor if held else None,
        tuple(refusals),
        tuple(notes),
    )


def _never(zone: str, present: Stored, floor: int | None) -> tuple[Refusal, ...]:
    """Refuse to replace a published zone by one that was unpublished at the time of the backup."""
    if floor is None:
        return ()
    what = f"{zone} is published with serial {floor}; the backup was made before its first publication"
    return (Refusal(zone, "serial-backwards", what, "omit this zone: name the others with --zone"),)


def _serial(
    zone: str, serial: int, present: Stored, live: Sequence[LiveServer], options: Options
) -> list[Refusal]:
    seen = [("the state on this host", present.serial), *((server.name, server.serial) for server in live)]
    ahead = [f"{name} has {other}" for name, other in seen if other is not None and goes_back(serial, other)]
    if not ahead or options.raise_serial or options.standby:
        return []
    return [
        Refusal(
            zone,
            "serial-backwards",
            f"the serial of {zone} would decrease to {serial}: {some(ahead)}; secondaries would stop transferring",
            "restore a newer backup; or publish this content with a serial above all of these: --raise-serial "
            "(later changes are lost unless they are in the input)",
        )
    ]


def _states(zone: str, restored: Stored, present: Stored, options: Options) -> list[Refusal]:
    if present.keyset is None or restored.keyset is None or options.older_keys:
        return []
    back = keys_back(present.keyset, restored.keyset)
    if not back:
        return []
    return [
        Refusal(
            zone,
            "keys-backwards",
            f"the backup has older key states of {zone}: {some(back)}",
            "restore a newer backup; if the state on this host is wrong: --accept-older-keys (the keys of validators "
            "are checked in any case)",
        )
    ]


def _live_keys(
    zone: str, restored: Stored, live: Sequence[LiveServer], options: Options, *, new_version: bool
) -> list[Refusal]:
    against = live_keys(
        restored.keyset,
        live,
        standby=options.standby,
        other_keys=options.other_keys,
        new_version=new_version,
    )
    found = []
    if against.unseen:
        asked = (
            ", ".join(f"{s.name}: {s.failure or 'does not serve it'}" for s in live)
            or "no server is configured"
        )
        what = f"the keys cannot be checked: no server returns a DNSKEY RRset of {zone} ({asked})"
        remedy = "add the public servers to this host's configuration (secondaries, check_servers); make one reachable"
        found.append(Refusal(zone, "nobody-live", what, remedy))
    if against.apart:
        what = f"{zone} would be signed with keys that validators do not have: {some(against.apart)}"
        found.append(Refusal(zone, "keys-not-live", what, "restore a newer backup. " + _other_keys(options)))
    if against.ahead:
        what = (
            f"{zone} would be published without keys whose signatures validators have: {some(against.ahead)}"
        )
        found.append(Refusal(zone, "keys-ahead", what, "restore a newer backup. " + _other_keys(options)))
    if against.lost:
        what = f"no key that validators have can sign a new version of {zone}: {some(against.lost)}"
        remedy = "restore a backup of the version that is served, or from before the loss. " + _other_keys(
            options
        )
        found.append(Refusal(zone, "keys-lost", what, remedy))
    if against.unknown:
        what = f"{zone} is signed with keys that are not in the backup: {some(against.unknown)}"
        remedy = "restore a newer backup, or one that has these keys. " + _other_keys(options)
        found.append(Refusal(zone, "foreign-dnskey", what, remedy))
    return found


def _other_keys(options: Options) -> str:
    if options.standby:
        return "A standby must not publish with other keys: repair the primary instead"
    return "If these keys are lost: --accept-other-keys (the zone is bogus where they are cached, for the DNSKEY TTL)"
