"""`dnssecd keystore …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, command
from dnssecd.cli.output import pairs, progress, say, say_wrapped, span, table
from dnssecd.control import messages

StoreArgument = Annotated[
    str | None, typer.Argument(metavar="[KEYSTORE]", help="Name of the key store; default: all.")
]
AlgorithmOption = Annotated[
    str | None,
    typer.Option(
        "--algorithm", metavar="A", help="Mnemonic or number; default: the algorithms that the zones use."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    keystore = typer.Typer(help="Key stores and tokens: state, test, speed.", no_args_is_help=True)
    app.add_typer(keystore, name="keystore")
    command(keystore, "list")(_list)
    command(keystore, "test")(_test)
    command(keystore, "bench")(_bench)


def algorithm_option(text: str | None) -> int | None:
    """Return the number of an algorithm option. Raise typer.BadParameter when it is unknown or refused."""
    from dnssecd.config.algorithms import ALGORITHMS, EXPERIMENTAL, algorithm_number

    if text is None:
        return None
    try:
        return algorithm_number(text, EXPERIMENTAL)
    except KeyError:
        raise Bad(f'"{text}" is not an algorithm', f"choose one of {', '.join(ALGORITHMS)}", USAGE) from None
    except ValueError as error:
        raise Bad(f"{text}: {error}", f"choose one of {', '.join(ALGORITHMS)}", USAGE) from None


def _list(cli: Cli) -> None:
    """List all key stores and their tokens with their state."""
    result = cli.ask(messages.keystores.ListKeyStores())
    cli.show(result, lambda: _render_list(result))


def _render_list(result: messages.keystores.KeyStores) -> None:
    table(
        ("key store", "type", "token", "state", "sessions", "keys", "signatures", "latency", "failures"),
        [row for store in result.stores for row in _rows(store)],
        empty="no key stores",
    )
    details = [
        (f"{store.name} {token.name}".strip(), token.detail)
        for store in result.stores
        for token in store.tokens or [store]
        if token.detail
    ]
    if details:
        say()
        pairs(details)
    for warning in result.warnings:
        say()
        say_wrapped(f"{warning.code} ({warning.subject}): {warning.detail}")


def _rows(store: messages.keystores.StoreStatus) -> list[tuple[Any, ...]]:
    if not store.tokens:
        cells = (store.name, store.type, None, store.state, None, store.keys, store.signatures)
        return [(*cells, None, None)]
    return [
        (
            store.name,
            store.type,
            token.name,
            token.state,
            f"{token.sessions_open} open, {token.sessions_busy} busy",
            store.keys,
            token.signatures,
            f"{1000 * token.latency_sum_s / token.calls:.1f} ms a call" if token.calls else None,
            ", ".join(f"{count} {kind}" for kind, count in token.errors.items()) or None,
        )
        for token in store.tokens
    ]


def _test(cli: Cli, keystore: StoreArgument = None, algorithm: AlgorithmOption = None) -> None:
    """Generate a key in each token, sign, verify and destroy the key. Evicted tokens that pass are used again."""
    request = messages.keystores.TestKeyStore(keystore=keystore, algorithm=algorithm_option(algorithm))
    with progress("testing") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(
        result,
        lambda: table(
            ("key store", "algorithm", "result", "detail"),
            [
                (one.keystore, one.algorithm, "ok" if one.ok else "FAILED", one.detail)
                for one in result.results
            ],
            empty="no key stores",
        ),
    )
    if not result.ok:
        raise typer.Exit(BAD)


def _bench(
    cli: Cli,
    keystore: StoreArgument = None,
    algorithm: AlgorithmOption = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60.0, help="Length of each measurement.", metavar="S")
    ] = 1.0,
) -> None:
    """Measure signatures per second by sessions and batch size, with temporary keys; show what zones that sustains."""
    request = messages.keystores.BenchKeyStore(
        keystore=keystore, algorithm=algorithm_option(algorithm), seconds=seconds
    )
    with progress("measuring") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: _render_bench(result))
    if not result.lines:
        raise typer.Exit(BAD)


def _render_bench(result: messages.keystores.BenchResults) -> None:
    table(
        ("key store", "token", "algorithm", "sessions", "batch", "signatures/s"),
        [
            (
                line.keystore,
                line.token,
                line.algorithm,
                line.sessions,
                line.batch,
                f"{line.per_second:,.0f}",
            )
            for line in result.lines
        ],
        empty="no key store works",
    )
    if not result.lines:
        return
    say()
    say("The best rate sustains, if the token signs nothing else:")
    table(
        (
            "kind of zone",
            "signatures per name",
            "time for a million names",
            "names per hour",
            "names renewed in time",
        ),
        [
            (
                one.zone,
                one.signatures_per_name,
                None if one.million_names_s is None else span(one.million_names_s),
                f"{one.names_in_an_hour:,}",
                f"{one.names_fresh:,}",
            )
            for one in result.sustains
        ],
    )
