"""The manifest and the format of a backup.

A backup is an uncompressed tar archive, so that a damaged octet affects only one member:

    zones/NAME.sqlite.gz     a zone's database: versions, signatures, journal, key states, evidence, history
    catalogue.sqlite.gz, events.sqlite.gz, acts.sqlite.gz
    keys/NAME.key            private keys of software key stores, encrypted with the passphrase of the backup (option)
    manifest.json            a ``Manifest``; the second last member
    manifest.sha256          its SHA-256 in hex; the last member

Keys in tokens are listed, but cannot be exported. The configuration is not included, only its digest.
"""

import msgspec

FORMAT = "dnssecd-backup-1"
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
MANIFEST_OCTETS_MAX = 256 << 20
#: Databases of the daemon, by their names in the state directory.
COMMON = ("catalogue.sqlite", "events.sqlite", "acts.sqlite")


class Member(msgspec.Struct, frozen=True):
    """A member: SHA-256 and size in the archive, and the unpacked size."""

    sha256: str
    octets: int
    content_octets: int


class KeyEntry(msgspec.Struct, frozen=True):
    """A key of a zone with the states of its records; ``public_key`` in base64."""

    id: str
    role: str
    algorithm: int
    tag: int
    public_key: str
    keystore: str
    goal: str
    records: dict[str, str]


class ZoneEntry(msgspec.Struct, frozen=True):
    """A zone: its member, the schema of its database, its version; times in epoch seconds."""

    zone: str
    member: str
    schema: int
    serial: int | None = None
    published_at: int | None = None
    keys: tuple[KeyEntry, ...] = ()


class StoredKey(msgspec.Struct, frozen=True):
    """A private key: its member, or the reason why it is missing."""

    id: str
    zones: tuple[str, ...]
    role: str
    algorithm: int
    tag: int
    keystore: str
    member: str | None = None
    reason: str = ""
    in_token: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """The manifest of a backup. ``damaged``: zones whose database could not be copied, with the reason."""

    format: str
    version: str
    made_at: int
    host: str
    config_path: str
    config_sha256: str
    zones: tuple[ZoneEntry, ...]
    members: dict[str, Member]
    keys: tuple[StoredKey, ...] = ()
    with_keys: bool = False
    damaged: dict[str, str] = {}

    @property
    def lost_keys(self) -> list[StoredKey]:
        """Return the keys that should be included and are missing; keys in tokens are never included."""
        return [key for key in self.keys if key.member is None and not key.in_token]

    @property
    def whole(self) -> bool:
        """Whether nothing that was requested is missing."""
        return not self.damaged and not self.lost_keys
