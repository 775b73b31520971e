"""The keys of restored zones: found in the key stores of this host by their public keys, or taken from the back-up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dnssecd.backup.manifest import StoredKey
from dnssecd.backup.read import Archive, BadArchive
from dnssecd.config.model import Config, SoftwareKeystore
from dnssecd.config.signer_owner import signer_owners
from dnssecd.config.signer_settings import signer_settings
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import OperatorNeeded, SignerError
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_protocol import KeyInfo

DEADLINE_S = 60.0
KEY_OCTETS_MAX = 1 << 16


@contextmanager
def key_service(config: Config) -> Iterator[SignerClient]:
    """A client of the key service: the one that runs by itself, or a child for the length of the block. SignerError."""
    if config.signer.socket is not None:
        with SignerClient(str(config.signer.socket), DEADLINE_S, owners=_owners(config)) as client:
            yield client
        return
    home = config.server.state_dir / "signer"
    settings = signer_settings(config, socket=home / "signer.sock", state_dir=home)
    with launched_signer(settings, quiet=True), SignerClient(settings.socket, DEADLINE_S) as client:
        yield client


def _owners(config: Config) -> frozenset[int]:
    """Who the key service is; OperatorNeeded when that cannot be told."""
    try:
        owners = signer_owners(config)
    except KeyError:
        raise OperatorNeeded(f"[signer] user: this host has no user {config.signer.user}") from None
    if owners is None:
        raise OperatorNeeded('it cannot be told which user the key service is: write [signer] user = "…"')
    return owners


@dataclass(frozen=True)
class Found:
    """A zone's key set with the handles that its keys have here, and the keys that are not here, with the reason."""

    keyset: Keyset
    missing: tuple[str, ...] = ()


class KeyFinder:
    """Finds keys, or brings them in. secret: the passphrase of the back-up's keys, None: nothing is brought in."""

    def __init__(self, client: SignerClient, archive: Archive, config: Config, secret: bytes | None) -> None:
        self._client, self._archive, self._config, self._secret = client, archive, config, secret
        self._held = {_identity(info): info for info in client.keys(b"")}
        self._stored = {key.id: key for key in archive.manifest.keys}
        self.brought = 0

    def find(self, zone: str, keyset: Keyset, *, bring: bool) -> Found:
        """Look for all of a zone's keys. bring: take those that are not here from the back-up or a token."""
        keys, missing = [], []
        for key in keyset.keys:
            try:
                info = self._one(zone, key, bring=bring)
            except (SignerError, BadArchive) as error:
                info = None
                missing.append(f"key {key.tag} ({key.role.value}): {error}")
            keys.append(key if info is None else replace(key, key_id=info.id, keystore=info.store))
        return Found(replace(keyset, keys=tuple(keys)), tuple(missing))

    def _one(self, zone: str, key: Key, *, bring: bool) -> KeyInfo | None:
        info = self._held.get((key.algorithm, key.public_key))
        if info is None:
            stored = self._stored.get(key.key_id)
            self._may_have(key, stored)
            if not bring:
                return None
            info = self._take(zone, key, stored)
            self._held[_identity(info)] = info
            self.brought += 1
            if _identity(info) != (key.algorithm, key.public_key):
                raise BadArchive(
                    f"what was brought in for it is another key: {info.tag}, {info.id} in {info.store}"
                )
        origin = text_to_wire(zone)
        if origin not in info.zones and bring:
            info = self._held[_identity(info)] = self._client.bind(origin, info.id)
        return info

    def _may_have(self, key: Key, stored: StoredKey | None) -> None:
        """BadArchive where it is known beforehand that the key cannot be brought in."""
        if key.keystore not in self._config.keystores:
            raise BadArchive(f"this host has no key store {key.keystore!r}")
        if not isinstance(self._config.keystores[key.keystore], SoftwareKeystore):
            return  # its token is asked for it
        if stored is None or stored.member is None:
            raise BadArchive("it is neither in a key store here nor in the back-up")
        if self._secret is None:
            raise BadArchive("it is not in a key store here; the back-up has it: --keys --passphrase-file F")

    def _take(self, zone: str, key: Key, stored: StoredKey | None) -> KeyInfo:
        if stored is None or stored.member is None:
            return self._client.adopt(
                text_to_wire(zone),
                key.role.value,
                key.algorithm,
                store=key.keystore,
                cka_id=key.key_id,  # of keys that were made for dnssecd; of adopted ones the token's is another
                public_key=key.public_key,
            )
        content = self._archive.octets(stored.member, KEY_OCTETS_MAX)
        assert self._secret is not None
        return self._client.restore_key(content, self._secret, key.keystore)


def _identity(info: KeyInfo) -> tuple[int, bytes]:
    return info.algorithm, info.public_key
