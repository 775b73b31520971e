"""Whole zones as sets of canonical lines, whichever peer printed them, so that they can be compared.

All text passes through BIND's printer (dig for transfers, named-compilezone for files): two servers that hold
the same zone give the same lines. Case is folded where DNS names and hex are compared without regard to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import LOOPBACK, PeerError
from tests.peers.tools import run
from tests.peers.tsig import TsigKey

TRANSFER_SECONDS = 30.0
# RDATA that is names, numbers, hex, type names: equal without regard to case.
_FOLDED = frozenset({
    "SOA", "NS", "CNAME", "DNAME", "PTR", "MX", "SRV", "A", "AAAA", "DS", "CDS", "NSEC", "NSEC3",
    "NSEC3PARAM", "ZONEMD", "TLSA", "SSHFP",
})  # fmt: skip
# Fields before the hex or base64 that ends the RDATA and may be printed in pieces.
_FIELDS_BEFORE_BLOB = {
    "DS": 3, "CDS": 3, "DLV": 3, "DNSKEY": 3, "CDNSKEY": 3, "ZONEMD": 3, "TLSA": 3, "SMIMEA": 3, "SSHFP": 2,
    "RRSIG": 8, "OPENPGPKEY": 0, "DHCID": 0, "CERT": 3,
}  # fmt: skip
_SIGNER_FIELD = 7  # of RRSIG RDATA, counted from 0


def canonical_line(line: str) -> str:
    """One RR in master-file form without comments, its case folded, its blanks single."""
    owner, ttl, class_, rrtype, rdata = line.split(None, 4)
    if rrtype in _FOLDED:
        rdata = " ".join(rdata.lower().split())
    if rrtype in _FIELDS_BEFORE_BLOB:
        fields = rdata.split()
        if rrtype == "RRSIG":
            fields[_SIGNER_FIELD] = fields[_SIGNER_FIELD].lower()
        split = _FIELDS_BEFORE_BLOB[rrtype]
        rdata = " ".join([*fields[:split], "".join(fields[split:])])
    return f"{owner.lower()} {ttl} {class_} {rrtype} {rdata}"


def canonical_zone(text: str) -> set[str]:
    """The RRs of a zone printed one per line, each once; comments, empty lines and dig's TSIG left out."""
    lines = (line for line in text.splitlines() if line and not line.startswith(";"))
    return {canonical_line(line) for line in lines if "\tANY\tTSIG\t" not in line}


def _transfer(port: int, zone: str, kind: str, tsig: TsigKey | None, directory: Path | None) -> str:
    """What dig prints of a transfer, nothing but RRs; PeerError when the server refuses or breaks off."""
    key = []
    if tsig is not None:
        assert directory is not None, "a key needs a directory to be written to"
        key = ["-k", str(tsig.file(directory))]
    answer = run(
        "dig", *key, "-p", str(port), f"@{LOOPBACK}", zone, kind, "+nocomments", "+nostats", "+nocmd",
        "+nosplit", "+onesoa", "+tries=1", "+time=10", "+noidnin", "+noidnout", timeout=TRANSFER_SECONDS,
    )  # fmt: skip
    # With all commentary switched off, dig's comment lines are complaints: refusal, bad TSIG, broken stream.
    complaints = [line for line in answer.text.splitlines() if line.startswith(";")]
    if answer.status != 0 or complaints:
        raise PeerError(f"{kind} of {zone} from port {port} failed: {complaints}")
    return answer.out


def axfr(port: int, zone: str, tsig: TsigKey | None = None, directory: Path | None = None) -> set[str]:
    """The zone as a server on loopback transfers it; PeerError when it refuses or breaks off."""
    return canonical_zone(_transfer(port, zone, "AXFR", tsig, directory))


@dataclass(frozen=True)
class Ixfr:
    """An answer to IXFR: the RRs in their order, as canonical lines (RFC 1995 §4)."""

    lines: list[str]

    @property
    def incremental(self) -> bool:
        """Whether it holds differences; False: the whole zone, or (one SOA) nothing new."""
        return len(self.lines) > 1 and _is_soa(self.lines[1]) and len(self.lines) > 2

    def apply(self, content: set[str]) -> set[str]:
        """The zone after all differences; AssertionError when one does not fit what it is applied to."""
        assert self.incremental, "the answer holds no differences"
        zone, adding = set(content), True
        for line in self.lines[1:-1]:
            if _is_soa(line):
                adding = not adding
            if adding:
                assert line not in zone, f"added, but there already: {line}"
                zone.add(line)
            else:
                assert line in zone, f"deleted, but not there: {line}"
                zone.remove(line)
        return zone


def ixfr(port: int, zone: str, serial: int, tsig: TsigKey, directory: Path) -> Ixfr:
    """What a server on loopback answers to IXFR from ``serial``, over TCP."""
    text = _transfer(port, zone, f"IXFR={serial}", tsig, directory)
    lines = (line for line in text.splitlines() if line and "\tANY\tTSIG\t" not in line)
    return Ixfr([canonical_line(line) for line in lines])


def _is_soa(line: str) -> bool:
    return line.split(None, 4)[3] == "SOA"


def zone_file(path: Path, zone: str) -> set[str]:
    """The RRs of a master file, printed by BIND's own parser without any of its zone checks."""
    answer = run(
        "named-compilezone", "-q", "-i", "none", "-k", "ignore", "-n", "ignore", "-m", "ignore",
        "-M", "ignore", "-r", "ignore", "-S", "ignore", "-T", "ignore", "-s", "full", "-o", "-",
        zone, str(path),
    )  # fmt: skip
    if answer.status != 0:
        raise PeerError(f"named-compilezone refuses {path}: {answer.text[:2000]}")
    return canonical_zone(answer.out)


_DNSSEC = frozenset({"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "ZONEMD"})


def unsigned_content(lines: Iterable[str]) -> set[str]:
    """The zone without the RRs a signer adds and with its serial blanked: what must equal the input."""
    content = set()
    for line in lines:
        fields = line.split()
        if fields[3] == "SOA":
            fields[6] = "*"
        if fields[3] not in _DNSSEC:
            content.add(" ".join(fields) if fields[3] == "SOA" else line)
    return content


def soa_serial(lines: set[str]) -> int:
    """The serial of a canonical zone."""
    soas = [line.split() for line in lines if " IN SOA " in line]
    assert len(soas) == 1, f"{len(soas)} SOA RRs"
    return int(soas[0][6])


def difference(ours: set[str], theirs: set[str], limit: int = 10) -> str:
    """What distinguishes two zones, for a failed assertion; empty when they are equal."""
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    if not missing and not extra:
        return ""
    lines = [f"{len(missing)} RRs missing, {len(extra)} too many"]
    lines += [f"- {line[:160]}" for line in missing[:limit]]
    lines += [f"+ {line[:160]}" for line in extra[:limit]]
    return "\n".join(lines)
