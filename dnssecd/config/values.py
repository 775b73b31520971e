"""Values that several tables hold: addresses, DNS names, secrets. Faults are raised as :class:`Bad`."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.name

from dnssecd.config.model import Address

_BRACKETED = re.compile(r"\[([^\]]+)\](?::(\d+))?")
_V4 = re.compile(r"([^:]+)(?::(\d+))?")
_SECRET_FILE_LIMIT = 65_536
#: Names as nearly all are; of 10,000 zones each is looked at several times.
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII)
_PLAIN_NAME_MAX = 253


class Bad(Exception):
    """A value that cannot be used: what is wrong, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def parse_address(text: str, default_port: int = 53, lowest_port: int = 1) -> Address:
    """``192.0.2.1:53``, ``[2001:db8::1]:53``, or either without port. Raises Bad."""
    remedy = 'write "192.0.2.1:53" or "[2001:db8::1]:53"'
    match = _BRACKETED.fullmatch(text) or _V4.fullmatch(text)
    host, port = (match[1], match[2]) if match else (text, None)
    try:
        address = ip_address(host)
    except ValueError:
        raise Bad(
            f'"{text}" is no IP address with port', f"{remedy}; host names are not looked up here"
        ) from None
    number = default_port if port is None else int(port)
    if not lowest_port <= number <= 65_535:
        raise Bad(f"port {port} is out of range", f"choose a port from {lowest_port} to 65535")
    return Address(str(address), number)


def parse_name(text: str, *, absolute: bool = False) -> str:
    """A DNS name as lower-case text with the final dot; *absolute*: the dot must be written. Raises Bad."""
    if not text.isascii():
        raise Bad(f'"{text}" is not in ASCII form', _a_label_remedy(text))
    if absolute and not text.endswith("."):
        raise Bad(f'"{text}" has no final dot', f'write the whole name: "{text}."')
    plain = text.lower()
    if len(plain) <= _PLAIN_NAME_MAX and _PLAIN_NAME.fullmatch(plain):
        return plain if plain.endswith(".") else plain + "."
    try:
        name = dns.name.from_text(text)
    except dns.exception.DNSException as error:
        raise Bad(f'"{text}" is no DNS name ({error})', "check labels (63 octets) and length (255)") from None
    if not text:
        raise Bad("the name is empty", 'write a name; the root is "."')
    return name.canonicalize().to_text()


def wire_length(name: str) -> int:
    """Octets of *name* (as :func:`parse_name` gives it) on the wire."""
    if _PLAIN_NAME.fullmatch(name):
        return len(name) + 1
    return len(dns.name.from_text(name).to_wire() or b"")


def is_below(name: str, zone: str) -> bool:
    """Whether *name* is *zone* or below it (both as :func:`parse_name` gives them)."""
    return dns.name.from_text(name).is_subdomain(dns.name.from_text(zone))


def decode_secret(text: str) -> bytes:
    """Octets of a base64 TSIG secret; space and line ends are allowed. Raises Bad, which never shows it."""
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        remedy = "give base64 alone or what tsig-keygen or keymgr -t prints; new: openssl rand -base64 32"
        raise Bad("the secret is not base64", remedy) from None
    if not secret:
        raise Bad("the secret is empty", "make one with: openssl rand -base64 32")
    return secret


def read_secret_file(path: Path) -> bytes:
    """Content of *path*, at most 64 KiB. Raises Bad."""
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_FILE_LIMIT + 1)
    except OSError as error:
        raise Bad(
            f"{path} cannot be read ({error.strerror})", "make it a file that the daemon's user can read"
        ) from None
    if len(content) > _SECRET_FILE_LIMIT:
        raise Bad(f"{path} is larger than a secret can be", "name the file with the secret alone")
    return content


def exposed(path: Path) -> str:
    """Say that everybody on the machine may read *path*; "" when that is not so, or not known."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ""
    return f"everybody on this machine may read {path} (mode {mode:04o})" if mode & 0o004 else ""


def _a_label_remedy(text: str) -> str:
    try:
        return f'write the A-label form: "{dns.name.from_unicode(text).to_text()}"'
    except (dns.exception.DNSException, UnicodeError):
        return "write the A-label form (xn--…)"
