"""Secondaries that follow a catalog zone (RFC 9432): BIND, Knot, PowerDNS of Debian 12. NSD has it from 4.8 on."""

from __future__ import annotations

from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import SecondaryZone
from tests.peers.pdns import Pdns
from tests.peers.process import LOOPBACK


class CatalogNamed(Named):
    """named, whose first zone is a catalog; its members are transferred from the same primary."""

    name = "named"

    def configuration(self) -> str:
        catalog = self.zones[0]
        assert isinstance(catalog, SecondaryZone)
        source = f'{LOOPBACK} port {catalog.primary} key "{catalog.tsig.name}"'
        clause = f"""    catalog-zones {{
        zone "{catalog.name}" default-primaries {{ {source}; }} in-memory yes min-update-interval 1;
    }};
    allow-notify {{ key "{catalog.tsig.name}"; {LOOPBACK}; }};
"""
        return super().configuration().replace("    recursion no;\n", f"    recursion no;\n{clause}")


class CatalogKnotd(Knotd):
    """knotd, whose first zone is a catalog; its members are transferred from the same primary."""

    name = "knotd"

    def configuration(self) -> str:
        catalog = self.zones[0]
        assert isinstance(catalog, SecondaryZone)
        template = f"""template:
  - id: members
    storage: "{self.directory}"
    master: r0-{catalog.primary}
    acl: a0
    zonefile-load: none
    journal-content: all
    zonefile-sync: -1
    refresh-min-interval: 2
    retry-max-interval: 2
"""
        role = "    catalog-role: interpret\n    catalog-template: members\n"
        head, _, zones = super().configuration().partition("\nzone:\n")
        return f"{head}\n{template}zone:\n{zones}{role}"


class CatalogPdns(Pdns):
    """PowerDNS, whose first zone is a catalog; its members are transferred from the same primary with the same key."""

    name = "pdns"
    settings = f"""secondary=yes
allow-notify-from={LOOPBACK}
allow-unsigned-notify=no
disable-axfr=yes
xfr-cycle-interval=2
zone-cache-refresh-interval=0
query-cache-ttl=0
cache-ttl=0
negquery-cache-ttl=0
"""

    def spawn(self) -> None:
        catalog = self.zones[0]
        assert isinstance(catalog, SecondaryZone)
        self.create_database()
        key, where = catalog.tsig, f"{LOOPBACK}:{catalog.primary}"
        self.util("import-tsig-key", key.name, key.algorithm, key.secret)
        self.util("create-secondary-zone", catalog.name, where)
        self.util("set-kind", catalog.name, "consumer")
        self.util("activate-tsig-key", catalog.name, key.name, "consumer")
        super().spawn()
