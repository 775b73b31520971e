"""Errors of the key service in the words of the commands."""

from __future__ import annotations

_REMEDIES = {
    "unreachable": "start dnssecd-signer.service, or find out why it does not answer",
    "deadline": "look at the key service's log and at the HSM; dnssecd keystore list says whether the service answers",
    "busy": "try again when less is being signed",
    "unavailable": "dnssecd keystore list shows the state of each token",
    "operator": "do what the message says; the key service notices by itself",
    "missing_key": "restore the key from a backup; no other is made in its place",
    "unsupported": "choose another key store or another algorithm",
    "exists": "dnssecd key list --stored shows it",
    "consent": "have another key officer consent (dnssecd key consent list), then repeat the command",
    "collision": "remove keys that have been retired, or use another key",
}


def remedy_for(code: str) -> str:
    """Return what a person can do about an error of the key service."""
    return _REMEDIES.get(code, "correct the command; the key service's log has more")
