"""A zone's security, its next step and what waits for a person: what ``status``, lists and pages show of it."""

from collections.abc import Iterable

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Rec
from dnssecd.core.keys.other_signers import awaits_signers
from dnssecd.core.keys.summary import Hands
from dnssecd.core.keys.types import Blocker, Gate, Missing
from dnssecd.core.parent.handover import Change, Task, tags
from dnssecd.core.parent.security import Security, Word, security_of
from dnssecd.core.parent.text import cause
from dnssecd.core.utc import about, minute
from dnssecd.daemon.parent.channels import NOTIFY
from dnssecd.daemon.parent.room import DsRoom
from dnssecd.daemon.rollover.policy import FOREVER
from dnssecd.daemon.rollover.text import OPERATOR, line, signed_ahead
from dnssecd.daemon.zones.zone import FrontZone

UNKNOWN = Security(Word.UNKNOWN, "it is not published yet")
_NOT_SEEN = Security(Word.UNKNOWN, "the parent was not seen yet")
_SIGNED_ELSEWHERE = "it is signed elsewhere, and each version is verified before it is served"
_VERIFIED = Security(Word.UNKNOWN, f"{_SIGNED_ELSEWHERE}, by its own keys")
_VERIFIED_TO_ANCHOR = Security(Word.SECURE, f"{_SIGNED_ELSEWHERE}, from input_anchor")
WHOM_MAX = 3
BLOCKERS_SHOWN_MAX = 20

#: What waits for a person: what, command, not before, late from (epoch s).
Item = tuple[str, str, int | None, int | None]

#: What is true at the end of a wait, by record and event.
_THEN = {
    (Rec.DNSKEY, Event.SETTLE): "all caches have the DNSKEY of {key}",
    (Rec.KRRSIG, Event.SETTLE): "all caches have the DNSKEY of {key}",
    (Rec.ZRRSIG, Event.SETTLE): "all caches have the signatures of {key}",
    (Rec.DS, Event.SETTLE): "all caches have the DS of {key}",
    (Rec.DNSKEY, Event.FADE): "no cache has the DNSKEY of {key} any more",
    (Rec.KRRSIG, Event.FADE): "no cache has the DNSKEY of {key} any more",
    (Rec.ZRRSIG, Event.FADE): "no cache has signatures of {key} any more",
    (Rec.DS, Event.FADE): "no cache has the DS of {key} any more",
}


#: How the headline begins what it says of the security, where the detail alone does not say it.
_WORDS = {
    Word.BOGUS: "BOGUS: ",
    Word.INSECURE: "insecure: ",
    Word.ROLLING: "rolling: ",
    Word.SECURE: "secure: ",
}


def security(zone: FrontZone) -> Security:
    """Return how validators see a zone, from what the parent and the public servers were last seen to serve."""
    known = zone.ds
    if zone.serial is not None and zone.spec.verify_only:
        return _VERIFIED_TO_ANCHOR if zone.spec.input_anchor else _VERIFIED
    if zone.serial is None:
        return UNKNOWN
    if known is None:
        return _NOT_SEEN
    plan = None if zone.keys is None else zone.keys.plan
    return security_of(
        known.keyset,
        known.handover,
        known.seen,
        () if plan is None else plan.blockers,
        alone=known.parent.alone,
        bogus="" if zone.served is None else zone.served.bogus,
    )


def blockers(zone: FrontZone) -> list[str]:
    """Return why a zone waits, a line for each step. They are made when they are asked for: they take a KiB."""
    if zone.blockers is not None:
        return list(zone.blockers)
    plan = None if zone.keys is None else zone.keys.plan
    if plan is None:
        return []
    return [line(blocker, plan.keyset) for blocker in plan.blockers[:BLOCKERS_SHOWN_MAX]]


