"""`dnssecd signer`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dnssecd.cli.common import Bad, Cli, command

if TYPE_CHECKING:
    from dnssecd.config import Config


def register(app: typer.Typer) -> None:
    @command(app, "signer")
    def signer(cli: Cli) -> None:
        """Run the key service in the foreground."""
        from dnssecd.config import load
        from dnssecd.config.signer_settings import signer_settings
        from dnssecd.ops import log
        from dnssecd.signer.process import run_signer

        config = load(cli.config_path, read_secrets=False)
        if config.signer.socket is None:
            raise Bad(
                f"{cli.config_path} names no socket for the key service: the daemon starts its own",
                'write [signer] socket = "/run/dnssecd-signer/signer.sock", or let the daemon do it',
            )
        log.setup(config.log.format, config.log.level)
        settings = signer_settings(
            config,
            socket=config.signer.socket,
            state_dir=_state_dir(config),
            allowed_uids=_daemon_uids(config),
            socket_mode=0o660,
        )
        raise typer.Exit(run_signer(settings))


def _state_dir(config: Config) -> Path:
    """systemd's StateDirectory= of the service, which runs as another user; else below the daemon's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else config.server.state_dir / "signer"


def _daemon_uids(config: Config) -> tuple[int, ...]:
    """Who runs the daemon: the owner of its state directory."""
    try:
        return (config.server.state_dir.stat().st_uid,)
    except OSError:
        return ()
