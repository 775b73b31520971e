"""Commands on files that need no daemon. Each imports its work when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.cli.common import Cli, command, moment
from dnssecd.cli.output import say, say_wrapped


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    command(app, "sign")(_sign)
    command(app, "verify")(_verify)


def _sign(
    cli: Cli,
    file: Annotated[Path, typer.Argument(help="Unsigned zone file.", metavar="FILE", exists=True)],
    origin: Annotated[str, typer.Option(help="Name of the zone.", metavar="NAME")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Signed zone file; - is standard output.", metavar="OUT")
    ],
    denial: Annotated[
        str, typer.Option(help="nsec or nsec3 (no iterations, no salt: RFC 9276).", metavar="KIND")
    ] = "nsec3",
    opt_out: Annotated[
        bool, typer.Option("--opt-out", help="NSEC3 opt-out: insecure delegations are not proven.")
    ] = False,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(help="Algorithm of new keys (repeatable: every RRset is signed by each).", metavar="A"),
    ] = None,
    csk: Annotated[
        bool, typer.Option("--csk", help="Use one key for everything, instead of KSK and ZSK.")
    ] = False,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="BIND key file to sign with (repeatable).", metavar="BIND-KEYFILE"),
    ] = None,
    keystore: Annotated[
        Path | None,
        typer.Option(help="Key store with the keys; created if missing (default: OUT.keys).", metavar="DIR"),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the key store.", metavar="F")
    ] = None,
    inception: Annotated[
        str | None, typer.Option(help="Epoch seconds or YYYYMMDDHHMMSS (default: an hour ago).", metavar="T")
    ] = None,
    expiration: Annotated[
        str | None,
        typer.Option(help="Same form, for all RRSIGs (default: in 30 days, less up to 12 h).", metavar="T"),
    ] = None,
    zonemd: Annotated[bool, typer.Option("--zonemd", help="Add a ZONEMD record (RFC 8976).")] = False,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Deterministic ECDSA signatures (RFC 6979)."),
    ] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not verify the signed zone.")] = False,
) -> None:
    """Sign a zone file, verify it independently, and write it. No daemon is needed."""
    from dnssecd.cli.sign import Options, run

    signed = run(
        Options(
            file=file,
            origin=origin,
            output=output,
            denial=_denial(denial),
            opt_out=opt_out,
            algorithms=algorithm or (),
            csk=csk,
            keys=key or (),
            keystore=keystore,
            passphrase_file=passphrase_file,
            inception=None if inception is None else moment(inception),
            expiration=None if expiration is None else moment(expiration),
            zonemd=zonemd,
            deterministic=deterministic,
            verify=not no_verify,
            quiet=cli.json,
        )
    )
    result = {
        "serial": signed.serial,
        "signatures": signed.signatures,
        "records": signed.records,
        "output": output,
    }
    result |= {"verified": not no_verify, "warnings": [warning.cause for warning in signed.warnings]}
    cli.show(result, lambda: _signed(result))


def _denial(kind: str) -> str:
    if kind not in ("nsec", "nsec3"):
        raise typer.BadParameter(f'"{kind}" is neither nsec nor nsec3', param_hint="--denial")
    return kind


def _signed(result: dict[str, Any]) -> None:
    for warning in result["warnings"]:
        say_wrapped(f"warning: {warning}", err=True)
    verified = "verified" if result["verified"] else "not verified"
    text = f"{result['output']}: serial {result['serial']}, {result['records']} records, "
    say(f"{text}{result['signatures']} signatures made, {verified}", err=True)


def _verify(
    cli: Cli,
    file: Annotated[Path, typer.Argument(help="Signed zone file.", metavar="FILE", exists=True)],
    origin: Annotated[str, typer.Option(help="Name of the zone.", metavar="NAME")],
    time: Annotated[
        str | None, typer.Option(help="Check for this time: epoch seconds or YYYYMMDDHHMMSS.", metavar="T")
    ] = None,
    zonemd: Annotated[bool, typer.Option("--zonemd", help="Require a ZONEMD record that verifies.")] = False,
    ds: Annotated[
        list[str] | None,
        typer.Option(
            "--ds", help="DS at the parent (repeatable); one must match for each algorithm.", metavar="DS"
        ),
    ] = None,
) -> None:
    """Check a signed zone file of any signer. Exit status: 0 good, 1 bogus, 4 RFC violations only."""
    from dnssecd.cli.verify import run

    raise typer.Exit(run(file, origin, time, zonemd, ds or [], cli.json, say))
