"""The first commands for each event; they change nothing. Shown in every mail and in docs/operations.md."""

from __future__ import annotations

from types import MappingProxyType

from dnssecd.store.event_log import Event

_ZONE = ("dnssecd zone show ZONE",)
_EXPLAIN = ("dnssecd explain ZONE",)
_SIGNER = ("dnssecd status", "journalctl -u dnssecd-signer -n 50")

#: name → commands; ZONE stands for the zone. All other events have only `dnssecd status`.
FIRST_LOOK = MappingProxyType(
    {
        "input-error": _ZONE,
        "ttl-rejected": _ZONE,
        "input-stale": ("dnssecd zone owner ZONE", *_ZONE),
        "delta-guard": (*_ZONE, "dnssecd zone history ZONE"),
        "verification-failed": (*_ZONE, "journalctl -u dnssecd -n 100"),
        "signing-failed": _SIGNER,
        "signer-unreachable": ("systemctl status dnssecd-signer", *_SIGNER),
        "runway-low": (*_EXPLAIN, "dnssecd status ZONE"),
        "secondary-lagging": ("dnssecd status ZONE", *_EXPLAIN),
        "secondary-unreachable": ("dnssecd status ZONE",),
        "secondary-rejects-tsig": ("dnssecd status ZONE", "timedatectl"),
        "notify-unanswered": ("dnssecd status ZONE",),
        "tls-failed": ("journalctl -u dnssecd -n 50", "dnssecd status ZONE"),
        "tls-certificate-bad": ("dnssecd check-config", "journalctl -u dnssecd -n 50"),
        "tls-certificate-expiring": ("dnssecd check-config",),
        "peer-refused": ("journalctl -u dnssecd -n 50", "dnssecd status ZONE"),
        "serial-backwards": (*_EXPLAIN, "dnssecd zone history ZONE"),
        "first-publication-waiting": _EXPLAIN,
        "restored-waiting": (*_EXPLAIN, "dnssecd zone history ZONE", "dnssecd key list ZONE"),
        "removed-zone-back": (*_EXPLAIN, "dig +short DS ZONE"),
        "foreign-dnskey": (*_EXPLAIN, "dig +short DS ZONE", "dnssecd key list ZONE"),
        "zone-bogus": ("dnssecd status ZONE", "dnssecd ds check ZONE", "dig +short DS ZONE"),
        "foreign-key-refused": ("dnssecd key list ZONE", "dnssecd alerts list"),
        "ds-mismatch": ("dnssecd ds check ZONE", "dnssecd ds show ZONE", "dig +short DS ZONE"),
        "ds-missing": ("dnssecd ds check ZONE", "dnssecd ds show ZONE", "dig +short DS ZONE"),
        "ds-handover": ("dnssecd ds show ZONE", "dnssecd ds check ZONE", *_EXPLAIN),
        "ds-automation-failed": ("dnssecd ds show ZONE", "journalctl -u dnssecd -n 50"),
        "rollover-overdue": (*_EXPLAIN, "dnssecd key list ZONE"),
        "key-wanted": ("dnssecd key list ZONE --stored", *_EXPLAIN),
        "ceremony-due": (*_EXPLAIN, "dnssecd key list ZONE"),
        "ceremony-late": (*_EXPLAIN, "dnssecd key list ZONE"),
        "ceremony-needed": (*_EXPLAIN, "dnssecd key list ZONE"),
        "key-not-backed-up": ("dnssecd key list ZONE --stored", *_EXPLAIN),
        "key-lost": (*_EXPLAIN, "dnssecd key list ZONE"),
        "key-compromised": (*_EXPLAIN, "dnssecd key list ZONE"),
        "zone-not-configured": ("dnssecd zone list", "dnssecd config diff"),
        "refresh-capped": _ZONE,
        "grant-overlap": _ZONE,
        "update-refused": _ZONE,
        "update-ignored": _ZONE,
        "store-failed": ("df -h", "journalctl -u dnssecd -n 50"),
        "stored-zone-changed": ("dnssecd zone history ZONE", "journalctl -u dnssecd -n 100"),
        "disk-low": ("df -h",),
        "transfers-ended": ("journalctl -u dnssecd -n 200 | grep 'transfer out'", "df -h"),
        "clock-step": ("date -u", "chronyc tracking", "journalctl -u dnssecd -n 50"),
        "keystore-mode-fixed": ("dnssecd key audit",),
        "keystore-media-needed": ("dnssecd schedule", "lsblk"),
        "keystore-media-present": ("dnssecd schedule", "lsblk"),
        "token-down": ("dnssecd keystore test", *_SIGNER),
        "token-evicted": ("dnssecd keystore test", *_SIGNER),
        "key-missing": ("dnssecd key list ZONE", "dnssecd keystore test"),
        "key-misuse-refused": ("dnssecd key audit", "journalctl -u dnssecd-signer -n 50"),
        "consent-needed": ("dnssecd key consent list", "dnssecd key audit"),
        "primary-unreachable": ("dnssecd zone show ZONE",),
        "zone-expired": ("dnssecd zone show ZONE",),
        "backup-old": ("dnssecd zone history", "journalctl -u dnssecd -n 50"),
        "backup-unusable": ("journalctl -u dnssecd -n 50 | grep backup", "dnssecd zone history"),
        "config-rejected": ("dnssecd check-config",),
        "alert-undeliverable": ("dnssecd alerts test", "dnssecd status"),
        "mail-certificate-expiring": (
            "openssl x509 -noout -subject -enddate -in FILE",
            "dnssecd check-config",
        ),
        "mail-certificate-unusable": ("dnssecd check-config", "dnssecd alerts test"),
        "token-needs-operator": ("dnssecd status", "journalctl -u dnssecd-signer -n 50"),
        "token-unwell": ("dnssecd keystore list", "journalctl -u dnssecd-signer -n 50"),
        "token-memory-low": ("dnssecd keystore list", "dnssecd key list"),
        "key-not-destroyed": ("dnssecd key audit", "dnssecd keystore list"),
        "key-extractable": ("dnssecd key list",),
        "token-session-limit": ("dnssecd status", "journalctl -u dnssecd-signer -n 50"),
        "key-not-in-token": ("dnssecd keystore test", "dnssecd key list", *_SIGNER),
        "signature-wrong": ("dnssecd keystore test", "journalctl -k -n 50"),
        "audit-log-failed": ("dnssecd key audit", "df -h"),
        "catalog-broken": ("dnssecd zone show ZONE", "dnssecd zone export ZONE"),
        "catalog-conflict": ("dnssecd zone show ZONE", "dnssecd zone export ZONE"),
        "catalog-removal-waiting": ("dnssecd ds check ZONE", "dig +short DS ZONE"),
        "added-zone-unusable": ("dnssecd zone list", "dnssecd check-config"),
        "cluster-database-away": ("dnssecd cluster check", "journalctl -u dnssecd -n 100"),
        "cluster-node-unfit": ("dnssecd node list", "timedatectl", "df -h"),
        "cluster-node-away": ("dnssecd node list",),
        "cluster-config-differs": ("dnssecd node list", "dnssecd config diff"),
        "cluster-not-replicated": ("dnssecd cluster check",),
        "take-over-impossible": ("dnssecd zone owner ZONE", "dnssecd node list"),
        "key-not-held": ("dnssecd node list", *_EXPLAIN, "journalctl -u dnssecd -n 100"),
        "node-key-refused": ("dnssecd zone owner ZONE", "dnssecd key list ZONE", "dnssecd node list"),
        "log-record-refused": ("dnssecd zone show ZONE", "journalctl -u dnssecd -n 100"),
        "review-waiting": ("dnssecd status ZONE", "dnssecd zone show ZONE"),
        "review-rejected": ("dnssecd status ZONE", "dnssecd zone history ZONE"),
        "review-failed": ("dnssecd status ZONE", "journalctl -u dnssecd -n 50"),
        "output-file-failed": ("df -h", "journalctl -u dnssecd -n 50"),
        "published-command-failed": ("dnssecd status ZONE", "journalctl -u dnssecd -n 50"),
        "anchors-unpublished": ("dnssecd anchors check ZONE", "dnssecd check-config"),
        "anchors-outdated": ("dnssecd anchors check ZONE", "dnssecd anchors show ZONE"),
        "anchors-certificate-expiring": (
            "openssl x509 -noout -subject -enddate -in FILE",
            "dnssecd check-config",
        ),
    }
)

_DEFAULT = ("dnssecd status",)


def first_look(event: Event) -> tuple[str, ...]:
    """Return the commands for *event*, with its zone."""
    commands = FIRST_LOOK.get(event.name, _DEFAULT)
    return tuple(fill_zone(command, event.zone) for command in commands)


def fill_zone(text: str, zone: str) -> str:
    """Return *text* with ZONE replaced by the zone; for an event of the daemon ZONE is omitted."""
    return text.replace("ZONE", zone) if zone else text.replace(" ZONE", "")
