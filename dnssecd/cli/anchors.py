"""`dnssecd anchors …`."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, ZoneArgument, command
from dnssecd.cli.output import say, say_lines, say_wrapped, table, when
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

#: Looking at a slow web server takes long.
LONG_S = 330.0
_FORMS = {
    "ds": "anchors.ds",
    "bind": "anchors.named.conf",
    "unbound": "anchors.unbound.conf",
    "unbound-key": "anchors.unbound.key",
    "xml": "anchors.xml",
}
_Form = Annotated[
    str,
    typer.Option(
        "--form", "-f", metavar="FORM", help=f"What to print: {', '.join(_FORMS)}. Without effect with -o."
    ),
]
_Directory = Annotated[
    str | None, typer.Option("--output", "-o", metavar="DIR", help="Write the files of all forms here.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    anchors = typer.Typer(
        help="Trust anchors of islands of security and zones that follow RFC 5011.", no_args_is_help=True
    )
    app.add_typer(anchors, name="anchors")
    command(anchors, "show")(_show)
    command(anchors, "export")(_export)
    command(anchors, "check")(_check)


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """Show which keys of a zone are given out as trust anchors, and what is published of them."""
    result = cli.ask(messages.anchors.ShowAnchors(zone=full_name(zone)))
    cli.show(result, lambda: _render(result))


def _render(result: messages.anchors.ZoneAnchors) -> None:
    table(
        ("key tag", "role", "algorithm", "anchor", "since", "until", "why"),
        [
            (
                key.tag,
                key.role,
                key.algorithm,
                key.standing,
                when(key.since),
                when(key.until),
                key.why or None,
            )
            for key in result.keys
        ],
        empty="the zone has no KSK",
    )
    if result.published is not None:
        _render_publication(result.published)


def _render_publication(published: messages.anchors.AnchorPublication) -> None:
    say(f"files: {published.directory}")
    if published.url:
        say(f"published at: {published.url}, looked at: {when(published.looked_at) or 'not yet'}")
    for line in [published.trouble, *published.faults]:
        if line:
            say_wrapped(f"  {line}")


def _export(cli: Cli, zone: ZoneArgument, form: _Form = "ds", output: _Directory = None) -> None:
    """Print the trust anchors of a zone, or write them in all forms. Exit status 1 while no anchor is given."""
    if form not in _FORMS:
        raise Bad(f'there is no form "{form}"', f"give one of {', '.join(_FORMS)}", USAGE)
    result = cli.ask(messages.anchors.ShowAnchors(zone=full_name(zone)))
    if not result.files:
        reasons = "; ".join(f"key {key.tag}: {key.why}" for key in result.keys) or "it has no KSK"
        raise Bad(f"{result.zone} has no trust anchor to give now: {reasons}", "wait: dnssecd explain ZONE")
    if output is not None:
        names = _write(Path(output), result.files)
        cli.show(result, lambda: say_lines("\n".join(names)))
        return
    texts = {file.name: file.text for file in result.files}
    if _FORMS[form] not in texts:
        raise Bad(f"{result.zone} does not follow RFC 5011, so it has no form {form}", "use the form unbound")
    cli.show(result, lambda: say_lines(texts[_FORMS[form]]))


def _write(directory: Path, files: list[messages.anchors.AnchorFile]) -> list[str]:
    """Write the files and their signatures, each as a whole; return their paths."""
    written = []
    for file in files:
        contents = {file.name: file.text.encode()}
        if file.signature is not None:
            contents[file.name + ".p7s"] = base64.b64decode(file.signature)
        for name, content in contents.items():
            _replace(directory / name, content)
            written.append(str(directory / name))
    return written


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Bad(
            f"{path} cannot be written ({error.strerror})", "choose another directory with -o"
        ) from None


def _check(cli: Cli, zone: ZoneArgument) -> None:
    """Bring the published files up to date, and compare them with what the web server gives out.

    Exit status 1 unless both are current.
    """
    result = cli.ask(messages.anchors.CheckAnchors(zone=full_name(zone)), silence_s=LONG_S)
    cli.show(result, lambda: _render_check(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _render_check(result: messages.anchors.AnchorsChecked) -> None:
    say(f"{result.zone}: the published trust anchors are {'current' if result.ok else 'NOT current'}")
    _render_publication(result.published)
