"""BIND key files: ``K<zone>+<algorithm>+<tag>.key`` with the DNSKEY, ``.private`` with the key."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.core.dns.names import BadName, text_to_wire, wire_to_text
from dnssecd.core.keys.keyset import REVOKE, SEP, ZONE, dnskey_rdata, key_tag
from dnssecd.keyservice_protocol import Role

FILE_OCTETS_MAX = 64 * 1024
PROTOCOL = 3


class BadKeyFile(Exception):
    """A key file cannot be used; the message names file and cause, never content."""


@dataclass(frozen=True)
class KeyFile:
    """A key from its two files; ``private`` is the text of the private file."""

    path: Path
    flags: int
    algorithm: int
    public_key: bytes
    private: bytes = field(repr=False)

    def notes(self, now: int) -> list[str]:
        """Return notes on timing metadata (dnssec-settime) against use of the key now; the metadata is ignored."""
        out = []
        for name, past in (("Activate", False), ("Inactive", True), ("Delete", True), ("Revoke", True)):
            match = re.search(rb"(?m)^%s:[ \t]*(\d{14})" % name.encode(), self.private)
            moment = match and _epoch(match[1].decode())
            if moment is not None and (moment <= now) == past:
                assert match is not None
                text = f"{self.path}: {name} is {match[1].decode()}; key times are ignored, the key signs"
                out.append(text)
        return out


def _epoch(text: str) -> int | None:
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def read_key_file(path: Path, origin: bytes) -> KeyFile:
    """Read the pair of files that ``path`` names (with either suffix or none); raise BadKeyFile."""
    base = path.with_suffix("") if path.suffix in (".key", ".private") else path
    key_path, private_path = Path(f"{base}.key"), Path(f"{base}.private")
    flags, algorithm, public_key = _dnskey(key_path, origin)
    return KeyFile(path, flags, algorithm, public_key, _content(private_path))


def _check_fields(path: Path, flags: int, protocol: int) -> None:
    """Refuse a DNSKEY that cannot sign a zone."""
    if not flags & ZONE:
        raise BadKeyFile(f"{path}: flags {flags}: not a zone key (RFC 4034 §2.1.1)")
    if flags & REVOKE:
        raise BadKeyFile(f"{path}: the key is revoked (RFC 5011): no validator trusts its signatures")
    if protocol != PROTOCOL:
        raise BadKeyFile(f"{path}: protocol {protocol} instead of {PROTOCOL} (RFC 4034 §2.1.2)")


def roles(files: Sequence[KeyFile], *, csk: bool) -> list[Role]:
    """Return the role of each key: SEP keys sign the keys, others the zone; SEP keys alone do both.

    csk: each key must be the only one of its algorithm. Raises BadKeyFile if the flags contradict that.
    """
    seen: set[tuple[int, bytes]] = set()
    for file in files:
        if (file.algorithm, file.public_key) in seen:
            raise BadKeyFile(f"{file.path}: the key is given twice")
        seen.add((file.algorithm, file.public_key))
    kinds: dict[int, set[bool]] = {}
    for file in files:
        kinds.setdefault(file.algorithm, set()).add(bool(file.flags & SEP))
    found = [_role(file, kinds[file.algorithm]) for file in files]
    if csk and len(kinds) < len(files):
        raise BadKeyFile(
            "--csk needs one key of each algorithm, but more are given; omit --csk, or some keys"
        )
    return found


def _role(file: KeyFile, kinds: set[bool]) -> Role:
    sep = bool(file.flags & SEP)
    if len(kinds) == 2:
        return "ksk" if sep else "zsk"
    if not sep:
        raise BadKeyFile(
            f"{file.path}: flags {file.flags}, so it is a ZSK, and no KSK of algorithm {file.algorithm} is given; "
            f"give the KSK too. A key that signs everything (CSK) needs flags {ZONE | SEP}: write them in "
            f"the .key file; the key tag becomes "
            f"{key_tag(dnskey_rdata(ZONE | SEP, file.algorithm, file.public_key))}, "
            "so its DS must be replaced"
        )
    return "csk"


def _content(path: Path) -> bytes:
    try:
        return read_at_most(path, FILE_OCTETS_MAX)
    except OSError as error:
        raise BadKeyFile(f"{path}: {error.strerror}") from error
    except TooLarge:
        raise BadKeyFile(f"{path}: larger than a key file can be") from None


def _dnskey(path: Path, origin: bytes) -> tuple[int, int, bytes]:
    lines = [line for line in _content(path).decode("utf-8", "replace").splitlines() if line.strip()]
    records = [line for line in lines if not line.lstrip().startswith(";")]
    if len(records) != 1:
        raise BadKeyFile(f"{path}: not one DNSKEY record")
    try:
        owner, rest = records[0].split(None, 1)
        if text_to_wire(owner) != origin:
            raise BadKeyFile(f"{path}: the key is of {owner}, not of {wire_to_text(origin)}")
        fields = rest.split()
        start = next(i for i, word in enumerate(fields) if word.upper() in ("DNSKEY", "KEY"))
        tokens = dns.tokenizer.Tokenizer(" ".join(fields[start + 1 :]))
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, tokens)
    except (ValueError, StopIteration, BadName, dns.exception.DNSException) as error:
        raise BadKeyFile(f"{path}: not a DNSKEY record: {error}") from error
    wire = rdata.to_digestable()
    _check_fields(path, int.from_bytes(wire[:2], "big"), wire[2])
    return int.from_bytes(wire[:2], "big"), wire[3], wire[4:]
