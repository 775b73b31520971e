"""Trust anchors in the forms that validators and their operators read.

The text depends on the anchors alone, not on the time: as long as no key changes, a file stays as it is.
"""

import hashlib
import html
import string
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime

from dnssecd.core.dns.names import labels
from dnssecd.core.keys.keyset import DIGEST_SHA256, Key, ds_rdata
from dnssecd.core.parent.anchors import Anchor, Anchors, Standing
from dnssecd.core.parent.forms import ds_text

XML, DS, BIND, UNBOUND, UNBOUND_KEY = (
    "anchors.xml",
    "anchors.ds",
    "anchors.named.conf",
    "anchors.unbound.conf",
    "anchors.unbound.key",
)
#: The files that there may be, in the order in which they are written.
FILES = (DS, BIND, UNBOUND, UNBOUND_KEY, XML)

_PLAIN = frozenset((string.ascii_letters + string.digits + "-_/").encode())


def files_of(anchors: Anchors, source: str = "") -> Mapping[str, str]:
    """Return the text of every file by its name. Pure.

    source: where the XML document is published, "" if that is not known. The XML is left out while there is nothing to
    say: RFC 9718 wants one KeyDigest at least.
    """
    files = {
        DS: _text(ds_lines(anchors)),
        BIND: _text(bind_lines(anchors)),
        UNBOUND: _text(unbound_lines(anchors)),
    }
    if anchors.rfc5011:
        files[UNBOUND_KEY] = _text([*_head(anchors, ";"), *ds_lines(anchors)])
    if anchors.given or anchors.having(Standing.ENDED):
        files[XML] = _text(xml_lines(anchors, source))
    return files


def ds_lines(anchors: Anchors) -> list[str]:
    """Return the anchors as DS records, lines of a zone file (RFC 4034 §5.3)."""
    name = quoted_name(anchors.apex)
    return [f"{name} IN DS {ds_text(_ds(anchors, one.key))}" for one in anchors.given]


def bind_lines(anchors: Anchors) -> list[str]:
    """Return the statement ``trust-anchors`` of named.conf (BIND 9.16 and later), also read by delv.

    ``initial-ds`` where RFC 5011 replaces the anchors, else ``static-ds``.
    """
    kind = "initial-ds" if anchors.rfc5011 else "static-ds"
    name = quoted_name(anchors.apex)
    found = []
    for one in anchors.given:
        tag, algorithm, digest_type, digest = ds_text(_ds(anchors, one.key)).split()
        found.append(f'    "{name}" {kind} {tag} {algorithm} {digest_type} "{digest}";')
    return [*_head(anchors, "//"), *(["trust-anchors {", *found, "};"] if found else [])]


def unbound_lines(anchors: Anchors) -> list[str]:
    """Return ``trust-anchor`` lines of unbound.conf."""
    name = quoted_name(anchors.apex)
    found = [f'    trust-anchor: "{name} DS {ds_text(_ds(anchors, one.key))}"' for one in anchors.given]
    return [*_head(anchors, "#"), *(["server:", *found] if found else [])]


def xml_lines(anchors: Anchors, source: str) -> list[str]:
    """Return the document of RFC 9718 §2.1: anchors that are given, and those that ended, with ``validUntil``."""
    listed = [*anchors.given, *anchors.having(Standing.ENDED)]
    digests = [line for one in listed for line in _key_digest(anchors, one)]
    content = "\n".join((anchors.zone, source, *digests))
    identity = hashlib.sha256(content.encode()).hexdigest()[:32]
    return [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<TrustAnchor id="{identity}" source="{html.escape(source)}">',
        f"<Zone>{html.escape(quoted_name(anchors.apex))}</Zone>",
        *digests,
        "</TrustAnchor>",
    ]


def quoted_name(apex: bytes) -> str:
    """Return a zone's name, absolute, with decimal escapes of all unusual octets: no file format misreads it."""
    return "".join(_label(label) + "." for label in labels(apex)) or "."


def _label(label: bytes) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in label)


def _key_digest(anchors: Anchors, one: Anchor) -> list[str]:
    rdata = _ds(anchors, one.key)
    tag, algorithm, digest_type, digest = ds_text(rdata).split()
    until = "" if one.until is None else f' validUntil="{_date(one.until)}"'
    return [
        f'<KeyDigest id="{tag}-{digest[:12]}" validFrom="{_date(one.since)}"{until}>',
        f"<KeyTag>{tag}</KeyTag>",
        f"<Algorithm>{algorithm}</Algorithm>",
        f"<DigestType>{digest_type}</DigestType>",
        f"<Digest>{digest}</Digest>",
        f"<PublicKey>{b64encode(one.key.public_key).decode()}</PublicKey>",
        f"<Flags>{one.key.flags}</Flags>",
        "</KeyDigest>",
    ]


def _date(when: int) -> str:
    """Return an xsd:dateTime as IANA writes it."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _ds(anchors: Anchors, key: Key) -> bytes:
    return ds_rdata(anchors.apex, key.rdata, DIGEST_SHA256)


def _head(anchors: Anchors, comment: str) -> list[str]:
    tags = ", ".join(str(one.key.tag) for one in anchors.given)
    if not tags:
        return [f"{comment} There is no trust anchor of {quoted_name(anchors.apex)} now."]
    how = "initial ones: RFC 5011 replaces them" if anchors.rfc5011 else "to be replaced before they end"
    return [f"{comment} Trust anchors of {quoted_name(anchors.apex)}: key tags {tags} ({how})."]


def _text(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
