"""`dnssecd key import --public-only`, `key remove-foreign`: keys of a zone's other signers (RFC 8901)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, ZoneArgument, command
from dnssecd.cli.rollover import show_changed
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name
from dnssecd.core.keys.dnskey_text import BadDnskey, dnskeys_of_text

TEXT_OCTETS_MAX = 1 << 20


def add_foreign_to_key(key: typer.Typer) -> None:
    """Add the commands of the group `key`."""
    command(key, "remove-foreign")(_remove)


def import_public(cli: Cli, zone: str, sources: list[str], signer: str | None) -> None:
    """Publish the DNSKEY RRs of files, or given as text, beside the zone's own keys."""
    if not signer:
        raise Bad("the other signer is not named", "give --signer NAME, as in other_signers", USAGE)
    rdatas = dict.fromkeys(rdata for source in sources for rdata in _rdatas_in(source, zone))
    show_changed(
        cli,
        messages.rollovers.ImportPublicKeys(
            zone=zone, signer=signer, dnskeys=[_text(rdata) for rdata in rdatas]
        ),
    )


def _rdatas_in(source: str, zone: str) -> list[bytes]:
    try:
        records = dnskeys_of_text(_read(source))
    except BadDnskey as error:
        raise Bad(f"{source[:80]}: {error}", "give the DNSKEY RRset as dig prints it", BAD) from None
    strange = {one.owner for one in records if one.owner not in ("", "@") and full_name(one.owner) != zone}
    if strange:
        raise Bad(
            f"the DNSKEY is of {strange.pop()}, not of {zone}", "give the DNSKEY RRset of this zone", BAD
        )
    return [one.rdata for one in records]


def _read(source: str) -> str:
    """Return the content of a file; the text itself where it is a record."""
    if " " in source and "DNSKEY" in source.upper().split():
        return source
    try:
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            return file.read(TEXT_OCTETS_MAX)
    except OSError as error:
        raise Bad(
            f"{source} cannot be read: {error.strerror}", "name a file, or quote a DNSKEY record"
        ) from None


def _text(rdata: bytes) -> str:
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {b64encode(rdata[4:]).decode()}"


def _remove(
    cli: Cli,
    zone: ZoneArgument,
    signer: Annotated[
        str | None, typer.Option("--signer", metavar="NAME", help="Name of the signer that leaves.")
    ] = None,
    key_tag: Annotated[
        int | None, typer.Option("--key-tag", metavar="N", min=0, max=65_535, help="Only this key.")
    ] = None,
    ns_gone: Annotated[
        bool,
        typer.Option(
            "--ns-gone", help="The signer's NS are gone from the zone and at the parent: I have checked."
        ),
    ] = False,
) -> None:
    """Take the keys of another signer out of the zone as soon as it is safe: its zone-signing keys first, its DS last.

    The daemon waits until the signer's NS are gone from the zone and at the parent, and until caches forgot what its
    servers served. --ns-gone takes your word for the NS, where the daemon cannot see them.
    """
    request = messages.rollovers.RemoveForeignKeys(
        zone=full_name(zone), signer=signer or "", key_tag=key_tag, ns_gone=ns_gone
    )
    show_changed(cli, request)
