"""Keys and errors of the key service in the words of the commands."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from dnssecd.core.dns.names import wire_to_text
from dnssecd.keyservice_protocol import KeyInfo

_REMEDIES = {
    "unreachable": "start dnssecd-signer.service, or look why it does not answer",
    "deadline": "look at the key service's log and at the HSM; dnssecd keystore list",
    "busy": "try again when less is being signed",
    "unavailable": "dnssecd keystore list shows the state of each token",
    "operator": "do what the message says; the key service notices by itself",
    "missing_key": "restore the key from the back-up; no other is made in its place",
    "unsupported": "choose another key store or another algorithm",
    "exists": "dnssecd key list --stored shows it",
    "collision": "remove keys that have been retired, or use another key",
}


def remedy_for(code: str) -> str:
    """What a person can do about an error of the key service."""
    return _REMEDIES.get(code, "correct the command; the key service's log has more")


def key_dict(info: KeyInfo) -> dict[str, Any]:
    """A key of a key store as commands get it."""
    return {
        "id": info.id,
        "keystore": info.store,
        "zones": [wire_to_text(zone) for zone in info.zones],
        "role": info.role,
        "algorithm": info.algorithm,
        "bits": info.bits,
        "tag": info.tag,
        "public_key": f"{info.flags} 3 {info.algorithm} {b64encode(info.public_key).decode()}",
        "created": info.created,
        "state": info.state,
        "detail": info.detail,
    }
