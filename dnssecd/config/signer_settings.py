"""The settings of the key service, from the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dnssecd.config.model import (
    Config,
    Keystore,
    OfflineKeystore,
    Pkcs11Keystore,
    Pkcs11Token,
    Policy,
    SoftwareKeystore,
)
from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_settings import (
    KeyLimits,
    KeystoreSettings,
    LimitSettings,
    SealingSettings,
    SignerSettings,
    TokenSettings,
)


def signer_settings(
    config: Config,
    *,
    socket: Path,
    state_dir: Path,
    allowed_uids: tuple[int, ...] = (),
    socket_mode: int = 0o600,
    officer_gid: int = -1,
) -> SignerSettings:
    """Return settings for a key service at *socket*, its audit log in *state_dir*, with all key stores of *config*."""
    return SignerSettings(
        socket=str(socket),
        state_dir=str(state_dir),
        keystores=keystore_settings(config.keystores.values()),
        allowed_uids=allowed_uids,
        socket_mode=socket_mode,
        limits=limit_settings(config),
        officer_gid=officer_gid,
    )


def sealing_settings(config: Config) -> SealingSettings:
    """Return the nodes of the cluster, as far as keys are sealed for them."""
    if config.cluster is None:
        return SealingSettings()
    nodes = config.cluster.nodes.values()
    return SealingSettings(
        node=config.cluster.node, keys={node.name: node.sealing_key for node in nodes if node.sealing_key}
    )


def limit_settings(config: Config) -> LimitSettings:
    """Return what the policies of *config* permit with the keys of each zone.

    A zone that the file does not have gets the largest ceiling and the longest time in the trash of all policies, and
    the consent of a second person where any policy asks for it.
    """
    limits = {name: _limits(policy) for name, policy in config.policies.items()}
    default = KeyLimits(
        validity_s_max=max(one.validity_s_max for one in limits.values()),
        destroy_after_s=max(one.destroy_after_s for one in limits.values()),
        two_person=any(one.two_person for one in limits.values()),
    )
    kinds = tuple(dict.fromkeys(one for one in limits.values() if one != default))
    numbers = {name: kinds.index(one) for name, one in limits.items() if one != default}
    zones = {
        text_to_wire(zone.name).hex(): numbers[zone.policy]
        for zone in config.zones.values()
        if zone.policy in numbers
    }
    return LimitSettings(default=default, kinds=kinds, zones=zones, sealing=sealing_settings(config))


def _limits(policy: Policy) -> KeyLimits:
    return KeyLimits(
        validity_s_max=policy.validity_max,
        destroy_after_s=policy.destroy_after,
        two_person=policy.two_person,
    )


def keystore_settings(stores: Iterable[Keystore]) -> tuple[KeystoreSettings, ...]:
    """Return the settings of the key stores that a key service has: an off-line one is none of them."""
    return tuple(_keystore(store) for store in stores if not isinstance(store, OfflineKeystore))


def _keystore(store: SoftwareKeystore | Pkcs11Keystore) -> KeystoreSettings:
    if isinstance(store, SoftwareKeystore):
        return KeystoreSettings(
            name=store.name,
            type="software",
            directory=str(store.directory),
            passphrase_file=str(store.passphrase_file or ""),
            removable=store.removable,
            deterministic_ecdsa=store.deterministic_ecdsa,
            sealed=store.sharing == "sealed",
            own=store.sharing == "own",
        )
    tokens = tuple(_token(token) for token in store.tokens)
    return KeystoreSettings(
        name=store.name,
        type="pkcs11",
        passphrase_file=str(store.passphrase_file or ""),
        own=store.sharing == "own",
        tokens=tokens,
        standby=store.standby,
    )


def _token(token: Pkcs11Token) -> TokenSettings:
    return TokenSettings(
        name=token.name,
        module=str(token.module),
        pin_file=str(token.pin_file or ""),
        label=token.token_label or "",
        serial=token.token_serial or "",
        slot=-1 if token.slot is None else token.slot,
        sessions=token.sessions,
        call_deadline_s=token.call_deadline_s,
        idle_canary_s=token.idle_canary_s,
        retry_longest_s=token.retry_longest_s,
        login=token.login,
        quirks=token.quirks,
    )
