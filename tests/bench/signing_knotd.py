"""knotd as it is used beside us: it signs the zone itself, with all cores."""

from __future__ import annotations

from tests.peers.knotd import Knotd


class SigningKnotd(Knotd):
    """A primary that signs with NSEC3 and ECDSA P-256."""

    name = "knotd-signer"

    def configuration(self) -> str:
        text = super().configuration()
        policy = """policy:
  - id: signed
    algorithm: ecdsap256sha256
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    signing-threads: 2
"""
        text = text.replace(
            "    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n",
            "    background-workers: 2\n",
        )
        text = text.replace("    journal-db-max-size: 100M\n", "    journal-db-max-size: 4G\n")
        text = text.replace("zone:\n", policy + "zone:\n", 1)
        # A first signing goes through the journal, whose default of 100 MB a zone stops a zone of a million names.
        return text.replace("zonefile-load: difference", "zonefile-load: whole").replace(
            "    semantic-checks: off\n",
            "    dnssec-signing: on\n    dnssec-policy: signed\n    journal-max-usage: 4G\n",
        )
