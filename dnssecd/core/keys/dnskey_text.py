"""DNSKEY RRs as people hand them over: dig's output, a zone file's lines, or record data alone."""

import re
from dataclasses import dataclass

from dnssecd.core.dns.key_records import BadRecord, rdata_of
from dnssecd.core.dns.rrtypes import DNSKEY

_COMMENT = re.compile(r";[^\n]*")
_WORD = re.compile(r"\S+")


class BadDnskey(ValueError):
    """The text is no DNSKEY record; the message says which part of it."""


@dataclass(frozen=True, slots=True)
class DnskeyText:
    """One record: its owner name as written, "" where the text has none, and its record data."""

    owner: str
    rdata: bytes


def dnskeys_of_text(text: str) -> list[DnskeyText]:
    """Return the DNSKEY RRs of a text, other records left out; BadDnskey where one is malformed or there is none."""
    found = []
    for line in _logical_lines(_COMMENT.sub("", text)):
        words = _WORD.findall(line)
        upper = [word.upper() for word in words]
        if "RRSIG" in upper or "NSEC" in upper or "NSEC3" in upper:
            continue  # their record data may have the word
        if "DNSKEY" in upper:
            at = upper.index("DNSKEY")
            owner = "" if line[:1].isspace() or at == 0 else words[0]
            found.append(DnskeyText(owner, dnskey_of_text(" ".join(words[at + 1 :]))))
        elif len(words) >= 4 and all(word.isdecimal() for word in words[:3]):
            found.append(DnskeyText("", dnskey_of_text(line)))
    if not found:
        raise BadDnskey("the text has no DNSKEY record")
    return found


def dnskey_of_text(text: str) -> bytes:
    """Return the RDATA of "flags protocol algorithm key"; the algorithm as number or mnemonic. BadDnskey."""
    try:
        return rdata_of(DNSKEY, text.split())
    except BadRecord as error:
        raise BadDnskey(f"{text[:60]!r}: {error}") from None


def _logical_lines(text: str) -> list[str]:
    """Return the lines, those between parentheses joined."""
    lines, depth = [""], 0
    for line in text.splitlines():
        lines[-1] += line.replace("(", " ").replace(")", " ")
        depth += line.count("(") - line.count(")")
        if depth <= 0:
            depth = 0
            lines.append("")
        else:
            lines[-1] += " "
    return [line for line in lines if line.strip()]