def next_step(zone: FrontZone, now: float) -> str:
    """Return what happens next to a zone's keys, in one plain sentence."""
    if zone.serial is None:
        if zone.doubt is not None:
            return "It is served again when its stored version has been verified."
        lines = blockers(zone)
        if not lines and _lacks_content(zone):
            return "Its first version is made when its content is imported."
        return f"It waits: {lines[0]}" if lines else "Its first version is being made."
    if zone.spec.verify_only:
        return "Its next version comes from its signer."
    plan = None if zone.keys is None else zone.keys.plan
    if plan is None:
        return ""
    waits = [each for each in plan.blockers if each.gate is not Gate.APPROVAL]
    first = _first(waits)
    if first is None:
        return "No key step is waiting."
    return _sentence(first, plan.keyset, now)


def plain_lines(zone: FrontZone, now: float) -> list[str]:
    """Return three plain lines: what is served and how secure it is, what comes next, what a person has to do.

    A line more where the input is refused, a step was postponed, or the KSK is off-line.
    """
    seen_as = security(zone)
    lines = [f"Now:  {_headline(zone, seen_as)}"]
    if zone.serial is not None or not zone.problems:
        lines.append(f"Next: {next_step(zone, now)}")
    lines += [f"Input: {problem.cause}; to do: {problem.remedy}" for problem in zone.problems]
    if zone.keys is not None and zone.serial is not None:
        lines += signed_ahead(zone.keys.present_until, zone.keys.signed_until, now)
        lines += [f"The last step was postponed: {zone.keys.trouble}"] if zone.keys.trouble else []
    return [*lines, f"You:  {_tasks_text(person_tasks(zone, seen_as))}"]


def _headline(zone: FrontZone, seen_as: Security) -> str:
    if zone.serial is None:
        return "it is not published yet."
    servers = [] if zone.servers is None else zone.servers.last()
    names = {server.name for server in zone.asked_servers}
    current = sum(1 for one in servers if one.server in names and one.serial == zone.serial)
    having = f" by {current} of {len(names)} servers" if names else ""
    return f"serial {zone.serial} is served{having}; {_WORDS.get(seen_as.word, '')}{seen_as.detail}."


def _tasks_text(tasks: list[Item]) -> str:
    if not tasks:
        return "nothing to do."
    what, command, at, _ = tasks[0]
    when = f"from {minute(at)} on, " if at is not None else ""
    more = f" (and {len(tasks) - 1} more: dnssecd status)" if len(tasks) > 1 else ""
    return f"{when}{what}: {command}{more}"


def _first(waits: Iterable[Blocker]) -> Blocker | None:
    """Return the wait to show: for a server, then for time, the earliest first, then others."""

    def order(wait: Blocker) -> tuple[bool, bool, int]:
        return not wait.missing, wait.until is None, wait.until or 0

    return min(waits, key=order, default=None)


def _sentence(wait: Blocker, keyset: Keyset, now: float) -> str:
    key = keyset.find(wait.ref)
    name = _name(key) if key is not None else ""
    if wait.missing:
        return _awaited(wait) + "."
    if wait.until is not None and wait.until >= FOREVER:
        return f"Waits until the zone is thawed: {wait.detail}."
    place = (wait.rec, wait.event)
    if wait.until is not None:
        left = max(0.0, wait.until - now)
        when = f"at {minute(wait.until)}, in {about(left - left % 60 if left >= 60 else left)}"
        if wait.rec is not None and wait.event is not None and key is not None and place in _THEN:
            then = _THEN[wait.rec, wait.event].format(key=name)
            return f"{then[0].upper()}{then[1:]} {when}."
        return f"The next step is {when}: {wait.detail}."
    return f"Waits: {wait.detail}."


def _awaited(wait: Blocker) -> str:
    asked = [each.wanted for each in wait.missing if each.whom == OPERATOR]
    if asked:
        return f"Waits for you: {asked[0]}"
    shown = [f"{each.whom}: {each.wanted} (now: {each.seen or 'nothing'})" for each in wait.missing]
    more = f" and {len(shown) - WHOM_MAX} more" if len(shown) > WHOM_MAX else ""
    return "Waits for " + "; ".join(shown[:WHOM_MAX]) + more


