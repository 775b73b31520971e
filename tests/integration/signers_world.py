"""Other signers of the zone (RFC 8901, model 2): BIND and Knot with the same content and keys of their own.

Each listens for the daemon and the test from the start; the validators' resolvers reach it only where it is public.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.rollover_world import CHILD
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, Zone, ask
from tests.peers.paths import program
from tests.peers.process import Servers, wait_until
from tests.peers.tools import nsupdate
from tests.peers.tsig import TsigKey


class SignerHandling(Nameserver):
    """What a person does with a signer."""

    def dnskeys(self) -> list[str]:
        """Its DNSKEY RRset, in presentation form."""
        answer = ask(self.port, CHILD, "DNSKEY")
        if answer is None or not answer.answer:
            return []
        return [record.to_text() for record in answer.answer[0]]

    def change(self, lines: list[str], key: TsigKey) -> None:
        """Change the zone's content."""
        done = nsupdate(self.port, f"zone {CHILD}\n" + "\n".join(lines), key, self.directory)
        assert done.ok, done


class BindSigner(SignerHandling, Named):
    """named signs with dnssec-policy; keys of others come by dynamic update."""

    name = "bind"

    def configuration(self) -> str:
        policy = """dnssec-policy "other" {
    keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime unlimited algorithm ecdsap256sha256; };
    dnskey-ttl 2; max-zone-ttl 1h; parent-ds-ttl 2; zone-propagation-delay 1; publish-safety 1; retire-safety 1;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        return (
            super()
            ._zone(zone)
            .replace(
                "notify-delay 0;", f'notify-delay 0; dnssec-policy "other"; key-directory "{self.directory}";'
            )
        )

    def publish(self, dnskeys: list[str], key: TsigKey) -> None:
        """Publish DNSKEY RRs of another signer beside its own."""
        self.change([f"update add {CHILD} 2 DNSKEY {rdata}" for rdata in dnskeys], key)


class KnotSigner(SignerHandling, Knotd):
    """knotd signs; keys of others come by ``keymgr import-pub``, content by dynamic update."""

    name = "knot"

    def configuration(self) -> str:
        policy = """policy:
  - id: other
    algorithm: ecdsap256sha256
    ksk-lifetime: 0
    zsk-lifetime: 0
    dnskey-ttl: 2
    zone-max-ttl: 2
    propagation-delay: 1
"""
        text = super().configuration()
        return (
            text.replace("zone:\n", policy + "zone:\n", 1)
            .replace(
                "    semantic-checks: off\n",
                "    semantic-checks: off\n    dnssec-signing: on\n    dnssec-policy: other\n"
                "    serial-policy: increment\n"
                "    zonefile-load: difference-no-serial\n    journal-content: all\n",
                1,
            )
            .replace("    zonefile-load: difference\n", "")
        )

    def keymgr(self, *words: str) -> str:
        command = [program("keymgr"), "-c", str(self.config_path), CHILD, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    def publish(self, dnskeys: list[str], key: TsigKey) -> None:
        for number, rdata in enumerate(dnskeys):
            path = self.directory / f"foreign{number}.key"
            path.write_text(f"{CHILD} 2 IN DNSKEY {rdata}\n")
            self.keymgr("import-pub", str(path))
        control = [program("knotc"), "-s", str(self.directory / "knot.sock"), "zone-sign", CHILD]
        subprocess.run(control, check=True, capture_output=True, timeout=20)


Signer = BindSigner | KnotSigner


def start_signer(servers: Servers, kind: type[Signer], home: Path, zone: str, key: TsigKey) -> Signer:
    """Start a signer with the zone's content; return when it has signed it."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "zone").write_text(zone)
    signer = kind(home, [PrimaryZone(CHILD, home / "zone", key, updates=True)])
    servers.start(signer)
    wait_until(lambda: len(signer.dnskeys()) >= 2, f"{signer.name} has signed the zone", 20)
    return signer
