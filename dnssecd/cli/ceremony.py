"""`dnssecd ksr …` and `dnssecd skr …`: off-line KSKs. `ksr sign`, `keygen`, `keys`, `retire` work without a daemon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.cli.common import USAGE, Bad, Cli, ZoneArgument, command, duration, moment
from dnssecd.cli.output import say, say_lines, say_wrapped, table
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

LONG_S = 660.0
FORMS = ("dnssecd", "knot", "bind")
REQUEST_OCTETS_MAX = 2**20 - 4096

FormOption = Annotated[
    str, typer.Option("--form", metavar="FORM", help="dnssecd, knot (keymgr) or bind (dnssec-ksr).")
]
StoreOption = Annotated[
    Path | None,
    typer.Option("--keystore", metavar="DIR", help="Software key store of the ceremony; no --config then."),
]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Passphrase of that key store.")
]
TagOption = Annotated[int, typer.Option("--key-tag", metavar="N", min=0, max=65_535, help="Tag of the key.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    ksr = typer.Typer(help="Key signing requests: off-line KSKs and ceremonies.", no_args_is_help=True)
    app.add_typer(ksr, name="ksr")
    command(ksr, "export")(_export)
    command(ksr, "keygen")(_keygen)
    command(ksr, "keys")(_keys)
    command(ksr, "sign")(_sign)
    command(ksr, "retire")(_retire)
    skr = typer.Typer(help="Signed key responses.", no_args_is_help=True)
    app.add_typer(skr, name="skr")
    command(skr, "import")(_import)


def _export(
    cli: Cli,
    zone: ZoneArgument,
    stop: Annotated[str, typer.Option("--to", metavar="T", help="End of the period: a time, or +90d.")],
    start: Annotated[
        str, typer.Option("--from", metavar="T", help='Begin of the period: a time, +30d, or "now".')
    ] = "now",
    output: Annotated[str | None, typer.Option("-o", metavar="FILE", help="File to write.")] = None,
    form: FormOption = "dnssecd",
) -> None:
    """Write a key signing request: the ZSKs and DNSKEY RRsets of a period. ZSKs that are still needed are made."""
    now = _now()
    request = messages.ceremonies.ExportRequest(
        zone=full_name(zone), start=_time(start, now), stop=_time(stop, now), form=_form(form)
    )
    result = cli.ask(request, silence_s=LONG_S)
    if output is not None:
        _write(output, result.document)
    cli.show(result, lambda: _render_export(result, output))


def _render_export(result: messages.ceremonies.SigningRequest, output: str | None) -> None:
    if output is None:
        say_lines(result.document.rstrip("\n"))
        return
    from dnssecd.core.ceremony.report import spoken

    say(f"request {result.number} for {result.zone} is in {output}; SHA-256, to compare at the ceremony:")
    say_lines(f"  {spoken(bytes.fromhex(result.digest))}")
    for note in result.notes:
        say_wrapped(f"note: {note}")


def _import(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The signed key response.")],
    accept_ksk: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-ksk",
            metavar="DIGEST",
            help="SHA-256 digest of the DS of a KSK, after you compared it with the ceremony's report.",
        ),
    ] = None,
) -> None:
    """Import what a ceremony signed. Every RRSIG is verified before anything is used."""
    text = _text(file)
    request = messages.ceremonies.ImportResponse(
        zone=_zone_of(text, file), document=text, accept_ksks=[_digest(each) for each in accept_ksk or []]
    )
    result = cli.ask(request, silence_s=LONG_S)
    cli.show(result, lambda: say_wrapped(result.message))


def _digest(text: str) -> str:
    """Return a digest as the daemon compares it; spaces and lower case are allowed."""
    digits = "".join(text.split()).upper()
    if not re.fullmatch("[0-9A-F]{64}", digits):
        raise typer.BadParameter(
            f'"{text}" is no SHA-256 digest: give the 64 hexadecimal digits at the end of the DS in the report'
        )
    return digits


def _keygen(
    cli: Cli,
    zone: ZoneArgument,
    algorithm: Annotated[
        str, typer.Option("--algorithm", metavar="A", help="DNSSEC algorithm.")
    ] = "ecdsap256sha256",
    bits: Annotated[int, typer.Option("--bits", metavar="N", help="RSA only: 2048 to 4096.")] = 0,
    keystore: StoreOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a KSK at the ceremony machine. The first signs at once; a later one begins a rollover."""
    from dnssecd.cli.ceremony_place import at_work, configured, make_ksk
    from dnssecd.config.algorithms import algorithm_number

    try:
        number = algorithm_number(algorithm)
    except (KeyError, ValueError):
        raise Bad(
            f"{algorithm} is not an algorithm to sign with", "use ecdsap256sha256 or ed25519", USAGE
        ) from None
    with at_work(configured(cli.config_path, keystore, passphrase_file)) as place:
        info, part = make_ksk(place, full_name(zone), number, bits)
    row = _key_row(info, part)
    cli.show(row, lambda: _render_keys([row]))


def _keys(
    cli: Cli, zone: ZoneArgument, keystore: StoreOption = None, passphrase_file: PassphraseOption = None
) -> None:
    """List the KSKs of a zone at the ceremony machine."""
    from dnssecd.cli.ceremony_place import at_work, configured
    from dnssecd.core.dns.names import text_to_wire

    origin = text_to_wire(full_name(zone))
    with at_work(configured(cli.config_path, keystore, passphrase_file)) as place:
        record, found = place.record(origin), place.ksks(origin)
    rows = [_key_row(info, _part(info.id, record)) for info in found.values()]
    cli.show({"keys": rows}, lambda: _render_keys(rows))


