"""What a back-up says of itself.

A back-up is an uncompressed tar archive, so that one damaged octet costs one member:

    zones/NAME.sqlite.gz     a zone's database: versions, signatures, journal, key states, evidence, history
    catalogue.sqlite.gz, events.sqlite.gz, acts.sqlite.gz
    keys/NAME.key            private keys of software key stores, sealed under the back-up's passphrase (only if asked)
    manifest.json            a `Manifest`; the last but one member
    manifest.sha256          its SHA-256 in hex; the last member

Keys of tokens are listed, but never leave their tokens. The configuration is not in it but for its digest.
"""

import msgspec

FORMAT = "dnssecd-backup-1"
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
MANIFEST_OCTETS_MAX = 256 << 20
#: Databases of the daemon as a whole, by their names in the state directory.
COMMON = ("catalogue.sqlite", "events.sqlite", "acts.sqlite")


class Member(msgspec.Struct, frozen=True):
    """A member: SHA-256 of what is in the archive, its size, and the size of what it is unpacked to."""

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
    """A private key: its member, or the reason why it is not in the archive."""

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
    """All of a back-up. ``damaged``: zones whose database could not be copied whole, and why."""

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
        """Keys that should be in it and are not; those of tokens never are."""
        return [key for key in self.keys if key.member is None and not key.in_token]

    @property
    def whole(self) -> bool:
        """Whether everything is in it that was asked for."""
        return not self.damaged and not self.lost_keys
