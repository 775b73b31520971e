"""What going back to an earlier state of a zone would break: its serial, its keys, what validators have cached.

Two incidents are the reason: a standby that signed with keys that no validator had (APNIC 2012), and a serial that went
back, so that secondaries stopped transferring (ARIN 2016).
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import REVOKE, Key, Keyset, key_tag
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, State
from dnssecd.core.keys.lost import can_publish
from dnssecd.core.keys.rules import secured

_NAMES = {Rec.DNSKEY: "DNSKEY", Rec.ZRRSIG: "zone signatures", Rec.KRRSIG: "key signatures", Rec.DS: "DS"}
#: How far along its life a record is; a hidden one is at one end or the other (`_age`).
_AGE = {State.RUMOURED: 1, State.OMNIPRESENT: 2, State.UNRETENTIVE: 3}
_GONE = 4
#: At most this number of texts is reported.
SAID_MAX = 6


class LiveServer(Struct, frozen=True):
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

    A key must be there if its DNSKEY had reached all validators; so must a key that signs no more, as long as its
    signatures may be in the zone. Other keys sign before their DNSKEY is published, or after it was withdrawn
    (algorithm rollover, RFC 6781 §4.1.4), or while it is being published; validators do not need their signatures. But
    each server must have a key that signs the zone, and one that signs the DNSKEY RRset, unless no validator follows a
    DS to the zone yet: then keys may be replaced at once, and any of the zone's keys is enough.
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
    fading = [key for key in keyset.keys if key.zrrsig.state is State.UNRETENTIVE and not key.krrsig.visible]
    apart = [key for key in (*signers(keyset), *fading) if key.rdata[2:] not in served]
    if not served:  # it serves the zone unsigned, as before the first key, or as it is insecure since
        return [key for key in apart if key.dnskey.state is State.OMNIPRESENT]
    if not any(key.rdata[2:] in served for key in keyset.keys):
        return apart
    lacking = [key for key in apart if key.dnskey.state is State.OMNIPRESENT]
    secure = any(key.ds.state is not State.HIDDEN for key in keyset.keys)
    for rec in (Rec.ZRRSIG, Rec.KRRSIG) if secure else ():
        signing = [key for key in keyset.keys if _signs(key, rec)]
        if signing and all(key in apart for key in signing):
            lacking += [key for key in signing if key not in lacking]
    return lacking


def _signs(key: Key, rec: Rec) -> bool:
    """Return whether validators may follow signatures of a key: a lost one's successor is at no server before them."""
    record = key.record(rec)
    return record.visible or (key.lost and record.state is State.UNRETENTIVE)


def foreign(keyset: Keyset, live: Iterable[LiveServer]) -> list[str]:
    """Say which keys servers publish that are none of the key set's: validators hold signatures made by them."""
    ours = {key.rdata[2:] for key in keyset.keys}
    return [
        f"DNSKEY {key_tag(rdata)} (algorithm {rdata[3]}) at {server.name} is none of the zone's keys"
        for server in live
        for rdata in sorted(server.dnskeys or ())
        if rdata[2:] not in ours
    ]


def to_be_withdrawn(keyset: Keyset, live: Iterable[LiveServer]) -> list[str]:
    """Say which keys servers publish that the key set knows, but would not publish: their step came later.

    Validators hold signatures made by them: without their DNSKEY these would be bogus.
    """
    found = []
    for server in live:
        for rdata in sorted(server.dnskeys or ()):
            keys = [key for key in keyset.keys if key.rdata[2:] == rdata[2:]]
            if keys and all(key.dnskey.state is State.HIDDEN for key in keys):
                found.append(
                    f"{_name(keys[0])} is in the DNSKEY RRset of {server.name}, the backup has it hidden"
                )
            elif keys and rdata[1] & REVOKE and not any(key.revoked for key in keys):
                found.append(
                    f"{_name(keys[0])} is revoked at {server.name}, and not in the backup (RFC 5011)"
                )
    return found


class LiveKeys(Struct, frozen=True):
    """What speaks against publishing with a key set, by the DNSKEY RRsets that validators get now.

    ``unseen``: no server shows one, and a standby has to see one. ``apart``: our signers that are not in it;
    ``unknown``: keys in it that are not ours; ``ahead``: keys in it that ours would withdraw; ``lost``: our signers
    that can sign no new version. Each text names key and server.
    """

    unseen: bool = False
    apart: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def live_keys(
    keyset: Keyset | None,
    live: Iterable[LiveServer],
    *,
    standby: bool,
    other_keys: bool,
    new_version: bool = True,
) -> LiveKeys:
    """Compare keys with what is live: the one rule for a restore and for the first publication after it.

    standby: another host published with these keys until now; other_keys: a person accepts that validators have
    others; new_version: the zone is published with a new serial. keyset None: the zone has none yet.
    """
    live = list(live)
    serving = [server for server in live if server.dnskeys]
    unseen = standby and not serving and not _insecure(keyset, live)
    if keyset is None or other_keys:
        return LiveKeys(unseen)
    return LiveKeys(
        unseen,
        tuple(not_live(keyset, live)),
        tuple(foreign(keyset, serving)),
        tuple(to_be_withdrawn(keyset, serving)),
        # The host of a primary is gone: to take over with a lost key is better than to let the zone expire.
        tuple(unable(keyset)) if new_version and not standby else (),
    )


def unable(keyset: Keyset) -> list[str]:
    """Say which lost keys would have to sign a new version: its SOA, by a key that validators have.

    A lost key's successor waits until its DS or DNSKEY is known; the zone stays as it is meanwhile.
    """
    if not secured(keyset) or can_publish(keyset):
        return []
    return [f"{_name(key)} is lost" for key in keyset.keys if key.lost and key.zrrsig.visible]


def _insecure(keyset: Keyset | None, live: Sequence[LiveServer]) -> bool:
    """Return whether the zone is served without DNSKEY RRset, and has no signatures in this state either."""
    served = any(server.dnskeys is not None for server in live)
    return served and keyset is not None and not signers(keyset)


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
            ("marked to be revoked", present.revoke, restored.revoke),
            ("retiring", present.goal is Goal.ABSENT, restored.goal is Goal.ABSENT),
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
