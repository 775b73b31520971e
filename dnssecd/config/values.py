"""Values in several tables: addresses, DNS names, secrets. Faults are raised as :class:`Bad`."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.name

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.config.model import Address
from dnssecd.core.dns.key_records import BadRecord, ds_of
from dnssecd.core.dns.names import full_name

_BRACKETED = re.compile(r"\[([^\]]+)\](?::(\d+))?")
_V4 = re.compile(r"([^:]+)(?::(\d+))?")
_SECRET_FILE_LIMIT = 65_536
#: The form of almost all names: a quick check, because each of 10,000 names is parsed several times.
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII)
_PLAIN_NAME_MAX = 253


class Bad(Exception):
    """A value that cannot be used: the fault and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def parse_address(text: str, default_port: int = 53, lowest_port: int = 1) -> Address:
    """Return the address of ``192.0.2.1:53``, ``[2001:db8::1]:53``, or either without port. Raise Bad."""
    remedy = 'write "192.0.2.1:53" or "[2001:db8::1]:53"'
    match = _BRACKETED.fullmatch(text) or _V4.fullmatch(text)
    host, port = (match[1], match[2]) if match else (text, None)
    try:
        address = ip_address(host)
    except ValueError:
        raise Bad(
            f'"{text}" is not an IP address with a port', f"{remedy}; host names are not allowed here"
        ) from None
    number = default_port if port is None else int(port)
    if not lowest_port <= number <= 65_535:
        raise Bad(f"port {port} is out of range", f"choose a port from {lowest_port} to 65535")
    return Address(str(address), number)


def parse_name(text: str, *, absolute: bool = False) -> str:
    """Return a DNS name as lower-case text with the final dot; *absolute*: the dot is required. Raise Bad."""
    if not text.isascii():
        raise Bad(f'"{text}" is not in ASCII form', _a_label_remedy(text))
    if absolute and not text.endswith("."):
        raise Bad(f'"{text}" has no final dot', f'write the complete name: "{text}."')
    plain = text.lower()
    if len(plain) <= _PLAIN_NAME_MAX and _PLAIN_NAME.fullmatch(plain):
        return full_name(plain)
    try:
        name = dns.name.from_text(text)
    except dns.exception.DNSException as error:
        raise Bad(
            f'"{text}" is not a DNS name ({error})', "a label has at most 63 bytes, a name at most 255"
        ) from None
    if not text:
        raise Bad("the name is empty", 'write a name; the root is "."')
    return name.canonicalize().to_text()


def parse_ds(text: str) -> bytes:
    """Return DS RDATA from presentation form, with or without owner, TTL, class and type. Raise Bad."""
    try:
        return ds_of(text)
    except BadRecord:
        raise Bad(f'"{text[:60]}" is not a DS record', 'write "TAG ALGORITHM DIGEST-TYPE DIGEST"') from None


def wire_length(name: str) -> int:
    """Return the number of octets of *name* (as from :func:`parse_name`) in wire format."""
    if _PLAIN_NAME.fullmatch(name):
        return len(name) + 1
    return len(dns.name.from_text(name).to_wire() or b"")


def is_below(name: str, zone: str) -> bool:
    """Return whether *name* is *zone* or below it (both as from :func:`parse_name`)."""
    return dns.name.from_text(name).is_subdomain(dns.name.from_text(zone))


def decode_secret(text: str) -> bytes:
    """Return the octets of a base64 TSIG secret; spaces and line ends are allowed. Raise Bad, which shows no secret."""
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        remedy = "write base64 alone or the output of tsig-keygen or keymgr -t; new secret: openssl rand -base64 32"
        raise Bad("the secret is not base64", remedy) from None
    if not secret:
        raise Bad("the secret is empty", "generate one with: openssl rand -base64 32")
    return secret


def read_secret_file(path: Path) -> bytes:
    """Return the content of *path*, at most 64 KiB. Raise Bad."""
    try:
        return read_at_most(path, _SECRET_FILE_LIMIT)
    except OSError as error:
        raise Bad(
            f"{path} cannot be read ({error.strerror})", "make the file readable for the daemon's user"
        ) from None
    except TooLarge:
        remedy = "give a file that contains only the secret"
        raise Bad(f"{path} is too large for a secret", remedy) from None


def exposed(path: Path) -> str:
    """Return a message if all users of the machine may read *path*; "" if not, or if unknown."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ""
    return f"all users of this machine can read {path} (mode {mode:04o})" if mode & 0o004 else ""


def _a_label_remedy(text: str) -> str:
    try:
        return f'write the A-label form: "{dns.name.from_unicode(text).to_text()}"'
    except (dns.exception.DNSException, UnicodeError):
        return "write the A-label form (xn--…)"
