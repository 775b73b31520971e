"""PowerDNS with the gsqlite3 back end."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from tests.peers.nameserver import Nameserver
from tests.peers.paths import program
from tests.peers.process import LOOPBACK

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")


class Pdns(Nameserver):
    """pdns_server; a subclass has its `settings`, and fills its database by `util`."""

    settings = ""

    def command(self) -> list[str]:
        where = [f"--config-dir={self.directory}", "--daemon=no", "--guardian=no"]
        return [program("pdns_server"), *where, "--disable-syslog"]

    def configuration(self) -> str:
        return f"""launch=gsqlite3
gsqlite3-database={self.directory}/pdns.sqlite3
gsqlite3-dnssec=yes
local-address={LOOPBACK}
local-port={self.port}
socket-dir={self.directory}
{self.settings}"""

    def create_database(self) -> None:
        """The configuration, and an empty database."""
        (self.directory / "pdns.conf").write_text(self.configuration())
        with closing(sqlite3.connect(self.directory / "pdns.sqlite3")) as database:
            database.executescript(SCHEMA.read_text())

    def util(self, *words: str) -> str:
        """Run pdnsutil; return what it prints."""
        command = [program("pdnsutil"), f"--config-dir={self.directory}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()
