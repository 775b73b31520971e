"""What the key service is told, from the configuration."""

from __future__ import annotations

from pathlib import Path

from dnssecd.config.model import Config, Keystore, Pkcs11Token, Policy, SoftwareKeystore
from dnssecd.keyservice_protocol import VALIDITY_S_MAX, KeystoreSettings, SignerSettings, TokenSettings


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
        validity_s_max=max(VALIDITY_S_MAX, *map(_validity_s, config.policies.values())),
    )


def _validity_s(policy: Policy) -> int:
    """The longest time from inception to expiration that a policy's signatures can have."""
    return policy.signature_validity + abs(policy.signature_inception) + policy.signature_jitter


def _keystore(store: Keystore) -> KeystoreSettings:
    if isinstance(store, SoftwareKeystore):
        return KeystoreSettings(
            name=store.name,
            type="software",
            directory=str(store.directory),
            passphrase_file=str(store.passphrase_file or ""),
            removable=store.removable,
            deterministic_ecdsa=store.deterministic_ecdsa,
        )
    tokens = tuple(_token(token) for token in store.tokens)
    return KeystoreSettings(name=store.name, type="pkcs11", tokens=tokens, standby=store.standby)


def _token(token: Pkcs11Token) -> TokenSettings:
    return TokenSettings(
        name=token.name,
        module=str(token.module),
        pin_file=str(token.pin_file),
        label=token.token_label or "",
        serial=token.token_serial or "",
        slot=-1 if token.slot is None else token.slot,
        sessions=token.sessions,
        call_deadline_s=token.call_deadline_s,
        idle_canary_s=token.idle_canary_s,
        retry_longest_s=token.retry_longest_s,
    )
