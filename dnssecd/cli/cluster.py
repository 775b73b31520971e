"""`dnssecd cluster …` and `dnssecd node …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dnssecd.cli import leave
from dnssecd.cli.common import BAD, USAGE, Bad, Cli, ZoneArgument, command
from dnssecd.cli.output import say, say_lines, say_wrapped, table
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

if TYPE_CHECKING:
    from dnssecd.cluster.database import Database
    from dnssecd.config.model import ClusterConfig, Config

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")]


PROGRAMS = ("named", "knot", "nsd", "pdns")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    cluster = typer.Typer(
        help="The database of several nodes: make its tables, check it.", no_args_is_help=True
    )
    app.add_typer(cluster, name="cluster")
    command(cluster, "init")(_init)
    command(cluster, "check")(_check)
    command(cluster, "export")(leave.export)
    node = typer.Typer(help="The nodes of a cluster: list, drain, resume.", no_args_is_help=True)
    app.add_typer(node, name="node")
    command(node, "list")(_list)
    command(node, "drain")(_drain)
    command(node, "resume")(_resume)
    command(node, "secondaries")(_secondaries)
    command(node, "key")(_key)
    command(node, "detach")(leave.detach)
    command(node, "rejoin")(leave.rejoin)


def _cluster(config: Config) -> ClusterConfig:
    if config.cluster is None:
        raise Bad(f"{config.path} has no [cluster]", "describe the cluster there (docs/ha.md)", USAGE)
    return config.cluster


def _database(cluster: ClusterConfig) -> Database:
    from dnssecd.cluster.database import Database
    from dnssecd.cluster.place import place_of

    return Database(place_of(cluster), sessions=1)


def _init(cli: Cli) -> None:
    """Make the tables of the cluster in its database, or upgrade them. No daemon is needed."""
    from dnssecd.cluster import schema
    from dnssecd.cluster.errors import ClusterError
    from dnssecd.config import load

    database = _database(_cluster(load(cli.config_path, read_secrets=False)))
    try:
        state = schema.migrate(database)
    except ClusterError as error:
        raise Bad(error.what, error.remedy) from None
    finally:
        database.close()
    result = {"version": state.version, "usable_from": state.usable_from}
    cli.show(result, lambda: say(f"the tables of the cluster have version {state.version}"))


def _key(cli: Cli) -> None:
    """Print the public sealing key of this node, for `sealing_key` in the configuration of all nodes.

    The key service makes the key when it is first asked.
    """
    from dnssecd.cli.keyservice import key_service

    with key_service(cli) as (config, client):
        cluster = _cluster(config)
        key = client.sealing_key()
    known = cluster.nodes[cluster.node].sealing_key
    result = {"node": cluster.node, "sealing_key": key, "configured": known == key}

    def told() -> None:
        say(f'[cluster.nodes.{cluster.node}]\nsealing_key = "{key}"')
        if known and known != key:
            say(
                "the configuration of this node has another sealing_key: change it on all nodes, and restart them"
            )

    cli.show(result, told)


def _check(cli: Cli) -> None:
    """Check the database of the cluster: login, tables, standby, clock, nodes. Exit status: 0 good, 1 not."""
    from dnssecd.clock import SystemClock
    from dnssecd.cluster.check import check_cluster
    from dnssecd.config import load

    config = load(cli.config_path, read_secrets=False)
    cluster = _cluster(config)
    database = _database(cluster)
    try:
        findings = check_cluster(database, cluster, config.server.clock_tolerance, SystemClock())
    finally:
        database.close()
    good = all(finding.good for finding in findings)
    rows = [finding._asdict() for finding in findings]

    def render() -> None:
        for finding in findings:
            say_wrapped(f"{'ok' if finding.good else 'BAD':<4} {finding.what}: {finding.detail}")
            if finding.remedy:
                say_wrapped(f"     to do: {finding.remedy}")

    cli.show({"ok": good, "checks": rows}, render)
    if not good:
        raise typer.Exit(BAD)


def _list(cli: Cli) -> None:
    """List the nodes of the cluster: state, number of zones, lease, clock."""
    result = cli.ask(messages.cluster.ListNodes())
    cli.show(result, lambda: _render_nodes(result.nodes))


def _render_nodes(nodes: list[messages.cluster.NodeRow]) -> None:
    table(("node", "state", "zones", "lease", "clock", "version", "address", "detail"), map(_row, nodes))


def _row(node: messages.cluster.NodeRow) -> tuple[Any, ...]:
    lease = None if node.lease_seconds is None else f"{max(0, node.lease_seconds):.0f} s"
    clock = None if node.clock_offset_seconds is None else f"{node.clock_offset_seconds:+.2f} s"
    name = f"{node.name} (this)" if node.here else node.name
    return (name, node.state, node.zones, lease, clock, node.version, ", ".join(node.address), node.detail)


def _drain(cli: Cli, node: NodeArgument) -> None:
    """Let the other nodes take over all zones of a node, as before maintenance."""
    result = cli.ask(messages.cluster.DrainNode(node=node))
    cli.show(result, lambda: say_wrapped(result.message))


def _resume(cli: Cli, node: NodeArgument) -> None:
    """Let a node own zones again."""
    result = cli.ask(messages.cluster.ResumeNode(node=node))
    cli.show(result, lambda: say_wrapped(result.message))


def _secondaries(
    cli: Cli,
    zone: ZoneArgument,
    program: Annotated[
        str | None,
        typer.Option("--for", metavar="PROGRAM", help="named, knot, nsd or pdns.", show_default=False),
    ] = None,
    secondary: Annotated[
        str | None,
        typer.Option(
            "--secondary", metavar="NAME", help="Which [secondary]; default: the first of the zone."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check that the secondaries take NOTIFY from this node, and can transfer from all nodes.",
        ),
    ] = False,
) -> None:
    """Print the configuration of a secondary that has all nodes as primaries of a zone, or check the secondaries."""
    if check:
        return _check_secondaries(cli, full_name(zone))
    if program is None:
        raise Bad("no program is given", f"--for {', '.join(PROGRAMS)}; or --check", USAGE)
    from dnssecd.cluster.secondaries import FORMS, Primaries
    from dnssecd.config import load

    config = load(cli.config_path, read_secrets=False)
    cluster, name = _cluster(config), full_name(zone)
    if program not in FORMS:
        raise Bad(
            f'"{program}" is not a program with a known configuration', f"give {', '.join(FORMS)}", USAGE
        )
    if name not in config.zones:
        raise Bad(f"{config.path} has no zone {name}", "dnssecd zone list shows the zones", USAGE)
    peers = [peer for peer in config.secondaries_of(name) if secondary in (None, peer.name)]
    if secondary is not None and not peers:
        raise Bad(f"{secondary} is not a secondary of {name}", "name one of its `secondaries`", USAGE)
    key = config.tsig[peers[0].tsig] if peers and peers[0].tsig is not None else None
    addresses = [address for node in cluster.nodes.values() for address in node.address]
    algorithm = "" if key is None else key.algorithm
    text = FORMS[program](Primaries(name, addresses, "" if key is None else key.name, algorithm))
    cli.show({"zone": name, "program": program, "text": text}, lambda: say_lines(text))
    return None


def _check_secondaries(cli: Cli, zone: str) -> None:
    """Exit status: 0 good, 1 not."""
    result = cli.ask(messages.cluster.CheckSecondaries(zone=zone))
    cli.show(result, lambda: _render_checks(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _render_checks(result: messages.cluster.SecondaryChecks) -> None:
    seen = [
        (
            f"secondary {check.secondary}",
            check.serial,
            f"takes NOTIFY from this node: {check.notify}",
            check.problem,
        )
        for check in result.secondaries
    ]
    asked = [
        (
            f"node {check.node} {check.address}",
            check.serial,
            f"transfer with key {check.key}" if check.key else "SOA",
            check.problem,
        )
        for check in result.nodes
    ]
    table(("server", "serial", "what", "problem"), [*seen, *asked])
    say_wrapped("Run it on each node: NOTIFY is sent from the node that is asked.")
