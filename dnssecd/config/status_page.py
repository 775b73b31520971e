"""``[status_page]``: the page for people."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path

from dnssecd.config.host_names import host_names
from dnssecd.config.model import Address, Secret, StatusPageConfig
from dnssecd.config.peers import address_at
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, exposed, read_secret_file

DEFAULT_PORT = 9534
#: A token of fewer characters could be guessed.
TOKEN_MIN = 20


def status_page(root: Section, *, read_secrets: bool) -> StatusPageConfig:
    """Return the settings of the page. read_secrets: read the token; the certificate is tried, too."""
    section = root.table("status_page")
    if section is None:
        return StatusPageConfig()
    text = section.text("listen")
    listen = address_at(section, "listen", text, default_port=DEFAULT_PORT, lowest_port=0) if text else None
    found = StatusPageConfig(
        listen=listen,
        names=host_names(section, "names"),
        token=_token(section, read_secrets),
        certificate=section.optional_path("certificate"),
        key=section.optional_path("key"),
    )
    if (found.certificate is None) != (found.key is None):
        missing = "certificate" if found.certificate is None else "key"
        section.error("", f"{missing} is missing", "give the PEM files of certificate and key, or neither")
    elif found.certificate is not None and found.key is not None and read_secrets:
        _try_certificate(section, found.certificate, found.key)
    if listen is not None:
        _warn_open(section, listen, found)
    section.finish()
    return found


def _token(section: Section, read_secrets: bool) -> Secret | None:
    path = section.optional_path("token_file")
    if path is None or not read_secrets:
        return None
    if told := exposed(path):
        section.warn("token_file", told, f"chmod o-r {path}, and change the token")
    remedy = f"openssl rand -hex 32 > {path}"
    try:
        token = read_secret_file(path).split(b"\n", 1)[0].strip()
    except Bad as bad:
        section.error("token_file", bad.what, bad.remedy)
        return None
    if len(token) < TOKEN_MIN:
        section.error(
            "token_file",
            f"the token in {path} has fewer than {TOKEN_MIN} characters: it could be guessed",
            remedy,
        )
    elif not all(33 <= octet <= 126 for octet in token):
        section.error("token_file", f"the token in {path} has characters that HTTP cannot carry", remedy)
    return Secret(token)


def _try_certificate(section: Section, certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        why = error.strerror if type(error) is not ssl.SSLError and isinstance(error, OSError) else str(error)
        section.error(
            "certificate",
            f"{certificate} and {key} cannot be used: {why}",
            "give PEM files that belong together, readable for the daemon's user, the key without passphrase",
        )


def _no_password() -> str:
    raise ValueError("the key has a passphrase")


def _warn_open(section: Section, listen: Address, found: StatusPageConfig) -> None:
    """Warn where the page, or its token, can be read on the way or by strangers."""
    if ip_address(listen.host.partition("%")[0]).is_loopback:
        return
    if not section.has("token_file"):
        section.warn(
            "listen",
            f"all who can reach {listen} can read the state of all zones",
            'write token_file = "…", or listen on a loopback address behind a proxy that asks for a password',
        )
    elif found.certificate is None:
        section.warn(
            "listen",
            "the token is sent without encryption",
            "give certificate and key, or listen on a loopback address behind a proxy with TLS",
        )
