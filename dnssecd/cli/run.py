"""`dnssecd run`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import Cli, command


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""

    @command(app, "run")
    def run(cli: Cli) -> None:
        """Run the daemon in the foreground."""
        from dnssecd.ingest.gc_pause import collection_paused

        with collection_paused():  # modules stay: collections while they are loaded take a tenth of the time
            from dnssecd.procs.lean import load_structlog

            load_structlog()

            from dnssecd.config import load
            from dnssecd.ops import log

            config = load(cli.config_path)
            log.setup(config.log.format, config.log.level)

            from dnssecd.daemon.run import main

        raise typer.Exit(main(config))