def _name(key: Key) -> str:
    return f"{key.role.value.upper()} {key.tag}"


def person_tasks(zone: FrontZone, seen_as: Security) -> list[Item]:
    """Return what waits for a person, or will: DS, approvals, a frozen zone, one that a single node can sign."""
    items: list[Item] = []
    name = zone.name
    if zone.frozen:
        items.append((f"{name} is frozen: it takes no input", f"dnssecd zone thaw {name}", None, None))
    if zone.serial is None:
        if not blockers(zone) and _lacks_content(zone):
            items.append(
                (f"{name} has no content yet", f"dnssecd zone import {name} FILE --replace", None, None)
            )
        return items
    if zone.cluster is not None and zone.cluster.alone:
        items.append(("no other node can take it over", f"dnssecd zone owner {name}", None, None))
    plan = None if zone.keys is None else zone.keys.plan
    for blocker in () if plan is None else plan.blockers:
        if blocker.gate is Gate.APPROVAL and blocker.token:
            command = f"dnssecd key approve {name} --step {blocker.token}"
            items.append((f"approve: {blocker.detail}", command, None, None))
        items += [_asked(name, blocker, each) for each in blocker.missing if each.whom == OPERATOR]
        if awaits_signers(blocker) and blocker.missing:
            items.append((blocker.detail, f"dnssecd explain {name} --rules", None, None))
    if zone.ds is not None:
        items += _handover(name, zone.ds, seen_as)
    return items


def _lacks_content(zone: FrontZone) -> bool:
    """Tell whether a zone has no version, and nothing that one could be made of: updates need a version.

    A stored version that is not served yet, or that another node of the cluster makes, is none that an import replaces.
    """
    stored = zone.doubt is not None or zone.held is not None or not zone.owned
    return not stored and zone.serial is None and zone.config.source == "dynamic" and zone.config.file is None


def _asked(name: str, blocker: Blocker, missing: Missing) -> Item:
    """Return what a person is asked for: a key, or a confirmation that no server can give."""
    command = f"dnssecd explain {name}"
    if blocker.gate is Gate.BACKUP:
        command = f"dnssecd key backup {name} -o DIRECTORY"
    elif blocker.rec is Rec.DS:
        command = f"dnssecd ds confirm {name} --key-tag {blocker.tag}"
    return missing.wanted, command, None, None


def hands_of(zone: FrontZone) -> Hands:
    """Return who changes a zone's DS at the parent."""
    known = zone.ds
    if known is None:
        return Hands.PERSON
    if known.parent.alone:
        return Hands.ANCHORS
    if _is_automatic(known):
        return Hands.AUTOMATIC
    return Hands.PERSON_OR_CDS if known.parent.cds else Hands.PERSON


def _is_automatic(known: DsRoom) -> bool:
    """Tell whether a channel brings the DS to the parent: push and hook, and NOTIFY once the parent took one."""
    if known.parent.push is not None or known.parent.hook:
        return all(way.helps for way in known.ways.values() if way.name != NOTIFY)
    return any(way.helps and bool(way.done_at) for way in known.ways.values())


def _handover(name: str, known: DsRoom, seen_as: Security) -> list[Item]:
    if known.parent.alone:
        return []
    if _is_automatic(known):
        return []
    command = f"dnssecd ds show {name}"
    if known.handover.task is not Task.NOTHING:
        if known.reached:
            return []
        return [(cause(known.handover), command, None, known.handover.due_at or None)]
    if seen_as.word is Word.DS_DUE:
        later = tags(known.handover.having(Change.LATER))
        return [(f"hand over the DS of key {later}", command, seen_as.due_at, None)] if seen_as.due_at else []
    return []
