"""``[tsig.*]``, ``[secondary.*]`` and ``[primary.*]``."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

from dnssecd.config.errors import did_you_mean
from dnssecd.config.model import Address, Peer, Secret, TsigKey
from dnssecd.config.reader import Section
from dnssecd.config.tsigforms import written_key
from dnssecd.config.values import Bad, decode_secret, exposed, parse_address, parse_name, read_secret_file

TSIG_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_SHORTEST_SECRET = 16
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_label(name: str, section: Section) -> None:
    """Names of our own (policies, peers, key stores) appear in logs and metrics: keep them plain."""
    if not _LABEL.fullmatch(name):
        section.error("", "the name has other characters than letters, digits, . _ -", "choose a plain name")


def address_at(
    section: Section, key: str, text: str, default_port: int = 53, lowest_port: int = 1
) -> Address:
    """The address *text*, a fault noted at *key*."""
    try:
        return parse_address(text, default_port, lowest_port)
    except Bad as bad:
        section.error(key, bad.what, bad.remedy)
        return Address("127.0.0.1", default_port)


def addresses(
    section: Section, key: str, default: tuple[str, ...] = (), lowest: int = 1
) -> tuple[Address, ...]:
    """A list of addresses; two forms of the same address are an error."""
    found: list[Address] = []
    for text in section.texts(key, default):
        address = address_at(section, key, text, lowest_port=lowest)
        if address in found and address.port:
            section.error(key, f"{address} is there twice", "remove one of the two")
        else:
            found.append(address)
    return tuple(found)


def tsig_keys(root: Section, *, read_secrets: bool) -> dict[str, TsigKey]:
    found: dict[str, TsigKey] = {}
    for written, section in root.children("tsig"):
        algorithm = _tsig_algorithm(section)
        secret = _tsig_secret(section, written, algorithm, read_secrets)
        section.finish()
        try:
            name = parse_name(written)
        except Bad as bad:
            section.error("", bad.what, bad.remedy)
            continue
        if name in found:
            section.error("", f"the key {name} is configured twice", "remove one of the two")
        found[name] = TsigKey(name, algorithm, Secret(secret))
    return found


def _tsig_algorithm(section: Section) -> str:
    text = section.text("algorithm", "hmac-sha256").lower().rstrip(".")
    if text in TSIG_ALGORITHMS:
        return text
    if text.startswith("hmac-md5"):
        section.error("algorithm", "hmac-md5 is refused: MD5 is broken (RFC 8945 §6)", 'use "hmac-sha256"')
    else:
        section.error("algorithm", f'"{text}" is no TSIG algorithm', did_you_mean(text, TSIG_ALGORITHMS))
    return "hmac-sha256"


def _tsig_secret(section: Section, name: str, algorithm: str, read_secrets: bool) -> bytes:
    ways = [key for key in ("secret", "secret_file") if section.has(key)]
    inline, file = section.text("secret"), section.optional_path("secret_file")
    if len(ways) != 1:
        what = "the secret is missing" if not ways else "secret and secret_file are both given"
        section.error(ways[-1] if ways else "", what, 'write secret_file = "…" or secret = "base64"')
        return b""
    key = ways[0]
    if file is not None and not read_secrets:
        return b""
    try:
        text = _secret_of_file(file, name, algorithm) if file else inline
        secret = decode_secret(text)
    except Bad as bad:
        section.error(key, bad.what, bad.remedy)
        return b""
    if told := exposed(file or section.problems.file):
        section.warn(key, told, f"chmod o-r {file or section.problems.file}, and make a new secret")
    if len(secret) < _SHORTEST_SECRET:
        section.warn(key, f"the secret has {len(secret)} octets", "use 32: openssl rand -base64 32")
    return secret


def _secret_of_file(file: Path, name: str, algorithm: str) -> str:
    """The secret in base64; Bad where the file is of another key or for another algorithm."""
    key = written_key(read_secret_file(file).decode("ascii", "replace"))
    if key.name not in ("", name.lower().rstrip(".")):
        raise Bad(
            f"{file} has the key {key.name}, not {name}", f'write [tsig."{key.name}."], or name another file'
        )
    if key.algorithm not in ("", algorithm):
        raise Bad(
            f"{file} is for {key.algorithm}, the key is configured for {algorithm}",
            f'write algorithm = "{key.algorithm}"',
        )
    return key.secret


def peers(root: Section, kind: str, tsig: dict[str, TsigKey]) -> dict[str, Peer]:
    """The ``[secondary.*]`` or ``[primary.*]`` tables."""
    found: dict[str, Peer] = {}
    for name, section in root.children(kind):
        check_label(name, section)
        section.require("address", 'write address = "192.0.2.1:53"')
        address = address_at(section, "address", section.text("address", "127.0.0.1:53"))
        found[name] = Peer(
            name,
            address,
            tsig_reference(section, "tsig", tsig),
            source=_source(section, address),
            query=section.flag("query", default=True) if kind == "secondary" else True,
            notify_tsig=_notify_tsig(section, tsig),
        )
        section.finish()
    return found


def _source(section: Section, peer: Address) -> str | None:
    """The local address to send from, of the family of the peer's."""
    text = section.text("source")
    if not text:
        return None
    try:
        source = ip_address(text)
    except ValueError:
        section.error(
            "source", f'"{text}" is not an IP address', 'write source = "192.0.2.1", without a port'
        )
        return None
    if source.version != ip_address(peer.host).version:
        section.error(
            "source",
            f"{source} and the address {peer.host} are not of the same family",
            "name an address of this host that can reach the server",
        )
        return None
    return str(source)


def _notify_tsig(section: Section, tsig: dict[str, TsigKey]) -> str | bool:
    """The key of NOTIFY where it is another than ``tsig``; False: NOTIFY is not signed."""
    value = section.raw("notify_tsig")
    if value is True:
        section.error("notify_tsig", "true names no key", "write the name of a TSIG key, or false")
    if value is None or isinstance(value, bool):
        return value is not False
    return tsig_reference(section, "notify_tsig", tsig) or True


def tsig_reference(section: Section, key: str, tsig: dict[str, TsigKey]) -> str | None:
    """The TSIG key named at *key*, None when there is none; an unknown one is an error."""
    written = section.text(key)
    if not written:
        return None
    return known_tsig(section, key, written, tsig)


def known_tsig(section: Section, key: str, written: str, tsig: dict[str, TsigKey]) -> str | None:
    try:
        name = parse_name(written)
    except Bad as bad:
        section.error(key, bad.what, bad.remedy)
        return None
    if name not in tsig:
        section.error(
            key, f'there is no TSIG key "{name}"', f'add [tsig."{name}"]; {did_you_mean(name, tsig)}'
        )
        return None
    return name
