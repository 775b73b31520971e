"""A handover as plain text for people, who may read it at 3 a.m.: what happened, what to do by when, the data.

Lines have at most 72 columns, but for what is to be copied in one piece.  The same text serves the first mail, a
reminder and an escalation: how long it waits is at the top.  Pure: the time is a parameter.
"""

import textwrap
from collections.abc import Iterable

from msgspec import Struct, field

from dnssecd.core.parent.data_section import data_lines
from dnssecd.core.parent.forms import ALGORITHM_NAMES
from dnssecd.core.parent.handover import Change, Handover, ParentKey, Task, tags
from dnssecd.core.utc import about, minute

WIDTH = 72
_SOON_S = 3_600


class SeenAt(Struct, frozen=True):
    """What one of the parent's servers last said: key tags of its DS (None: no answer), when, how it failed."""

    server: str
    tags: tuple[int, ...] | None
    at: float = 0
    failure: str = ""


class Progress(Struct, frozen=True):
    """What happens without an operator.

    `cds`: CDS and CDNSKEY are published.  `ways`: a line for each other channel (push, hook, NOTIFY) with its result.
    `polled`: dnssecd asks the parent's servers automatically; `seen`: what they said.  `ready_at`: pairs of a key tag
    and the time (epoch s) at which its DS can be handed over, for keys whose time has not come.
    """

    cds: bool = False
    ways: tuple[str, ...] = ()
    polled: bool = True
    seen: tuple[SeenAt, ...] = field(default=())
    ready_at: tuple[tuple[int, int], ...] = ()


def request_text(handover: Handover, progress: Progress, now: float) -> str:
    """Return the whole handover.  If nothing is asked for: what the parent has, or will be asked for."""
    task = handover.task
    lines = [_headline(handover), "=" * len(_headline(handover))]
    lines += _how_long(handover, now)
    lines += _section("What happened", _wrap(_happened(handover)))
    lines += _not_yet(handover, progress, now)
    if task is not Task.NOTHING:
        lines += _section("What to do", _to_do(handover))
        lines += _section("By when", _wrap(_by_when(handover, now)))
        lines += _section("What happens automatically", _by_itself(progress))
        lines += _section("If the parent cannot be asked from here", _confirmation(handover))
    if progress.seen:
        lines += _section("What the parent's servers have", _servers(progress))
    return "\n".join([*lines, *data_lines(handover)]) + "\n"


def closing_text(handover: Handover, progress: Progress, now: float) -> str:
    """Return the text for a handover that is done: the parent has what it asked for."""
    title = f"Done: the DS of {handover.zone}"
    done = {
        Task.SUBMIT: f"The parent has the DS of key tag {tags(handover.having(Change.ADD))}.",
        Task.RESTORE: f"The parent has the DS of key tag {tags(handover.having(Change.ADD))} again.",
        Task.REPLACE: f"The parent has the DS of key tag {tags(handover.having(Change.ADD))}, and no longer that "
        f"of {tags(handover.having(Change.REMOVE))}.",
        Task.WITHDRAW: f"The parent no longer has the DS of key tag {tags(handover.having(Change.REMOVE))}.",
        Task.REMOVE_ALL: f"The parent has no DS of {handover.zone} any more.",
    }.get(handover.task, "The parent has the DS it is to have.")
    rest = (
        "No action is needed. The rollover continues automatically when what resolvers may hold has expired."
    )
    if handover.task is Task.REMOVE_ALL:
        rest = (
            "No action is needed. The zone stays signed until the DS has expired in all resolvers; do not "
            "remove its signatures by other means."
        )
    took = [f"It took {about(max(0, now - handover.asked_at))}."] if handover.asked_at else []
    lines = [title, "=" * len(title), *_wrap(" ".join([done, *took])), "", *_wrap(rest)]
    if progress.seen:
        lines += _section("What the parent's servers have", _servers(progress))
    return "\n".join(lines) + "\n"


