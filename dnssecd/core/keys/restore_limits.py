"""What going back to an earlier state of a zone would break: its serial, its keys, what validators have cached.

Two incidents are behind it: a stand-by that signed with keys nobody had (APNIC 2012), and a serial that went back, so
that secondaries stopped transferring (ARIN 2016).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import Key, Keyset, key_tag
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, State

_NAMES = {Rec.DNSKEY: "DNSKEY", Rec.ZRRSIG: "zone signatures", Rec.KRRSIG: "key signatures", Rec.DS: "DS"}
#: How far along its life a record is; a hidden one is at one end or the other (`_age`).
_AGE = {State.RUMOURED: 1, State.OMNIPRESENT: 2, State.UNRETENTIVE: 3}
_GONE = 4
#: Of many texts so many are said.
SAID_MAX = 6


@dataclass(frozen=True)
class LiveServer:
    """What one server serves now: its serial and the RDATA of its DNSKEY RRset; None: it does not serve the zone.

    ``failure`` says why it could not be asked, "" where it answered.
    """

    name: str
    serial: int | None = None
    dnskeys: frozenset[bytes] | None = None
    failure: str = ""

    @property
    def silent(self) -> bool:
        """Whether it may serve something that we do not know of."""
        return bool(self.failure)


def highest(live: Iterable[LiveServer], *others: int | None) -> int | None:
    """Return the latest serial that any server, or one of ``others``, has (RFC 1982); None where there is none."""
    best: int | None = None
    for serial in (*(server.serial for server in live), *others):
        if serial is not None and (best is None or is_after(serial, best)):
            best = serial
    return best


def goes_back(serial: int, reference: int | None) -> bool:
    """Tell whether publishing ``serial`` where ``reference`` was would be a step back (RFC 1982 §3.2).

    Serials that cannot be compared count as a step back.
    """
    return reference is not None and serial != reference and not is_after(serial, reference)


def signers(keyset: Keyset) -> list[Key]:
    """Return the keys whose signatures the zone has: validators need their DNSKEY."""
    return [key for key in keyset.keys if key.zrrsig.visible or key.krrsig.visible]


def not_live(keyset: Keyset, live: Iterable[LiveServer]) -> list[str]:
    """Say which of the keys that sign are not in the DNSKEY RRset that validators get now, and at which server.

    A key is asked for when its DNSKEY had reached everybody. Others sign before their DNSKEY comes, or after it went
    (algorithm roll-over, RFC 6781 §4.1.4), or their DNSKEY was on its way; they add signatures that validators need
    not know. But at each server some key that signs the zone has to be there, and one that signs the DNSKEY RRset,
    unless no validator follows a DS to the zone yet: then keys may be replaced at once, and any key of ours will do.
    """
    found = []
    for server in live:
        if server.dnskeys is not None:
            served = {rdata[2:] for rdata in server.dnskeys}
            found += [
                f"key {key.tag} ({key.role.value}) signs, but {server.name} does not have it in its DNSKEY RRset"
                for key in _lacking(keyset, served)
            ]
    return found


def _lacking(keyset: Keyset, served: set[bytes]) -> list[Key]:
    """Return the keys for want of which a validator with these DNSKEYs (without flags) could not follow."""
    apart = [key for key in signers(keyset) if key.rdata[2:] not in served]
    if not any(key.rdata[2:] in served for key in keyset.keys):
        return apart
    lacking = [key for key in apart if key.dnskey.state is State.OMNIPRESENT]
    secure = any(key.ds.state is not State.HIDDEN for key in keyset.keys)
    for rec in (Rec.ZRRSIG, Rec.KRRSIG) if secure else ():
        signing = [key for key in keyset.keys if key.record(rec).visible]
        if signing and all(key in apart for key in signing):
            lacking += [key for key in signing if key not in lacking]
    return lacking


def foreign(keyset: Keyset, live: Iterable[LiveServer]) -> list[str]:
    """Say which keys servers publish that are none of the key set's: validators hold signatures made by them."""
    ours = {key.rdata[2:] for key in keyset.keys}
    return [
        f"DNSKEY {key_tag(rdata)} (algorithm {rdata[3]}) at {server.name} is none of the zone's keys"
        for server in live
        for rdata in sorted(server.dnskeys or ())
        if rdata[2:] not in ours
    ]


@dataclass(frozen=True)
class LiveKeys:
    """What speaks against publishing with a key set, by the DNSKEY RRsets that validators get now.

    ``unseen``: nobody shows one, and a stand-by has to see one. ``apart``: our signers that are not in it; ``unknown``:
    keys in it that are not ours. Each text names key and server.
    """

    unseen: bool = False
    apart: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def live_keys(
    keyset: Keyset | None, live: Iterable[LiveServer], *, standby: bool, other_keys: bool
) -> LiveKeys:
    """Compare keys with what is live: the one rule for a restore and for the first publication after it.

    standby: another host published with these keys until now; other_keys: a person accepts that validators have
    others. keyset None: the zone has none yet.
    """
    serving = [server for server in live if server.dnskeys]
    unseen = standby and not serving
    if keyset is None or other_keys:
        return LiveKeys(unseen)
    return LiveKeys(unseen, tuple(not_live(keyset, serving)), tuple(foreign(keyset, serving)))


def some(texts: Sequence[str]) -> str:
    """Return the first few of many texts as one."""
    more = f" and {len(texts) - SAID_MAX} more" if len(texts) > SAID_MAX else ""
    return "; ".join(texts[:SAID_MAX]) + more


def keys_back(present: Keyset, restored: Keyset) -> list[str]:
    """Say in what a key set would go back if ``restored`` took the place of ``present``.

    Steps are numbered (`Keyset.step`): a key that only the set with more steps has, or has not, came or went by them.
    """
    found = []
    for key in present.keys:
        old = restored.find(key.ref)
        if old is not None:
            found += _key_back(key, old)
        elif _held(key, restored.step < present.step) and restored.step <= present.step:
            found.append(f"{_name(key)} would be forgotten, though validators may hold it")
    for key in restored.keys:
        retired = restored.step <= present.step and present.find(key.ref) is None
        if retired and any(key.record(rec).visible for rec in key.records):
            found.append(f"{_name(key)} would be used again, though it has been retired")
    return found


def _held(key: Key, older: bool) -> bool:
    """Tell whether validators may hold something of a key; what fades within a step may be gone by its end."""
    records = [key.record(rec) for rec in key.records]
    return any(record.state is not State.HIDDEN if older else record.visible for record in records)


def _key_back(present: Key, restored: Key) -> list[str]:
    found = [
        f"{_name(present)} would no longer be {what}"
        for what, now, then in (
            ("known to be compromised", present.compromised, restored.compromised),
            ("on its way to be revoked", present.revoke, restored.revoke),
            ("on its way out", present.goal is Goal.ABSENT, restored.goal is Goal.ABSENT),
        )
        if now and not then
    ]
    for rec in present.records:
        now, then = present.record(rec), restored.record(rec)
        if _age(then) < _age(now):
            found.append(
                f"{_name(present)}: its {_NAMES[rec]} would go back from {_state(now)} to {_state(then)}"
            )
    return found


def _age(record: RecordState) -> tuple[int, int]:
    """How far along its life a record is: by its last step, and by what has become known since."""
    step = max(record.step_in, record.step_out)
    if record.state is State.HIDDEN:
        return step, _GONE if step else 0
    return step, _AGE[record.state]


def _state(record: RecordState) -> str:
    return "gone" if _age(record)[1] == _GONE else record.state.value


def _name(key: Key) -> str:
    return f"key {key.tag} ({key.role.value})"
