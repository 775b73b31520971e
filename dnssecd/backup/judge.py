"""May a zone go back to what a back-up has of it? Every refusal says what would break, and what would let it happen."""

from collections.abc import Sequence
from dataclasses import dataclass

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.restore_limits import LiveServer, goes_back, highest, keys_back, live_keys, some


@dataclass(frozen=True)
class Options:
    """What a person has declared.

    ``raise_serial``: publish the older content above every serial that was seen; ``older_keys``: key states may go
    back; ``other_keys``: validators may have other keys cached; ``standby``: this host takes over from a primary.
    """

    raise_serial: bool = False
    older_keys: bool = False
    other_keys: bool = False
    standby: bool = False

    def text(self) -> str:
        """Return them as they are given on the command line, for the history."""
        given = (
            ("--raise-serial", self.raise_serial),
            ("--accept-older-keys", self.older_keys),
            ("--accept-other-keys", self.other_keys),
            ("--standby --primary-fenced", self.standby),
        )
        return " ".join(name for name, is_given in given if is_given)


@dataclass(frozen=True)
class Stored:
    """What is stored of a zone; serial None: nothing is known to have been published; keyset None: none is known."""

    serial: int | None = None
    keyset: Keyset | None = None


@dataclass(frozen=True)
class Refusal:
    """One reason why a zone is not restored. ``code`` is stable."""

    zone: str
    code: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Decision:
    """What becomes of a zone. ``held``: it is published first with a serial above ``floor``, by the daemon."""

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
    """Judge one zone: by what is stored here now and by what its public servers serve."""
    public = highest(live)
    floor = highest(live, present.serial)
    silent = [f"{server.name} ({server.failure})" for server in live if server.silent]
    if restored.serial is None:
        return Decision(zone, None, present.serial, public, False, None, _never(zone, present, floor))
    refusals = [
        *_serial(zone, restored.serial, present, live, options),
        *_states(zone, restored, present, options),
        *_live_keys(zone, restored, live, options),
    ]
    # Where nobody can be asked the state here has to vouch for it: without any it may be older than what is public.
    same = {server.serial for server in live or (present,)} == {restored.serial}
    held = options.standby or options.other_keys or not same or floor not in (None, restored.serial)
    notes = [f"not asked: {', '.join(silent)}; asked again before it is published"] if silent else []
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
    """A zone that had not been published yet when the back-up was made must not displace one that is."""
    if floor is None:
        return ()
    what = f"{zone} is published at serial {floor}; the back-up is from before its first publication"
    return (Refusal(zone, "serial-backwards", what, "leave it out: name the others with --zone"),)


def _serial(
    zone: str, serial: int, present: Stored, live: Sequence[LiveServer], options: Options
) -> list[Refusal]:
    seen = [("the state here", present.serial), *((server.name, server.serial) for server in live)]
    ahead = [f"{name} has {other}" for name, other in seen if other is not None and goes_back(serial, other)]
    if not ahead or options.raise_serial or options.standby:
        return []
    return [
        Refusal(
            zone,
            "serial-backwards",
            f"{zone} would go back to serial {serial}: {some(ahead)}; secondaries would stop transferring",
            "restore a newer back-up; or publish this content with a serial above all of these: --raise-serial "
            "(what changed since is lost unless it is in the input)",
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
            f"key states of {zone} would go back: {some(back)}",
            "restore a newer back-up; if the state here is the wrong one: --accept-older-keys (what validators have "
            "is looked at all the same)",
        )
    ]


def _live_keys(zone: str, restored: Stored, live: Sequence[LiveServer], options: Options) -> list[Refusal]:
    against = live_keys(restored.keyset, live, standby=options.standby, other_keys=options.other_keys)
    found = []
    if against.unseen:
        asked = (
            ", ".join(f"{s.name}: {s.failure or 'does not serve it'}" for s in live) or "none is configured"
        )
        what = f"no server shows a DNSKEY RRset of {zone} to compare the keys with ({asked})"
        remedy = "name the public servers in this host's configuration (secondaries, check_servers), make one reachable"
        found.append(Refusal(zone, "nobody-live", what, remedy))
    if against.apart:
        what = f"{zone} would be signed with keys that validators do not have: {some(against.apart)}"
        found.append(Refusal(zone, "keys-not-live", what, "restore a newer back-up. " + _other_keys(options)))
    if against.unknown:
        what = f"{zone} is signed with keys that the back-up does not know: {some(against.unknown)}"
        remedy = "restore a newer back-up, or one that has them. " + _other_keys(options)
        found.append(Refusal(zone, "foreign-dnskey", what, remedy))
    return found


def _other_keys(options: Options) -> str:
    if options.standby:
        return "A stand-by never publishes with other keys; publish nothing and repair the primary"
    return "If those are lost: --accept-other-keys (bogus where they are cached, until the DNSKEY TTL has passed)"