def _part(key_id: str, record: Any) -> str:
    if key_id in record.current:
        return "current"
    return "coming" if key_id in record.coming else "retired"


def _key_row(info: Any, part: str) -> dict[str, Any]:
    from dnssecd.core.keys.keyset import ds_rdata

    ds = ds_rdata(info.zones[0], info.dnskey)
    return {
        "part": part,
        "tag": info.tag,
        "algorithm": info.algorithm,
        "keystore": info.store,
        "ds": f"{info.tag} {ds[2]} {ds[3]} {ds[4:].hex().upper()}",
    }


def _render_keys(rows: list[dict[str, Any]]) -> None:
    columns = ("part", "tag", "algorithm", "keystore", "ds")
    table(columns, [[row[column] for column in columns] for row in rows], empty="no keys")


def _retire(
    cli: Cli,
    zone: ZoneArgument,
    key_tag: TagOption,
    destroy: Annotated[bool, typer.Option("--destroy", help="Destroy the private key, too.")] = False,
    keystore: StoreOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Take a KSK out of use at the ceremony machine, when the signer no longer publishes it."""
    from dnssecd.cli.ceremony_place import at_work, configured, retire_ksk

    with at_work(configured(cli.config_path, keystore, passphrase_file)) as place:
        message = retire_ksk(place, full_name(zone), key_tag, destroy=destroy)
    cli.show({"message": message}, lambda: say_wrapped(message))


def _sign(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key signing request.")],
    output: Annotated[Path, typer.Option("-o", metavar="SKR", help="File to write.")],
    confirm: Annotated[
        str,
        typer.Option("--confirm", metavar="HASH", help="First 8 digits of the request's hash; default: ask."),
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write the report for the witnesses here, too."),
    ] = None,
    form: Annotated[
        str, typer.Option("--form", help="Of the response: knot or bind.", show_default="that of the request")
    ] = "",
    stop: Annotated[
        str,
        typer.Option(
            "--to", metavar="T", help="When the last DNSKEY RRset of BIND's request ends: a time, or +90d."
        ),
    ] = "",
    validity: Annotated[
        str, typer.Option("--validity", metavar="D", help="Of signatures, for a request of Knot or BIND.")
    ] = "14d",
    cds: Annotated[bool, typer.Option("--cds", help="Sign CDS and CDNSKEY for Knot or BIND, too.")] = False,
    keystore: StoreOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Sign a request at the ceremony machine, after its checks and a person's confirmation."""
    from dnssecd.cli.ceremony_place import at_work, configured
    from dnssecd.cli.ceremony_sign import Order, sign_request

    if form == "dnssecd" or form not in ("", *FORMS):
        raise Bad(
            f"{form} is not Knot's or BIND's form", "give knot or bind; dnssecd's needs no option", USAGE
        )
    now = _now()
    order = Order(
        file=file,
        output=output,
        form="bind" if form == "bind" else "knot" if form else None,
        confirm=confirm,
        validity_s=duration(validity),
        ttl=3600,
        cds=cds,
        now=now,
        stop=_time(stop, now) if stop else None,
    )
    with at_work(configured(cli.config_path, keystore, passphrase_file)) as place:
        done = sign_request(place, order, (lambda text: None) if cli.json else say_lines)
    if report is not None:
        _write(str(report), done.report)
    digest = done.response.digest.hex()
    cli.show({"output": str(output), "digest": digest}, lambda: say(f"the response is in {output}"))


def _now() -> int:
    from dnssecd.clock import SystemClock

    return int(SystemClock().now())


def _time(text: str, now: int) -> int:
    if text == "now":
        return now
    return now + duration(text[1:]) if text.startswith("+") else moment(text)


def _form(form: str) -> str:
    if form not in FORMS:
        raise Bad(f"{form} is not a form of a request", "give dnssecd, knot or bind", USAGE)
    return form


def _write(path: str, text: str) -> None:
    from dnssecd.cli.ceremony_place import write_whole

    try:
        write_whole(Path(path), text, 0o644)
    except OSError as error:
        raise Bad(f"{path} cannot be written: {error.strerror}", "choose another file with -o") from None


def _text(file: Path) -> str:
    try:
        return read_at_most(file, REQUEST_OCTETS_MAX).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Bad(f"{file} cannot be read: {error}", "name the file with the response") from None
    except TooLarge:
        raise Bad(f"{file} is larger than 1 MiB", "have a shorter period signed") from None


def _zone_of(text: str, file: Path) -> str:
    """Return the zone that a response is for; Bad when it is none."""
    from dnssecd.core.ceremony.bundles import is_bundles, read_bundles_response
    from dnssecd.core.ceremony.request import BadDocument
    from dnssecd.core.ceremony.response import read_response
    from dnssecd.core.dns.names import wire_to_text

    try:
        response = read_bundles_response(text, 0) if is_bundles(text) else read_response(text)
    except BadDocument as error:
        raise Bad(f"{file} is not a signed key response: {error}", "name the file that was signed") from None
    return wire_to_text(response.zone)
