"""``tls`` of ``[server]``, ``[secondary.*]`` and ``[primary.*]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from dnssecd.config.model import Address, Peer, ServerConfig, ZoneConfig
from dnssecd.config.reader import Section
from dnssecd.config.tls_model import PeerTls, TlsFiles
from dnssecd.config.values import Bad, exposed, parse_name

#: SHA-256 in base64: 44 characters; tools write it with different words before it.
_PIN = re.compile(r"(?:sha256/|pin-sha256=\"?)?([A-Za-z0-9+/]{43}=)\"?")
_PIN_REMEDY = (
    "write the SHA-256 of its public key in base64: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin "
    "-outform der | openssl dgst -sha256 -binary | base64"
)


_FILES_REMEDY = "write a PEM file that the daemon's user can read; until then TLS that needs it fails"


def tls_files(section: Section) -> TlsFiles | None:
    """Return the certificate and key of ``[server]``; None if there are none."""
    certificate, key = section.optional_path("tls_certificate"), section.optional_path("tls_key")
    if certificate is None and key is None:
        if section.raw("tls"):
            section.error(
                "tls", "a listener for TLS needs a certificate", 'add tls_certificate = "…" and tls_key = "…"'
            )
        return None
    if certificate is None or key is None:
        missing = "tls_certificate" if certificate is None else "tls_key"
        section.error(
            "tls_key" if certificate is None else "tls_certificate",
            f"{missing} is missing",
            f'add {missing} = "…"',
        )
        return None
    if told := exposed(key):
        section.warn("tls_key", told, f"chmod o-r {key}, and renew the key")
    return TlsFiles(certificate, key)


def warn_unusable_files(root: Section, server: ServerConfig, peers: Iterable[tuple[str, Peer]]) -> None:
    """Warn of files that cannot be used now; the daemon starts nevertheless, and reads them again when they change.

    peers: kind of table, and peer.
    """
    authorities = [(kind, peer.name, peer.tls.ca) for kind, peer in peers if peer.tls and peer.tls.ca]
    if server.tls_files is None and not authorities:
        return
    from dnssecd.tls import BadCertificate, Identity, read_certificates, server_context

    if (files := server.tls_files) is not None:
        try:
            server_context(Identity(str(files.certificate), str(files.key)), ())
        except BadCertificate as error:
            root.problems.warn(("server", "tls_certificate"), str(error), _FILES_REMEDY)
    for kind, name, path in authorities:
        try:
            read_certificates(str(path))
        except BadCertificate as error:
            root.problems.warn((kind, name, "tls", "ca"), str(error), _FILES_REMEDY)


def peer_tls(section: Section, kind: str) -> PeerTls | None:
    """Return ``tls`` of a peer; None if it is absent or cannot be used."""
    table = section.table("tls")
    if table is None:
        return None
    secondary = kind == "secondary"
    found = PeerTls(
        name=_name(table),
        ca=table.optional_path("ca"),
        pins=_pins(table),
        port=table.integer("port", 853, 1, 65_535),
        mutual=table.flag("mutual") if secondary else False,
        queries=table.flag("queries") if secondary else True,
    )
    table.finish()
    _check(section, table, found, secondary)
    return found


def _check(section: Section, table: Section, tls: PeerTls, secondary: bool) -> None:
    judged = bool(tls.name or tls.pins)
    if tls.mutual and not (judged and tls.ca is not None):
        table.error(
            "mutual",
            "to check the client certificate of a secondary, dnssecd needs its authority and its name or pin",
            'add ca = "FILE.pem" (its authority, or its certificate), and name = "…" or pins = ["…"]',
        )
    elif not secondary and not judged:
        section.error(
            "tls",
            "the certificate of the primary cannot be checked: neither name nor pins is given",
            'write tls = { name = "ns.example.net" } or tls = { pins = ["…"] }',
        )
    elif secondary and tls.queries and not judged:
        table.error(
            "queries",
            "the certificate of the secondary cannot be checked: neither name nor pins is given",
            'add name = "ns.example.net" or pins = ["…"]',
        )


def _name(table: Section) -> str:
    """Return the name or address that the peer's certificate must have."""
    text = table.text("name")
    if not text:
        return ""
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        return parse_name(text).rstrip(".")
    except Bad as bad:
        table.error("name", bad.what, bad.remedy)
        return ""


def _pins(table: Section) -> tuple[str, ...]:
    found = []
    for text in table.texts("pins"):
        match = _PIN.fullmatch(text)
        if match is None:
            table.error("pins", f'"{text[:60]}" is not a pin', _PIN_REMEDY)
        else:
            found.append(match[1])
    return tuple(found)


def check_tls(
    root: Section,
    server: ServerConfig,
    secondaries: Mapping[str, Peer],
    zones: Mapping[str, ZoneConfig],
) -> None:
    """Check what depends on several tables: a secondary with ``tls`` needs a listener, and no way around TLS."""
    for name, peer in secondaries.items():
        if peer.tls is not None and not server.tls:
            root.problems.error(
                ("secondary", name, "tls"),
                "its transfers must use TLS, but dnssecd does not listen for TLS",
                'add tls = ["192.0.2.1:853"] to [server]',
            )
    only = {key: peer.name for peer in secondaries.values() if peer.tls for key in peer.tsig_names}
    for zone in zones.values():
        for key in sorted(zone.allow_transfer.tsig & only.keys()):
            root.problems.warn(
                ("zone", zone.name, "allow_transfer"),
                f'the key "{key}" of the secondary {only[key]} is listed, so it can also transfer without TLS',
                "remove the key from allow_transfer, or give the other clients another key",
            )


def check_listeners(section: Section, listen: tuple[Address, ...], tls: tuple[Address, ...]) -> None:
    """Report an address that is listed for both kinds of listeners."""
    for address in tls:
        if address in listen and address.port:
            section.error(
                "tls",
                f"{address} is also in listen",
                f'write the port of TLS: "{Address(address.host, 853)}"',
            )
