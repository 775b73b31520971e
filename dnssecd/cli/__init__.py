"""The `dnssecd` command: one module per noun. A command imports heavy modules only when it runs."""

from __future__ import annotations


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 problem found, 2 usage error, 3 daemon not reachable."""
    import sys

    from dnssecd.cli.app import build

    build(sys.argv[1] if len(sys.argv) > 1 else None)()
