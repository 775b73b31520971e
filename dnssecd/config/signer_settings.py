"""What the key service is told, from the configuration."""

from __future__ import annotations

from pathlib import Path

from dnssecd.config.model import Config, Keystore, SoftwareKeystore
from dnssecd.wire_protocol import KeystoreSettings, SignerSettings, TokenSettings


def signer_settings(
    config: Config,
    *,
    socket: Path,
    state_dir: Path,
    allowed_uids: tuple[int, ...] = (),
    socket_mode: int = 0o600,
) -> SignerSettings:
    """Settings for a key service at *socket*, its audit log in *state_dir*, with all key stores of *config*."""
    return SignerSettings(
        socket=str(socket),
        state_dir=str(state_dir),
        keystores=tuple(_keystore(store) for store in config.keystores.values()),
        allowed_uids=allowed_uids,
        socket_mode=socket_mode,
    )


def _keystore(store: Keystore) -> KeystoreSettings:
    if isinstance(store, SoftwareKeystore):
        return KeystoreSettings(
            name=store.name,
            type="software",
            directory=str(store.directory),
            passphrase_file=str(store.passphrase_file or ""),
            removable=store.removable,
        )
    token = TokenSettings(
        name=store.name,
        module=str(store.module),
        pin_file=str(store.pin_file),
        label=store.token_label or "",
        serial=store.token_serial or "",
        slot=-1 if store.slot is None else store.slot,
        sessions=store.sessions,
    )
    return KeystoreSettings(name=store.name, type="pkcs11", tokens=(token,))
