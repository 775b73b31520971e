"""The daemon with its keys in SoftHSM: what to put into its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import Config, Dnssecd
from tests.peers.process import wait_until


def pkcs11_keystore(hsm: SoftHsm, *labels: str, standby: bool = False, **changes: Any) -> dict[str, Any]:
    """A key store of one token, or of several, in the configuration's words; quick to notice what is wrong."""
    table: dict[str, Any] = {
        "type": "pkcs11",
        "module": hsm.module,
        "pin_file": hsm.pin_file,
        "sessions": 2,
        "call_deadline": "2s",
        "idle_canary": "1s",
        "retry_longest": "1s",
    }
    if len(labels) == 1:
        return {**table, "token_label": labels[0], **changes}
    tokens: Mapping[str, Any] = {label: {"token_label": label} for label in labels}
    return {**table, "standby": standby, "token": tokens, **changes}


def keep_keys_in(config: Config, keystore: dict[str, Any]) -> None:
    """Let all policies of a daemon's configuration use ``keystore``, as key store "hsm"."""
    config["keystore"] = {"hsm": keystore}
    for policy in config["policy"].values():
        policy["keystore"] = "hsm"


def wait_for_signer(daemon: Dnssecd) -> None:
    """The daemon is ready before its key service is, and its key service before the tokens are."""

    def usable() -> bool:
        listed = daemon.cli("keystore", "list", "--json")
        return listed.ok and all(store["state"] == "available" for store in json.loads(listed.out)["stores"])

    wait_until(usable, "all key stores can be used")
