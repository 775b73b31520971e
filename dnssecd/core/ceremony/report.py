"""What a ceremony prints for its witnesses: hashes to read aloud, key tags, times, and the outcome of each check."""

from collections.abc import Iterable, Iterator

from dnssecd.core.ceremony.checks import Finding, Level
from dnssecd.core.ceremony.request import Request, Slot
from dnssecd.core.ceremony.response import Response
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import DNSKEY, type_text
from dnssecd.core.keys.keyset import ds_rdata, key_tag
from dnssecd.core.utc import moment

MARKS = {Level.REFUSED: "REFUSED  ", Level.ATTENTION: "ATTENTION", Level.GOOD: "ok       "}
SLOTS_SHOWN = 60


def spoken(digest: bytes) -> str:
    """Return a hash in groups of four hex digits, eight groups a line, to be read aloud and compared."""
    groups = [digest[at : at + 2].hex() for at in range(0, len(digest), 2)]
    return "\n  ".join(" ".join(groups[at : at + 8]) for at in range(0, len(groups), 8))


def ds_text(zone: bytes, rdata: bytes) -> str:
    """Return the DS of a DNSKEY (RDATA), for people who compare it."""
    ds = ds_rdata(zone, rdata)
    return f"DS {int.from_bytes(ds[:2])} {ds[2]} {ds[3]} {ds[4:].hex().upper()}"


def ds_digest(zone: bytes, rdata: bytes) -> str:
    """Return the SHA-256 digest of a DNSKEY's DS (RFC 4509), in upper-case hexadecimal digits."""
    return ds_rdata(zone, rdata)[4:].hex().upper()


def request_report(request: Request, findings: Iterable[Finding], ksks: Iterable[tuple[bytes, str]]) -> str:
    """Return the report on a request; ``ksks``: DNSKEY RDATA of the keys that would sign, and their part."""
    return "\n".join([*_request_lines(request), *_ksk_lines(request.zone, ksks), *_finding_lines(findings)])


def _request_lines(request: Request) -> Iterator[str]:
    yield f"Key signing request {request.number or '(no number)'} for {wire_to_text(request.zone)}"
    yield f"made {moment(request.made)}, for {moment(request.start)} to {moment(request.stop)}"
    yield "SHA-256 of the request:"
    yield f"  {spoken(request.digest)}"
    names = {rdata: key_tag(rdata) for rdata in request.zsks}
    yield "ZSKs: " + ", ".join(f"{tag} (algorithm {rdata[3]})" for rdata, tag in names.items())
    yield "Plan of the signer:"
    for each in request.plan:
        yield f"  from {moment(each.start)}: {_tags(each.zsks)}"
    yield f"{len(request.slots)} slots:"
    for slot in request.slots[:SLOTS_SHOWN]:
        yield f"  {_slot_line(slot)}"
    if len(request.slots) > SLOTS_SHOWN:
        yield f"  and {len(request.slots) - SLOTS_SHOWN} more"


def _slot_line(slot: Slot) -> str:
    sets = " | ".join(_tags(zsks) for zsks in slot.sets)
    return f"{moment(slot.inception)} to {moment(slot.expiration)}: {sets}"


def _ksk_lines(zone: bytes, ksks: Iterable[tuple[bytes, str]]) -> Iterator[str]:
    yield "KSKs that sign:"
    for rdata, part in ksks:
        yield f"  {key_tag(rdata)} (algorithm {rdata[3]}), {part}"
        yield f"    {ds_text(zone, rdata)}"


def _finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    yield "Checks:"
    for finding in findings:
        yield f"  {MARKS[finding.level]} {finding.text}"


def response_report(response: Response) -> str:
    """Return the report on what was signed."""
    lines = [f"Signed key response for {wire_to_text(response.zone)}", "SHA-256 of the response:"]
    lines.append(f"  {spoken(response.digest)}")
    for rtype in dict.fromkeys(each.rtype for each in response.sets):
        sets = [each for each in response.sets if each.rtype == rtype]
        rrsigs = sum(len(each.rrsigs) for each in sets)
        lines.append(f"{len(sets)} {type_text(rtype)} RRsets with {rrsigs} signatures")
    for each in response.sets:
        if each.rtype == DNSKEY:
            lines.append(f"  DNSKEY {_tags(each.rdatas)}: {len(each.rrsigs)} signatures")
    return "\n".join(lines)


def _tags(rdatas: Iterable[bytes]) -> str:
    return "+".join(str(key_tag(rdata)) for rdata in rdatas) or "none"
