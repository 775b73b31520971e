"""``[tsig.*]``, ``[secondary.*]`` and ``[primary.*]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from dnssecd.config.errors import did_you_mean
from dnssecd.config.model import Address, Peer, Secret, TsigKey
from dnssecd.config.reader import Section
from dnssecd.config.tls import peer_tls
from dnssecd.config.tsigforms import written_key
from dnssecd.config.values import Bad, decode_secret, exposed, parse_address, parse_name, read_secret_file

TSIG_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
#: Keys of one peer at a time: the new one, the one that it replaces, and one more for a secondary of several hosts.
TSIG_KEYS_MAX = 3
_SHORTEST_SECRET = 16
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_label(name: str, section: Section) -> None:
    """Check a name of a policy, peer or key store: it appears in logs and metrics, so it must be simple."""
    if not _LABEL.fullmatch(name):
        section.error(
            "",
            "the name has characters other than letters, digits, . _ -",
            "choose a name with only these characters",
        )


def address_at(
    section: Section, key: str, text: str, default_port: int = 53, lowest_port: int = 1
) -> Address:
    """Return the address *text*; a fault is recorded at *key*."""
    try:
        return parse_address(text, default_port, lowest_port)
    except Bad as bad:
        section.error(key, bad.what, bad.remedy)
        return Address("127.0.0.1", default_port)


def addresses(
    section: Section, key: str, default: tuple[str, ...] = (), lowest: int = 1, default_port: int = 53
) -> tuple[Address, ...]:
    """Return a list of addresses; two forms of the same address are an error."""
    found: list[Address] = []
    for text in section.texts(key, default):
        address = address_at(section, key, text, default_port, lowest)
        if address in found and address.port:
            section.error(key, f"{address} is given twice", "remove one of the two")
        else:
            found.append(address)
    return tuple(found)


def tsig_keys(root: Section, *, read_secrets: bool) -> dict[str, TsigKey]:
    """Return the TSIG keys by name. read_secrets: read the files with secrets; else secrets are empty."""
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
        section.error("algorithm", f'"{text}" is not a TSIG algorithm', did_you_mean(text, TSIG_ALGORITHMS))
    return "hmac-sha256"


def _tsig_secret(section: Section, name: str, algorithm: str, read_secrets: bool) -> bytes:
    ways = [key for key in ("secret", "secret_file") if section.has(key)]
    inline, file = section.text("secret"), section.optional_path("secret_file")
    if len(ways) != 1:
        what = "the secret is missing" if not ways else "both secret and secret_file are given"
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
        section.warn(key, told, f"chmod o-r {file or section.problems.file}, and generate a new secret")
    if len(secret) < _SHORTEST_SECRET:
        section.warn(key, f"the secret has {len(secret)} bytes", "use 32: openssl rand -base64 32")
    return secret


def _secret_of_file(file: Path, name: str, algorithm: str) -> str:
    """Return the secret in base64. Raise Bad when the file has another key or another algorithm."""
    key = written_key(read_secret_file(file).decode("ascii", "replace"))
    if key.name not in ("", name.lower().rstrip(".")):
        raise Bad(
            f"{file} contains the key {key.name}, not {name}",
            f'write [tsig."{key.name}."], or give another file',
        )
    if key.algorithm not in ("", algorithm):
        raise Bad(
            f"{file} is for {key.algorithm}, the key is configured for {algorithm}",
            f'write algorithm = "{key.algorithm}"',
        )
    return key.secret


def peers(root: Section, kind: str, tsig: Mapping[str, TsigKey]) -> dict[str, Peer]:
    """Return the ``[secondary.*]`` or ``[primary.*]`` tables by name."""
    found: dict[str, Peer] = {}
    for name, section in root.children(kind):
        check_label(name, section)
        section.require("address", 'write address = "192.0.2.1:53"')
        address = address_at(section, "address", section.text("address", "127.0.0.1:53"))
        keys = _tsig_list(section, tsig)
        found[name] = Peer(
            name,
            address,
            keys[0] if keys else None,
            source=_source(section, address),
            query=section.flag("query", default=True) if kind == "secondary" else True,
            notify_tsig=_notify_tsig(section, tsig),
            tsig_others=keys[1:],
            tls=peer_tls(section, kind),
        )
        section.finish()
    return found


def _tsig_list(section: Section, tsig: Mapping[str, TsigKey]) -> tuple[str, ...]:
    """Return the TSIG keys of a peer: one name, or a list while one key replaces another."""
    if not isinstance(section.raw("tsig"), list):
        one = tsig_reference(section, "tsig", tsig)
        return () if one is None else (one,)
    written = section.texts("tsig")
    if len(written) > TSIG_KEYS_MAX:
        section.error(
            "tsig",
            f"{len(written)} keys are listed",
            f"list at most {TSIG_KEYS_MAX}: the new key, and the one that it replaces",
        )
    found = (known_tsig(section, "tsig", name, tsig) for name in written[:TSIG_KEYS_MAX])
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _source(section: Section, peer: Address) -> str | None:
    """Return the local address to send from; it must be of the peer's address family."""
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
            f"{source} and the address {peer.host} are not of the same address family",
            "give an address of this host that can reach the server",
        )
        return None
    return str(source)


def _notify_tsig(section: Section, tsig: Mapping[str, TsigKey]) -> str | bool:
    """Return the key of NOTIFY: a name, True: the same as ``tsig``, False: NOTIFY is not signed."""
    value = section.raw("notify_tsig")
    if value is True:
        section.error(
            "notify_tsig", "true is not the name of a key", "write the name of a TSIG key, or false"
        )
    if value is None or isinstance(value, bool):
        return value is not False
    return tsig_reference(section, "notify_tsig", tsig) or True


def tsig_reference(section: Section, key: str, tsig: Mapping[str, TsigKey]) -> str | None:
    """Return the TSIG key named at *key*, None if absent; an unknown name is an error."""
    written = section.text(key)
    if not written:
        return None
    return known_tsig(section, key, written, tsig)


def known_tsig(section: Section, key: str, written: str, tsig: Mapping[str, TsigKey]) -> str | None:
    """Return the name of a configured TSIG key as *written* at *key*; None, with an error recorded, if unknown."""
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
