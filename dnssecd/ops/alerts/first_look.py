"""Where to look first, per event: commands that change nothing. In every mail, and in docs/operations.md."""

from __future__ import annotations

from types import MappingProxyType

from dnssecd.store.event_log import Event

_ZONE = ("dnssecd zone show ZONE",)
_EXPLAIN = ("dnssecd explain ZONE",)
_SIGNER = ("dnssecd status", "journalctl -u dnssecd-signer -n 50")

#: name → commands; ZONE stands for the zone. An event not named here has only `dnssecd status`.
FIRST_LOOK = MappingProxyType(
    {
        "input-error": _ZONE,
        "ttl-rejected": _ZONE,
        "delta-guard": (*_ZONE, "dnssecd zone history ZONE"),
        "verification-failed": (*_ZONE, "journalctl -u dnssecd -n 100"),
        "signing-failed": _SIGNER,
        "signer-unreachable": ("systemctl status dnssecd-signer", *_SIGNER),
        "runway-low": (*_EXPLAIN, "dnssecd status ZONE"),
        "secondary-lagging": ("dnssecd status ZONE", *_EXPLAIN),
        "secondary-unreachable": ("dnssecd status ZONE",),
        "secondary-rejects-tsig": ("dnssecd status ZONE", "timedatectl"),
        "notify-unanswered": ("dnssecd status ZONE",),
        "peer-refused": ("journalctl -u dnssecd -n 50", "dnssecd status ZONE"),
        "serial-backwards": (*_EXPLAIN, "dnssecd zone history ZONE"),
        "first-publication-waiting": _EXPLAIN,
        "restored-waiting": (*_EXPLAIN, "dnssecd zone history ZONE", "dnssecd key list ZONE"),
        "removed-zone-back": (*_EXPLAIN, "dig +short DS ZONE"),
        "foreign-dnskey": (*_EXPLAIN, "dig +short DS ZONE", "dnssecd key list ZONE"),
        "ds-mismatch": ("dnssecd ds check ZONE", "dnssecd ds show ZONE", "dig +short DS ZONE"),
        "ds-missing": ("dnssecd ds check ZONE", "dnssecd ds show ZONE", "dig +short DS ZONE"),
        "ds-handover": ("dnssecd ds show ZONE", "dnssecd ds check ZONE", *_EXPLAIN),
        "ds-automation-failed": ("dnssecd ds show ZONE", "journalctl -u dnssecd -n 50"),
        "rollover-overdue": (*_EXPLAIN, "dnssecd key list ZONE"),
        "key-compromised": (*_EXPLAIN, "dnssecd key list ZONE"),
        "zone-not-configured": ("dnssecd zone list", "dnssecd config diff"),
        "refresh-capped": _ZONE,
        "grant-overlap": _ZONE,
        "update-refused": _ZONE,
        "update-ignored": _ZONE,
        "store-failed": ("df -h", "journalctl -u dnssecd -n 50"),
        "stored-zone-changed": ("dnssecd zone history ZONE", "journalctl -u dnssecd -n 100"),
        "disk-low": ("df -h",),
        "clock-step": ("date -u", "chronyc tracking", "journalctl -u dnssecd -n 50"),
        "keystore-mode-fixed": ("dnssecd key audit",),
        "keystore-media-needed": ("dnssecd schedule", "lsblk"),
        "keystore-media-present": ("dnssecd schedule", "lsblk"),
        "token-down": ("dnssecd keystore test", *_SIGNER),
        "token-evicted": ("dnssecd keystore test", *_SIGNER),
        "key-missing": ("dnssecd key list ZONE", "dnssecd keystore test"),
        "key-misuse-refused": ("dnssecd key audit", "journalctl -u dnssecd-signer -n 50"),
        "primary-unreachable": ("dnssecd zone show ZONE",),
        "zone-expired": ("dnssecd zone show ZONE",),
        "config-rejected": ("dnssecd check-config",),
        "alert-undeliverable": ("dnssecd alerts test", "dnssecd status"),
        "token-needs-operator": ("dnssecd status", "journalctl -u dnssecd-signer -n 50"),
        "token-session-limit": ("dnssecd status", "journalctl -u dnssecd-signer -n 50"),
        "key-not-in-token": ("dnssecd keystore test", "dnssecd key list", *_SIGNER),
        "signature-wrong": ("dnssecd keystore test", "journalctl -k -n 50"),
        "audit-log-failed": ("dnssecd key audit", "df -h"),
    }
)

_DEFAULT = ("dnssecd status",)


def first_look(event: Event) -> tuple[str, ...]:
    """The commands for *event*, its zone filled in (without: for the daemon as a whole)."""
    commands = FIRST_LOOK.get(event.name, _DEFAULT)
    return tuple(fill_zone(command, event.zone) for command in commands)


def fill_zone(text: str, zone: str) -> str:
    """*text* with the zone for ZONE; for the daemon as a whole ZONE is left out of commands."""
    return text.replace("ZONE", zone) if zone else text.replace(" ZONE", "")