def cause(handover: Handover) -> str:
    """Return the request in one sentence, for an event."""
    added, removed = tags(handover.having(Change.ADD)), tags(handover.having(Change.REMOVE))
    match handover.task:
        case Task.RESTORE:
            return f"the parent no longer has the DS of key tag {added}"
        case Task.REPLACE:
            return f"the parent is to have the DS of key tag {added} in place of {removed}"
        case Task.SUBMIT:
            return f"the parent is to have the DS of key tag {added}"
        case Task.WITHDRAW:
            return f"the parent is to remove the DS of key tag {removed}"
        case Task.REMOVE_ALL:
            return f"the parent is to remove all DS of {handover.zone} (key tag {removed})"
        case Task.NOTHING:
            return "the parent has the DS it is to have"


# Parts


def _headline(handover: Handover) -> str:
    words = {
        Task.SUBMIT: "to be added",
        Task.REPLACE: "to be replaced",
        Task.WITHDRAW: "to be removed",
        Task.REMOVE_ALL: "to be removed, all of it",
        Task.RESTORE: "gone from the parent",
        Task.NOTHING: "nothing to do",
    }
    if handover.task is Task.NOTHING and handover.having(Change.LATER):
        return f"DS of {handover.zone}: not ready yet"
    return f"DS of {handover.zone}: {words[handover.task]}"


def _how_long(handover: Handover, now: float) -> list[str]:
    """Return how long the request waits; nothing while it is new."""
    if handover.task is Task.NOTHING or now - handover.asked_at < _SOON_S:
        return []
    waited = f"This waits since {minute(handover.asked_at)}, for {about(max(0, now - handover.asked_at))}."
    if now < handover.due_at:
        return _wrap(waited)
    return _wrap(f"OVERDUE. {waited} It was to be done by {minute(handover.due_at)}.")


def _happened(handover: Handover) -> str:
    added, removed = handover.having(Change.ADD), handover.having(Change.REMOVE)
    text = {
        Task.SUBMIT: f"{_keys(added)} is in use in {handover.zone} and its DS can go to the parent now. Without it, "
        "the zone is not protected by DNSSEC through this key.",
        Task.REPLACE: f"{_keys(added)} signs {handover.zone} and is to take over from {_keys(removed)}. Resolvers "
        "trust it once the parent has its DS.",
        Task.WITHDRAW: f"The DS of {_keys(removed)} is no longer needed; the key retires.",
        Task.REMOVE_ALL: f"{handover.zone} is to become insecure (unsigned). Before that the parent must have no DS of "
        "it, or the zone would be bogus.",
        Task.RESTORE: f"All servers of the parent had the DS of {_keys(added)}. Now at least one has it no longer. "
        "dnssecd did not request this.",
        Task.NOTHING: _state_of(handover),
    }[handover.task]
    if handover.urgent:
        text += " THE OLD KEY IS COMPROMISED: anyone who has it can forge the zone until its DS is gone."
    return f"{text} Reason: {handover.reason}." if handover.reason else text


def _state_of(handover: Handover) -> str:
    parts = []
    if kept := handover.having(Change.KEEP):
        parts.append(
            f"The parent has, or is getting, the DS of key tag {tags(kept)}; nothing is asked of it."
        )
    if later := handover.having(Change.LATER):
        parts.append(f"The DS of key tag {tags(later)} is not ready to be handed over.")
    return " ".join(parts) or f"No key of {handover.zone} has a DS, and none is being prepared."


def _not_yet(handover: Handover, progress: Progress, now: float) -> list[str]:
    """When the DS of each key that is not ready can be handed over."""
    later = handover.having(Change.LATER)
    if not later:
        return []
    ready = dict(progress.ready_at)
    lines: list[str] = []
    for key in later:
        when = "It is not known yet when." if key.tag not in ready else _ready(ready[key.tag], now)
        lines += _item(f"{key.role.upper()} {key.tag}: do not hand over yet. {when}")
    lines += _wrap(
        "A DS at the parent too early makes the zone bogus for resolvers that still hold older data. Ask again then: "
        f"dnssecd ds show {handover.zone}"
    )
    return _section("Not yet", lines)


