"""A zone with a real key service and a real store, driven without a daemon: for tests of the pipeline."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.verify import inline_checker
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.load import load_file
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.resign import resign
from dnssecd.pipeline.jobs.spec import KeyWish, ZoneSpec
from dnssecd.store.zonedb import ZoneDatabase

NOW = 1_790_000_000
DATE = 20260921

ZONE = """$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
www IN A 192.0.2.2
*.wild IN TXT "w"
a.b.c IN AAAA 2001:db8::1
sub IN NS ns.sub
ns.sub IN A 192.0.2.3
secure IN NS ns.sub
secure IN DS 4711 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""


@contextmanager
def running_signer() -> Iterator[str]:
    """Run a key service with a fresh software store; yields its socket."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        store = KeystoreSettings(name="local", type="software", directory=str(home / "keys"))
        settings = SignerSettings(socket=str(home / "s"), state_dir=str(home / "state"), keystores=(store,))
        with launched_signer(settings):
            yield settings.socket


class PipelineZone:
    """example. in a directory of its own; ``now`` moves when told."""

    def __init__(self, home: Path, socket: str, **spec: Any) -> None:
        self.home = home
        self.file = home / "zone"
        self.spec = ZoneSpec(
            name="example.",
            origin=text_to_wire("example."),
            database=str(home / "zone.sqlite"),
            signer_socket=socket,
            keystore="local",
            keys=(KeyWish("ksk", 13, "local"), KeyWish("zsk", 13, "local")),
            **spec,
        )
        self.db = ZoneDatabase(Path(self.spec.database), self.spec.origin)
        self.signer = SignerClient(socket, owners=None)
        self.now = NOW

    def tools(self) -> Tools:
        return Tools(self.signer, inline_checker, self.now, DATE, time.monotonic)

    def load(self, text: str, **more: Any) -> Outcome:
        self.file.write_text(text)
        return load_file(self.db, self.spec, self.file, self.tools(), **more)

    def resign(self) -> Outcome:
        return resign(self.db, self.spec, self.tools())

    def serial(self) -> int | None:
        with self.db.snapshot() as snapshot:
            return None if snapshot.version is None else snapshot.serial

    def close(self) -> None:
        self.signer.close()
        self.db.close()
