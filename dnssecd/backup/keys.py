"""The keys of restored zones: found in this host's key stores by their public keys, or imported from the backup."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from dnssecd.backup.manifest import StoredKey
from dnssecd.backup.read import Archive, BadArchive
from dnssecd.config.model import Config, OfflineKeystore, SoftwareKeystore
from dnssecd.config.signer_owner import signer_owners
from dnssecd.config.signer_settings import signer_settings
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import OperatorNeeded, SignerError
from dnssecd.keyservice_client.launch import OWN_CHILD, launched_signer
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.replacing import replace

DEADLINE_S = 60.0
KEY_OCTETS_MAX = 1 << 16


@contextmanager
def key_service(config: Config, *, beside_daemon: bool = False) -> Iterator[SignerClient]:
    """Provide a client of the key service: of the running service, or of a child for the block. Raise SignerError.

    beside_daemon: the daemon is running, and so is its child.
    """
    home = config.server.state_dir / "signer"
    running = config.signer.socket or (home / "signer.sock" if beside_daemon else None)
    if running is not None:
        _check_socket(running)
        with SignerClient(str(running), DEADLINE_S, owners=_owners(config)) as client:
            yield client
        return
    settings = signer_settings(config, socket=home / "signer.sock", state_dir=home)
    with (
        launched_signer(settings, quiet=True),
        SignerClient(settings.socket, DEADLINE_S, owners=OWN_CHILD) as client,
    ):
        yield client


def _check_socket(socket: Path) -> None:
    """Raise OperatorNeeded if the key service does not run: of its user nothing is known then."""
    try:
        socket.lstat()
    except FileNotFoundError:
        raise OperatorNeeded(f"it does not run: {socket} does not exist") from None
    except OSError:
        return  # the connection tells


def _owners(config: Config) -> frozenset[int]:
    """Return the users that may be the key service. Raise OperatorNeeded if unknown."""
    try:
        owners = signer_owners(config)
    except KeyError:
        raise OperatorNeeded(f"[signer] user: this host has no user {config.signer.user}") from None
    if owners is None:
        raise OperatorNeeded('the user of the key service is unknown: write [signer] user = "…"')
    return owners


class Found(Struct, frozen=True):
    """A zone's key set with the handles of its keys on this host, and the missing keys with the reason."""

    keyset: Keyset
    missing: tuple[str, ...] = ()


class KeyFinder:
    """Finds or imports keys. secret: the passphrase of the keys in the backup, None: import nothing.

    after_loss: find keys as after the loss of this host, which a key in the backup survives.
    ``not_included``: keys of software key stores that only this host has.
    """

    def __init__(
        self,
        client: SignerClient,
        archive: Archive,
        config: Config,
        secret: bytes | None,
        *,
        after_loss: bool = False,
    ) -> None:
        self._client, self._archive, self._config, self._secret = client, archive, config, secret
        self._after_loss = after_loss
        self.not_included: set[str] = set()
        self._held = {_identity(info): info for info in client.keys(b"")}
        self._stored = {key.id: key for key in archive.manifest.keys}
        self.brought = 0

    def find(self, zone: str, keyset: Keyset, *, bring: bool) -> Found:
        """Find all keys of a zone. bring: import missing keys from the backup or a token."""
        keys, missing = [], []
        for key in keyset.keys:
            if key.foreign:
                keys.append(key)  # another signer has its private key
                continue
            try:
                info = self._one(zone, key, bring=bring)
            except (SignerError, BadArchive) as error:
                info = None
                missing.append(f"key {key.tag} ({key.role.value}): {error}")
            keys.append(key if info is None else replace(key, key_id=info.id, keystore=info.store))
        return Found(replace(keyset, keys=tuple(keys)), tuple(missing))

    def _one(self, zone: str, key: Key, *, bring: bool) -> KeyInfo | None:
        if isinstance(self._config.keystores.get(key.keystore), OfflineKeystore):
            return None  # it signs at ceremonies only
        info = self._held.get((key.algorithm, key.public_key))
        if self._after_loss and self._survives(key, info):
            return info
        if info is not None and info.state == "missing" and bring:
            info = self._put_back(zone, key, info)
        if info is None:
            stored = self._stored.get(key.key_id)
            self._may_have(key, stored)
            if not bring:
                return None
            info = self._take(zone, key, stored)
            self._held[_identity(info)] = info
            self.brought += 1
            if _identity(info) != (key.algorithm, key.public_key):
                raise BadArchive(f"another key was imported for it: {info.tag}, {info.id} in {info.store}")
        origin = text_to_wire(zone)
        if origin not in info.zones and bring:
            info = self._held[_identity(info)] = self._client.bind(origin, info.id)
        return info

    def _put_back(self, zone: str, key: Key, info: KeyInfo) -> KeyInfo:
        """Have the key service take the copy in the backup for a key whose file it has lost, if there is one."""
        stored = self._stored.get(key.key_id)
        if stored is None or stored.member is None or self._secret is None:
            return info
        self.brought += 1
        self._held[_identity(info)] = self._take(zone, key, stored)
        return self._held[_identity(info)]

    def _survives(self, key: Key, info: KeyInfo | None) -> bool:
        """Return whether the backup has the private key; note a key that only a directory of this host has."""
        stored = self._stored.get(key.key_id)
        if stored is not None and stored.member is not None:
            self._archive.check(stored.member)
            return True
        if info is not None and isinstance(self._config.keystores.get(info.store), SoftwareKeystore):
            self.not_included.add(key.key_id)
        return False

    def _may_have(self, key: Key, stored: StoredKey | None) -> None:
        """Raise BadArchive if the key cannot be imported."""
        if key.keystore not in self._config.keystores:
            raise BadArchive(f"this host has no key store {key.keystore!r}")
        if not isinstance(self._config.keystores[key.keystore], SoftwareKeystore):
            return  # the token is asked for the key
        if stored is None or stored.member is None:
            raise BadArchive("it is neither in a key store of this host nor in the backup")
        if self._secret is None:
            raise BadArchive(
                "it is not in a key store of this host; to import it from the backup: --keys --passphrase-file F"
            )

    def _take(self, zone: str, key: Key, stored: StoredKey | None) -> KeyInfo:
        if stored is None or stored.member is None:
            return self._client.adopt(
                text_to_wire(zone),
                key.role.value,
                key.algorithm,
                store=key.keystore,
                cka_id=key.key_id,  # true for keys that dnssecd generated; adopted keys have another id in the token
                public_key=key.public_key,
            )
        content = self._archive.octets(stored.member, KEY_OCTETS_MAX)
        assert self._secret is not None
        return self._client.restore_key(content, self._secret, key.keystore)


def _identity(info: KeyInfo) -> tuple[int, bytes]:
    return info.algorithm, info.public_key