def _ready(at: float, now: float) -> str:
    return f"Ready at about {minute(at)}, in {about(max(0, at - now))}."


def _keys(keys: Iterable[ParentKey]) -> str:
    shown = [
        f"{key.role.upper()} {key.tag} ({ALGORITHM_NAMES.get(key.algorithm, str(key.algorithm))})"
        for key in keys
    ]
    return " and ".join(shown)


def _to_do(handover: Handover) -> list[str]:
    if handover.task is Task.REMOVE_ALL:
        return [
            *_wrap(
                f"Have the parent, in most cases through your registrar, remove all DS of {handover.zone} "
                "(its form may call that: turn off DNSSEC). Do nothing else: the zone has to stay signed until "
                "the DS has expired everywhere, and it does."
            )
        ]
    verb = "put the DS back" if handover.task is Task.RESTORE else "change the DS"
    lines = _wrap(f"Have the parent, in most cases through your registrar, {verb} of {handover.zone}:")
    words = ((Change.ADD, "add"), (Change.KEEP, "keep"), (Change.REMOVE, "remove"))
    for change, word in words:
        lines += [f"    {word:7} key tag {key.tag}" for key in handover.having(change)]
    if handover.task is Task.REPLACE:
        lines += _wrap("In one step if that can be done; else add first, then remove.")
    return [*lines, *_wrap("The data are below, in all usual forms.")]


def _by_when(handover: Handover, now: float) -> str:
    when = minute(handover.due_at)
    if handover.urgent:
        return "At once."
    if handover.task is Task.RESTORE:
        return (
            "Now. Where no DS is left, resolvers take the zone for unsigned; where another is left, the rollover "
            "waits."
        )
    late = {
        Task.SUBMIT: "nothing breaks, the step waits",
        Task.REPLACE: "nothing breaks, the old key stays in use",
        Task.WITHDRAW: "nothing breaks, the old key stays published",
        Task.REMOVE_ALL: "nothing breaks, the zone stays signed",
    }[handover.task]
    head = f"It was to be done by {when}." if now >= handover.due_at else f"By {when}."
    return f"{head} If it is later, {late}; you are reminded until it is done."


def _by_itself(progress: Progress) -> list[str]:
    lines = []
    if progress.cds:
        lines += _item(
            "CDS and CDNSKEY in the zone ask for the same (RFC 7344, RFC 8078). If your parent reads them, there is "
            "nothing to do but wait."
        )
    for way in progress.ways:
        lines += _item(way)
    if progress.polled:
        lines += _item("dnssecd keeps asking all servers of the parent for the DS.")
        lines += _item(
            "When all have it as wanted, the rollover continues, and a mail (if mail is configured) says so."
        )
    return lines or _wrap("Nothing.")


def _confirmation(handover: Handover) -> list[str]:
    keys = [*handover.having(Change.ADD), *handover.having(Change.REMOVE)]
    lines = _wrap(
        "Check yourself that all servers of the parent have it as asked for here. Then confirm each key:"
    )
    return lines + [f"    dnssecd ds confirm {handover.zone} --key-tag {key.tag}" for key in keys]


def _servers(progress: Progress) -> list[str]:
    lines: list[str] = []
    for sight in progress.seen:
        if sight.tags is None:
            lines.append(f"    {sight.server}: {sight.failure or 'no answer'}")
            continue
        shown = "DS " + ", ".join(map(str, sight.tags)) if sight.tags else "no DS"
        lines.append(f"    {sight.server}: {shown}, {minute(sight.at)}")
        if sight.failure:
            lines += _wrap(f"last look: {sight.failure}", "      ")
    return lines


# Words


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *lines]


def _wrap(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _item(text: str) -> list[str]:
    lines = _wrap(text, "    ")
    return ["  - " + lines[0].lstrip(), *lines[1:]]
