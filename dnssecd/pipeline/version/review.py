"""The review of a version, before the publication: by a program of the operator, or by an operator.

It comes after the verification and before the commit, and only reads. The program gets the signed zone, or what
changed, and its word is final for this content; it can leave the decision to an operator (status 75, EX_TEMPFAIL of
sysexits.h). An operator decides on content, which includes the SOA but for its serial, and the keys of other signers in
the input: a version that only renews signatures or our keys needs no decision.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.zone.changeset import Change
from dnssecd.pipeline.export import RRsetText, export_text
from dnssecd.pipeline.jobs.spec import Decisions, ReviewSpec, ZoneSpec
from dnssecd.pipeline.version.apex import with_serial
from dnssecd.pipeline.version.draft import Draft
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.procs.program import Ending, Run
from dnssecd.procs.reader_program import run_reader

#: The exit status with which a program leaves the decision to an operator.
ASK_OPERATOR = 75
WAITING, REFUSED, FAILED = "review-waiting", "review-rejected", "review-failed"
DIRECTORY = "review"

#: Removes secrets from a program's output.
Redact = Callable[[str], str]


class ReviewPending(Rejected):
    """An operator must accept the content with this digest, or refuse it."""

    def __init__(self, digest: str, cause: str, remedy: str) -> None:
        super().__init__(WAITING, cause, remedy)
        self.digest = digest


def review(draft: Draft, decisions: Decisions, redact: Redact) -> None:
    """Return if the version may be published; raise Rejected."""
    spec = draft.spec.review
    if spec is None:
        return
    if spec.program:
        run = _run(draft, spec, redact)
        if run.ok:
            return
        if run.status != ASK_OPERATOR:
            raise _rejected(draft, run)
        said = f": {run.output}" if run.output else ""
        why = f"{spec.program[0]} leaves the decision on it to an operator{said}"
    else:
        why = 'the configuration says review = "manual"'
    _ask_operator(draft, decisions, why)


def _rejected(draft: Draft, run: Run) -> Rejected:
    what = f"serial {draft.serial} of {draft.spec.name} was not published: {run.detail}"
    if run.ending is Ending.FAILED and run.status is not None and run.status > 0:
        return Rejected(
            REFUSED, what, "correct the input; the previous version is still served and its content stays"
        )
    return Rejected(
        FAILED,
        f"{what}. The program gave no verdict",
        "correct the program; dnssecd tries again. The previous version is still served",
    )


def _ask_operator(draft: Draft, decisions: Decisions, why: str) -> None:
    digest = content_digest(draft)
    if not digest or decisions.approved == digest:
        return
    name = draft.spec.name
    number = sum(1 for _ in _reviewed(draft)) + (draft.given.foreign is not None)
    if decisions.refused == digest:
        raise Rejected(
            REFUSED,
            f"an operator refused this content of {name} ({number} changed RRsets)",
            "correct the input; the previous version is still served and its content stays",
        )
    place = _keep(draft)
    raise ReviewPending(
        digest,
        f"{number} changed RRsets of {name} wait for an operator: {why}. The signed zone is in {place}.zone, the "
        f"difference in {place}.difference",
        f"dnssecd zone approve {name}, or dnssecd zone reject {name}; the previous version is still served",
    )


def content_digest(draft: Draft) -> str:
    """Return the SHA-256 of the changes of content, without the SOA's serial; "" if there is none."""
    digest, found = hashlib.sha256(draft.spec.origin), False
    for change in _reviewed(draft):
        found = True
        for side in (change.old, change.new):
            digest.update(repr(side and (change.owner, change.rtype, side.ttl, side.rdata)).encode())
    if draft.given.foreign is not None:
        found = True
        digest.update(repr(draft.given.foreign).encode())
    return digest.hexdigest() if found else ""


def _reviewed(draft: Draft) -> Iterator[Change]:
    """Yield the changes of content that are not dnssecd's own work."""
    derived = () if draft.spec.verify_only else APEX_DERIVED_TYPES
    for change in draft.changes:
        if change.owner == APEX and change.rtype == SOA:
            old, new = (side and with_serial(side, 0) for side in (change.old, change.new))
            if old != new:
                yield Change(APEX, SOA, old, new)
        elif change.owner != APEX or change.rtype not in derived:
            yield change


def _run(draft: Draft, spec: ReviewSpec, redact: Redact) -> Run:
    environment = {
        "DNSSECD_ZONE": draft.spec.name,
        "DNSSECD_SERIAL": str(draft.serial),
        "DNSSECD_PREVIOUS_SERIAL": "" if draft.previous_serial is None else str(draft.previous_serial),
        "DNSSECD_INPUT": "difference" if spec.difference else "zone",
    }
    pieces = difference_text(draft) if spec.difference else zone_text(draft)
    return run_reader(spec.program, pieces, spec.timeout_s, environment, redact=redact)


def zone_text(draft: Draft) -> Iterator[bytes]:
    """Yield the signed zone as a zone file."""
    return (text.encode() for text, _ in export_text(draft.transaction, unsigned=False))


def difference_text(draft: Draft) -> Iterator[bytes]:
    """Yield the records that were removed, each line with "-" before it, and added, with "+"; without signatures."""
    text = RRsetText(draft.spec.origin)
    for change in draft.changes:
        for sign, side in ((b"-", change.old), (b"+", change.new)):
            if side is not None:
                lines, _ = text.piece([RRset(change.owner, change.rtype, side.ttl, side.rdata)])
                yield b"".join(sign + line for line in lines.encode().splitlines(keepends=True))


def _keep(draft: Draft) -> Path:
    """Write the version and the difference for an operator to read; return their path without suffix."""
    place = review_place(draft.spec)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    for suffix, pieces in ((".zone", zone_text(draft)), (".difference", difference_text(draft))):
        path = Path(f"{place}{suffix}")
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(pieces)
    return place


def forget_kept(spec: ZoneSpec) -> None:
    """Remove the files of a review that ended."""
    for suffix in (".zone", ".difference"):
        with suppress(OSError):
            Path(f"{review_place(spec)}{suffix}").unlink(missing_ok=True)


def review_place(spec: ZoneSpec) -> Path:
    """Return the path, without suffix, of what an operator reads."""
    database = Path(spec.database)
    return database.parent.parent / DIRECTORY / database.name.removesuffix(".sqlite")
