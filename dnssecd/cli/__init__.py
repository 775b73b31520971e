"""The `dnssecd` command: one module per noun. Everything heavy is imported by the command that needs it."""

from __future__ import annotations


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 the thing asked about is bad, 2 usage, 3 daemon not reachable."""
    from dnssecd.cli.app import build

    build()()
