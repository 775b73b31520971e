"""`dnssecd cluster export`, `dnssecd node detach`, `node rejoin`: the databases of a node whose daemon is stopped."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dnssecd.cli.common import USAGE, Bad, Cli
from dnssecd.cli.output import say, table

if TYPE_CHECKING:
    from dnssecd.backup.leave import Moved
    from dnssecd.config.model import Config


def detach(
    cli: Cli,
    others_fenced: Annotated[
        bool,
        typer.Option("--others-fenced", help="You confirm that no other node can make versions any more."),
    ] = False,
) -> None:
    """Make a single host of this node, when the database of the cluster is lost for good. The daemon is stopped.

    At its next start each zone waits until the serial of its secondaries is known, and is published above it: updates
    that only other nodes had are lost. Remove [cluster] from the configuration before that start.
    """
    if not others_fenced:
        raise Bad(
            "other nodes may make versions of the zones: two signers at the same time make every zone bogus",
            "make sure that no other node can (power off, or its keys are out of reach), then confirm it: "
            "--others-fenced",
            USAGE,
        )
    from dnssecd.backup.leave import detach as work

    _do(cli, lambda config, now: work(config, now, getpass.getuser()))
    _next(cli, "Remove [cluster] from the configuration, then start dnssecd.")


def export(cli: Cli) -> None:
    """Give all zones of the cluster back to this host alone. The daemon of this node is stopped, the others may run.

    This node must have all records of all zones. Other nodes can make no versions after that; they serve what they have
    until they are stopped. Remove [cluster] from the configuration before the next start.
    """
    _with_log(cli, "export")
    _next(cli, "Remove [cluster] from the configuration, then start dnssecd. Stop the other nodes.")


def rejoin(cli: Cli) -> None:
    """Make the databases of this node fit the logs of the cluster again. The daemon of this node is stopped.

    A database that has records which the log lacks is put into the log as a whole when this node owns the zone. One
    that does not fit is moved to zones/removed, and the zone is taken from the log.
    """
    _with_log(cli, "rejoin")


def _with_log(cli: Cli, what: str) -> None:
    from dnssecd.backup import leave
    from dnssecd.cluster.place import place_of
    from dnssecd.cluster.standing import Standing

    def work(config: Config, now: int) -> list[Moved]:
        if config.cluster is None:
            raise Bad(f"{config.path} has no [cluster]", "describe the cluster there (docs/ha.md)", USAGE)
        log = Standing(place_of(config.cluster))
        try:
            return getattr(leave, what)(config, log, now, getpass.getuser())  # type: ignore[no-any-return]
        finally:
            log.close()

    _do(cli, work)


def _do(cli: Cli, work: Callable[[Config, int], list[Moved]]) -> None:
    from dnssecd.backup.leave import CannotLeave
    from dnssecd.clock import SystemClock
    from dnssecd.config import load
    from dnssecd.store.errors import StoreError

    config = load(cli.config_path, read_secrets=False)
    try:
        found = work(config, int(SystemClock().now()))
    except CannotLeave as error:
        raise Bad(str(error), error.remedy) from None
    except (StoreError, OSError) as error:
        raise Bad(str(error), "see the message; the same command can be given again") from None
    except Exception as error:
        remedy = getattr(
            error, "remedy", None
        )  # of an error of the cluster, which a single host cannot import
        if remedy is None:
            raise
        raise Bad(str(error), remedy) from None
    rows: list[dict[str, Any]] = [
        {"zone": one.zone, "serial": one.serial, "record": one.sequence, "what": one.what} for one in found
    ]
    cli.show(
        {"zones": rows},
        lambda: table(
            ("zone", "serial", "record", "what"), [list(row.values()) for row in rows], "nothing to do"
        ),
    )


def _next(cli: Cli, what: str) -> None:
    if not cli.json:
        say(what)
