"""`dnssecd simulate --algorithm`: the size of a zone with another algorithm."""

from __future__ import annotations

from dnssecd.cli.common import Cli
from dnssecd.cli.keystore import algorithm_option
from dnssecd.cli.output import say, say_wrapped, table
from dnssecd.control import messages

LONG_S = 600.0
_ROWS = (
    ("answer: DNSKEY", "dnskey", True),
    ("answer: SOA", "soa", True),
    ("answer: an address", "address", True),
    ("answer: no such name", "nxdomain", True),
    ("IXFR of one change", "update", False),
    ("AXFR", "transfer", False),
    ("database", "store", False),
    ("signatures (number)", "signatures", False),
)


def show_sizes(cli: Cli, zone: str, algorithm: str) -> None:
    """Show the sizes of a zone with an algorithm, by name or number."""
    number = algorithm_option(algorithm)
    assert number is not None
    request = messages.forecasts.SimulateAlgorithm(zone=zone, algorithm=number)
    result = cli.ask(request, silence_s=LONG_S)
    cli.show(result, lambda: _render(result))


def _render(result: messages.forecasts.AlgorithmSizes) -> None:
    stages = result.now, result.during, result.after
    rows = []
    over = False
    for text, name, answer in _ROWS:
        values = [int(getattr(stage, name)) for stage in stages]
        marks = ["*" if answer and value > result.udp_max else "" for value in values]
        over = over or any(marks)
        rows.append((text, *(f"{value:,}{mark}" for value, mark in zip(values, marks, strict=True))))
    table(("bytes", "now", "both", f"algorithm {result.algorithm}"), rows, empty="")
    say_wrapped(
        "now: as the zone is; both: while two algorithms sign it (RFC 4035 section 2.2), days to weeks"
    )
    if over:
        say(f"*: does not fit into {result.udp_max:,} bytes over UDP: every such query comes again over TCP")
    if result.experimental:
        say_wrapped(
            "The algorithm is experimental: validators that do not know it treat the zone as unsigned."
        )
