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
    """Add the commands of this module to *app*."""

    @command(app, "signer")
    def signer(cli: Cli) -> None:
        """Run the key service in the foreground."""
        from dnssecd.procs.lean import load_structlog

        load_structlog()

        from dnssecd.config import load
        from dnssecd.config.limits_file import LimitsFile
        from dnssecd.config.signer_settings import signer_settings
        from dnssecd.ops import log
        from dnssecd.signer.process import run_signer

        limits = LimitsFile(Path(cli.config_path))
        config = load(cli.config_path, read_secrets=False)
        if config.signer.socket is None:
            raise Bad(
                f"{cli.config_path} has no socket for the key service: the daemon starts its own key service",
                'write [signer] socket = "/run/dnssecd-signer/signer.sock"; without it do not run this command',
            )
        log.setup(config.log.format, config.log.level)
        settings = signer_settings(
            config,
            socket=config.signer.socket,
            state_dir=_state_dir(config),
            allowed_uids=_daemon_uids(config),
            socket_mode=0o660,
            officer_gid=_officer_gid(config),
        )
        raise typer.Exit(run_signer(settings, reread=limits.read_if_changed))


def _state_dir(config: Config) -> Path:
    """Return StateDirectory= of the systemd unit, which runs as another user; else one below the daemon's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else config.server.state_dir / "signer"


def _officer_gid(config: Config) -> int:
    """Return the group of the key officers, -1: none."""
    from dnssecd.config.groups import group_id

    name = config.roles.key_officer
    try:
        found = group_id(name)
    except KeyError:
        raise Bad(
            f"[roles] key_officer: this host has no group {name}",
            f"make it (groupadd {name}), or name another",
        ) from None
    return -1 if found is None else found


def _daemon_uids(config: Config) -> tuple[int, ...]:
    """Return the user that runs the daemon: the owner of its state directory."""
    try:
        return (config.server.state_dir.stat().st_uid,)
    except OSError:
        return ()
